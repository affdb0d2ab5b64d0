"""When certificates are renewed, and when their end is announced."""

from pathlib import Path

import pytest
from authority_parts import DAY_US, new_authority, now_us
from hypothesis import given
from hypothesis import strategies as st

from lichtmast.registry.pki import (
    AuthorityError,
    ServerCertificateDue,
    certificate_times_us,
    renewal_at_us,
    server_certificate_due,
)


@pytest.fixture
def chain_pem(tmp_path: Path) -> bytes:
    return new_authority(tmp_path / "authority").issue_server(["::1"], now_us=now_us()).chain_pem


@given(st.floats(0, 1))
def test_a_certificate_is_renewed_at_two_thirds_of_its_life_and_up_to_a_twentieth_later(chance: float) -> None:
    at_us = renewal_at_us(1000 * DAY_US, 1090 * DAY_US, chance)
    assert 1060 * DAY_US - 1 <= at_us <= 1060 * DAY_US + 4.5 * DAY_US


def test_the_end_is_announced_30_7_and_1_days_before_each_once(chain_pem: bytes) -> None:
    _, end_us = certificate_times_us(chain_pem)
    announced: list[int] = []
    said: list[tuple[int, int]] = []
    for hours_left in range(60 * 24, -48, -1):
        due = server_certificate_due(
            chain_pem, now_us=end_us - hours_left * 3_600_000_000, chance=0.5, announced=announced
        )
        if due.announce_days is not None:
            announced.append(due.announce_days)
            said.append((due.announce_days, hours_left))
    assert said == [(30, 30 * 24), (7, 7 * 24), (1, 24)]


def test_who_was_away_is_told_the_nearest_announcement_alone(chain_pem: bytes) -> None:
    _, end_us = certificate_times_us(chain_pem)
    late = server_certificate_due(chain_pem, now_us=end_us - DAY_US // 2, chance=0, announced=())
    assert late == ServerCertificateDue(renew=True, announce_days=1)
    assert server_certificate_due(chain_pem, now_us=end_us, chance=0, announced=[1]).announce_days is None


def test_a_fresh_certificate_asks_for_nothing(chain_pem: bytes) -> None:
    fresh = server_certificate_due(chain_pem, now_us=now_us(), chance=0, announced=())
    assert fresh == ServerCertificateDue(renew=False, announce_days=None)


def test_what_is_no_certificate_is_said() -> None:
    with pytest.raises(AuthorityError, match="no PEM certificate"):
        certificate_times_us(b"-----BEGIN NOTHING-----")
