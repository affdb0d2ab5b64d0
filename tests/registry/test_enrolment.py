"""Enrolling and renewing: the pinned key in an open window gets one certificate, and nobody else gets any."""

import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from workshop import DAY_US, ENGINEER, HOUR_US, NOW_US, Node, city

from lichtmast.registry import AssetRecord, DeviceStatus, Registry
from lichtmast.registry.auditing import event
from lichtmast.registry.identity import (
    ENROLMENT_SENTENCES,
    Claim,
    ClaimState,
    EnrolmentPending,
    EnrolmentReason,
    EnrolmentRefused,
    RevocationReason,
    enrolment,
)
from lichtmast.registry.limits import (
    CERTIFICATES_LIVE_MAX,
    CERTIFICATES_PER_HOUR_MAX,
    CLAIM_WRONG_KEYS_MAX,
    ENROLMENT_RETRY_S,
)
from lichtmast.registry.pki import Authority, AuthorityKind, device_of_certificate
from lichtmast.wire import DeviceId

SOURCE = "2001:db8::99"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return city(tmp_path / "authority")


@pytest.fixture
def node(registry: Registry, authority: Authority) -> Node:
    made = Node("lamp-0001")
    registry.identity.stage(made.label(authority), "weather", at_us=NOW_US - HOUR_US)
    return made


@pytest.fixture
def opened(registry: Registry, authority: Authority, node: Node, lampposts: list[AssetRecord]) -> Claim:
    return registry.identity.open_claim(node.label(authority), asset_id=lampposts[0].id, by=ENGINEER, at_us=NOW_US)


def actions(registry: Registry, since: int) -> list[str]:
    return [one.action for one in registry.audit_log.read(since)]


def claim_of(registry: Registry, claim: Claim) -> Claim:
    found = registry.identity.claim(claim.id)
    assert found is not None
    return found


def refusal(enrol: Callable[[], object]) -> EnrolmentReason:
    with pytest.raises(EnrolmentRefused) as refused:
        enrol()
    return refused.value.reason


def test_a_claimed_node_gets_its_certificate_and_is_active(
    registry: Registry, authority: Authority, node: Node, opened: Claim
) -> None:
    got = registry.identity.enrol(node.csr(), authority, at_us=NOW_US + 5, source=SOURCE)
    certified = device_of_certificate(got.certificate_der)
    assert (certified.device, certified.serial, certified.not_after_us) == (node.device, got.serial, got.not_after_us)
    assert not got.is_again
    issuer = x509.load_der_x509_certificate(got.chain[0])
    x509.load_der_x509_certificate(got.certificate_der).verify_directly_issued_by(issuer)
    record = registry.device(node.device)
    assert record is not None
    assert record.status is DeviceStatus.ACTIVE
    used = claim_of(registry, opened)
    assert (used.closed_as, used.closed_at_us, used.serial) == (ClaimState.USED, NOW_US + 5, got.serial)
    event = registry.audit_log.read(limit=1, newest_first=True)[0]
    assert (event.action, event.actor_kind, event.actor, event.source) == (
        "device.enrolled",
        "device",
        "gm0402/lamp-0001",
        SOURCE,
    )
    logged = registry.identity.certificates(node.device)
    assert [(one.serial, one.der, one.issued_at_us) for one in logged] == [
        (got.serial, got.certificate_der, NOW_US + 5)
    ]


def test_the_certificate_is_in_the_log_before_it_is_handed_out(
    registry: Registry, authority: Authority, node: Node, opened: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signature that the register could not write down is never seen: the window stays open and nothing is logged."""

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("lichtmast.registry.identity.book.bump", fail)
    with pytest.raises(OSError, match="disk full"):
        registry.identity.enrol(node.csr(), authority, at_us=NOW_US)
    assert registry.identity.certificates(node.device) == []
    assert claim_of(registry, opened) == opened


def test_an_answer_that_got_lost_is_given_again(
    registry: Registry, authority: Authority, node: Node, opened: Claim
) -> None:
    first = registry.identity.enrol(node.csr(), authority, at_us=NOW_US)
    before, head = registry.revision(), registry.audit_log.head()
    again = registry.identity.enrol(node.csr(), authority, at_us=opened.expires_at_us - 1)
    assert again.is_again
    assert again.certificate_der == first.certificate_der
    assert (registry.revision(), registry.audit_log.head()) == (before, head)
    with pytest.raises(EnrolmentPending):
        registry.identity.enrol(node.csr(), authority, at_us=opened.expires_at_us)


@pytest.mark.slow
@pytest.mark.usefixtures("opened")
def test_two_requests_at_once_get_one_certificate(registry: Registry, authority: Authority, node: Node) -> None:
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: registry.identity.enrol(node.csr(), authority, at_us=NOW_US), range(16)))
    assert len({one.certificate_der for one in got}) == 1
    assert [one.is_again for one in got].count(False) == 1
    assert len(registry.identity.certificates(node.device)) == 1


def test_a_node_that_nobody_claimed_waits(registry: Registry, authority: Authority, node: Node) -> None:
    head = registry.audit_log.head()
    with pytest.raises(EnrolmentPending) as pending:
        registry.identity.enrol(node.csr(), authority, at_us=NOW_US)
    assert (pending.value.device, pending.value.retry_s) == (node.device, ENROLMENT_RETRY_S)
    assert registry.audit_log.head() == head


def test_a_cancelled_and_an_expired_window_let_nobody_in(
    registry: Registry, authority: Authority, node: Node, opened: Claim
) -> None:
    with pytest.raises(EnrolmentPending):
        registry.identity.enrol(node.csr(), authority, at_us=opened.expires_at_us)
    registry.identity.cancel_claim(opened.id, by=ENGINEER, at_us=NOW_US)
    with pytest.raises(EnrolmentPending):
        registry.identity.enrol(node.csr(), authority, at_us=NOW_US)
    assert registry.identity.certificates(node.device) == []


def test_a_stolen_window_is_of_no_use_with_another_key(
    registry: Registry, authority: Authority, node: Node, opened: Claim
) -> None:
    start = registry.audit_log.head().seq
    thief = Node("lamp-0001")
    assert refusal(lambda: registry.identity.enrol(thief.csr(), authority, at_us=NOW_US)) is EnrolmentReason.UNKNOWN_KEY
    assert actions(registry, start) == [], "nobody fills the log with keys that claim nothing"
    named = thief.csr(names=node.device)
    assert refusal(lambda: registry.identity.enrol(named, authority, at_us=NOW_US)) is EnrolmentReason.OTHER_KEY
    assert actions(registry, start) == ["claim.wrong_key"]
    assert claim_of(registry, opened).wrong_keys == 1
    assert registry.identity.enrol(node.csr(), authority, at_us=NOW_US).device == node.device


def test_a_used_window_is_of_no_use_with_another_key_and_that_is_logged_too(
    registry: Registry, authority: Authority, node: Node, opened: Claim
) -> None:
    registry.identity.enrol(node.csr(), authority, at_us=NOW_US)
    start = registry.audit_log.head().seq
    thief = Node("lamp-0001").csr(names=node.device)
    for _ in range(CLAIM_WRONG_KEYS_MAX + 3):
        assert refusal(lambda: registry.identity.enrol(thief, authority, at_us=NOW_US)) is EnrolmentReason.OTHER_KEY
    assert actions(registry, start) == ["claim.wrong_key"] * CLAIM_WRONG_KEYS_MAX + ["claim.attacked"]
    assert claim_of(registry, opened).closed_as is ClaimState.USED
    assert len(registry.identity.certificates(node.device)) == 1


def test_wrong_keys_are_told_as_an_attack_and_do_not_shut_out_the_key_on_the_label(
    registry: Registry, authority: Authority, node: Node, opened: Claim
) -> None:
    start = registry.audit_log.head().seq
    for number in range(CLAIM_WRONG_KEYS_MAX + 3):
        thief = Node("lamp-0001").csr(names=node.device)
        with pytest.raises(EnrolmentRefused, match="not the one on the device's label"):
            registry.identity.enrol(thief, authority, at_us=NOW_US + number, source=SOURCE)
        assert claim_of(registry, opened).closed_as is None
    assert actions(registry, start) == ["claim.wrong_key"] * CLAIM_WRONG_KEYS_MAX + ["claim.attacked"]
    assert {one.source for one in registry.audit_log.read(start)} == {SOURCE}
    assert registry.identity.enrol(node.csr(), authority, at_us=NOW_US + 60).device == node.device


@pytest.mark.usefixtures("opened")
def test_a_request_that_names_another_device_than_its_key_is_refused(
    registry: Registry, authority: Authority, node: Node
) -> None:
    other = DeviceId("gm0402", "lamp-0002")
    for csr in (node.csr(names=other), node.csr(common_name="lamp-0002")):
        with pytest.raises(EnrolmentRefused) as refused:
            registry.identity.enrol(csr, authority, at_us=NOW_US)
        assert refused.value.reason is EnrolmentReason.OTHER_NAME
    for csr in (node.csr(names=node.device), node.csr(common_name="lamp-0001"), node.csr()):
        assert registry.identity.enrol(csr, authority, at_us=NOW_US).device == node.device


@pytest.mark.usefixtures("opened")
def test_each_standing_that_lets_nobody_in_is_told(registry: Registry, authority: Authority, node: Node) -> None:
    book = registry.identity
    nobody = Node("nobody").csr(names=DeviceId("gm0402", "nobody"))
    assert refusal(lambda: book.enrol(nobody, authority, at_us=NOW_US)) is EnrolmentReason.UNKNOWN_DEVICE
    book.enrol(node.csr(), authority, at_us=NOW_US)
    book.suspend(node.device, at_us=NOW_US)
    assert refusal(lambda: book.enrol(node.csr(), authority, at_us=NOW_US)) is EnrolmentReason.SUSPENDED
    book.retire(node.device, at_us=NOW_US)
    assert refusal(lambda: book.enrol(node.csr(), authority, at_us=NOW_US)) is EnrolmentReason.RETIRED


def test_a_revoked_certificate_is_not_given_again(
    registry: Registry, authority: Authority, node: Node, opened: Claim
) -> None:
    registry.identity.enrol(node.csr(), authority, at_us=NOW_US)
    registry.identity.revoke_certificates(node.device, at_us=NOW_US + 1)
    with pytest.raises(EnrolmentPending):
        registry.identity.enrol(node.csr(), authority, at_us=NOW_US + 2)
    registry.identity.open_claim(node.label(authority), asset_id=opened.asset_id, by=ENGINEER, at_us=NOW_US + 3)
    assert not registry.identity.enrol(node.csr(), authority, at_us=NOW_US + 4).is_again


def test_revoking_shuts_the_open_claim_too_so_that_no_stolen_key_fetches_the_next_certificate(
    registry: Registry, authority: Authority, node: Node, opened: Claim
) -> None:
    start, revision = registry.audit_log.head().seq, registry.revision()
    assert registry.identity.revoke_certificates(node.device, RevocationReason.KEY_COMPROMISE, at_us=NOW_US + 1) == []
    assert claim_of(registry, opened).closed_as is ClaimState.CANCELLED
    with pytest.raises(EnrolmentPending):
        registry.identity.enrol(node.csr(), authority, at_us=NOW_US + 2)
    (event,) = registry.audit_log.read(start)
    assert json.loads(event.after or "")["cancelled_claim"] == opened.id
    assert registry.revision() > revision


@pytest.mark.slow
@pytest.mark.usefixtures("opened")
def test_a_device_that_renews_without_end_has_few_certificates_and_may_renew_when_it_must(
    registry: Registry, authority: Authority, node: Node
) -> None:
    last = registry.identity.enrol(node.csr(), authority, at_us=NOW_US)
    at_us = NOW_US
    for _ in range(3 * CERTIFICATES_LIVE_MAX):
        at_us += HOUR_US
        last = registry.identity.reenrol(last.certificate_der, node.csr(), authority, at_us=at_us)
    issued = registry.identity.certificates(node.device)
    assert (len(issued), issued[0].serial, last.is_again) == (CERTIFICATES_LIVE_MAX, last.serial, True)
    must_us = at_us + 60 * DAY_US
    assert not registry.identity.reenrol(last.certificate_der, node.csr(), authority, at_us=must_us).is_again


@pytest.mark.slow
@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize("way", ["retire", "revoke", "replace"])
def test_a_device_with_any_number_of_certificates_can_be_put_out_of_service(
    registry: Registry, authority: Authority, node: Node, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(enrolment, "CERTIFICATES_LIVE_MAX", 1_000_000)
    monkeypatch.setattr(enrolment, "CERTIFICATES_PER_HOUR_MAX", 1_000_000)
    last = registry.identity.enrol(node.csr(), authority, at_us=NOW_US)
    monkeypatch.setattr(event, "EVENT_BYTES_MAX", 1_000)  # so that 60 are too many to name; 500 are for the real one
    for number in range(60):
        at_us = NOW_US + (number + 1) * HOUR_US
        last = registry.identity.reenrol(last.certificate_der, node.csr(), authority, at_us=at_us)
    if way == "retire":
        registry.identity.retire(node.device, at_us=at_us)
    elif way == "revoke":
        registry.identity.revoke_certificates(node.device, at_us=at_us)
    else:
        registry.replace_device(node.device, DeviceId("gm0402", "lamp-0002"), at_us=at_us)
    assert not registry.identity.admission(at_us).admits(node.device, last.serial, at_us)
    serials = [f"{one.serial:x}" for one in reversed(registry.identity.certificates(node.device))]
    told = next(
        json.loads(one.after or "{}")
        for one in registry.audit_log.read(newest_first=True)
        if "revoked" in (one.after or "{}")
    )
    assert (told["revoked"], told["revoked_first"]) == (61, serials[:10])
    assert told["revoked_sha256"] == sha256("\n".join(serials).encode()).hexdigest()


def test_what_a_stolen_authority_signed_is_revoked_claimed_again_and_never_handed_out_again(
    registry: Registry, authority: Authority, node: Node, opened: Claim
) -> None:
    book = registry.identity
    first = book.enrol(node.csr(), authority, at_us=NOW_US)
    authority.roll_issuing(AuthorityKind.DEVICES, now_us=NOW_US + 10, distrust_old=True)
    with pytest.raises(EnrolmentPending):  # also before the register has revoked it
        book.enrol(node.csr(), authority, at_us=NOW_US + 11)
    renewed = refusal(lambda: book.reenrol(first.certificate_der, node.csr(), authority, at_us=NOW_US + 11))
    assert renewed is EnrolmentReason.CERTIFICATE_REVOKED
    start, revision = registry.audit_log.head().seq, registry.revision()
    assert [book.revoke_distrusted(authority, at_us=NOW_US + 12) for _ in range(2)] == [1, 0]
    assert registry.revision() == revision + 1
    assert not book.admission(NOW_US + 13).admits(node.device, first.serial, NOW_US + 13)
    (event,) = registry.audit_log.read(start)
    assert (event.action, event.subject, event.tenant) == ("certificates.revoked", "devices", "gm0402")
    assert book.certificates(node.device)[0].revoked_for is RevocationReason.KEY_COMPROMISE
    book.open_claim(node.label(authority), asset_id=opened.asset_id, by=ENGINEER, at_us=NOW_US + 14)
    fresh = book.enrol(node.csr(), authority, at_us=NOW_US + 15)
    leaf, issuer = map(x509.load_der_x509_certificate, (fresh.certificate_der, fresh.chain[0]))
    leaf.verify_directly_issued_by(issuer)
    assert book.revoke_distrusted(authority, at_us=NOW_US + 16) == 0


def test_a_certificate_that_is_given_again_after_a_roll_over_comes_with_the_authority_that_signed_it(
    registry: Registry, authority: Authority, node: Node, opened: Claim
) -> None:
    first = registry.identity.enrol(node.csr(), authority, at_us=NOW_US)
    authority.roll_issuing(AuthorityKind.DEVICES, now_us=NOW_US + 10)
    again = registry.identity.enrol(node.csr(), authority, at_us=NOW_US + 11)
    assert (again.serial, again.is_again, opened.device) == (first.serial, True, node.device)
    leaf, issuer = map(x509.load_der_x509_certificate, (again.certificate_der, again.chain[0]))
    leaf.verify_directly_issued_by(issuer)


def test_after_its_certificate_ended_a_node_waits_for_an_engineer(
    registry: Registry, authority: Authority, node: Node, opened: Claim
) -> None:
    first = registry.identity.enrol(node.csr(), authority, at_us=NOW_US)
    late = first.not_after_us + DAY_US
    with pytest.raises(EnrolmentPending):
        registry.identity.enrol(node.csr(), authority, at_us=late)
    expired = refusal(lambda: registry.identity.reenrol(first.certificate_der, node.csr(), authority, at_us=late))
    assert expired is EnrolmentReason.CERTIFICATE_EXPIRED
    registry.identity.open_claim(node.label(authority), asset_id=opened.asset_id, by=ENGINEER, at_us=late)
    fresh = registry.identity.enrol(node.csr(), authority, at_us=late + 1)
    assert fresh.serial != first.serial
    record = registry.device(node.device)
    assert record is not None
    assert record.status is DeviceStatus.ACTIVE


@pytest.mark.usefixtures("opened")
def test_a_renewal_leaves_the_old_certificate_valid_to_its_end(
    registry: Registry, authority: Authority, node: Node
) -> None:
    first = registry.identity.enrol(node.csr(), authority, at_us=NOW_US)
    late = NOW_US + 60 * DAY_US
    second = registry.identity.reenrol(first.certificate_der, node.csr(), authority, at_us=late, source=SOURCE)
    assert not second.is_again
    assert second.not_after_us > first.not_after_us
    newest, oldest = registry.identity.certificates(node.device)
    assert (newest.superseded_at_us, oldest.superseded_at_us, oldest.revoked_at_us) == (None, late, None)
    admission = registry.identity.admission(late)
    assert admission.admits(node.device, first.serial, late)
    assert admission.admits(node.device, second.serial, late)
    event = registry.audit_log.read(limit=1, newest_first=True)[0]
    assert (event.action, event.source) == ("device.renewed", SOURCE)
    assert json.loads(event.before or "") == {"serial": f"{first.serial:x}"}


@pytest.mark.usefixtures("opened")
def test_a_renewal_whose_answer_got_lost_is_given_again(registry: Registry, authority: Authority, node: Node) -> None:
    first = registry.identity.enrol(node.csr(), authority, at_us=NOW_US)
    late = NOW_US + 60 * DAY_US
    second = registry.identity.reenrol(first.certificate_der, node.csr(), authority, at_us=late)
    again = registry.identity.reenrol(first.certificate_der, node.csr(), authority, at_us=late + HOUR_US)
    assert again.is_again
    assert again.certificate_der == second.certificate_der
    third = registry.identity.reenrol(first.certificate_der, node.csr(), authority, at_us=late + 2 * DAY_US)
    assert third.serial != second.serial


@pytest.mark.usefixtures("opened")
def test_a_node_that_renews_all_the_time_fills_no_log(registry: Registry, authority: Authority, node: Node) -> None:
    shown = registry.identity.enrol(node.csr(), authority, at_us=NOW_US)
    for second in range(50):
        shown = registry.identity.reenrol(
            shown.certificate_der, node.csr(), authority, at_us=NOW_US + second * 1_000_000
        )
    assert len(registry.identity.certificates(node.device)) == CERTIFICATES_PER_HOUR_MAX
    assert not registry.identity.reenrol(
        shown.certificate_der, node.csr(), authority, at_us=NOW_US + 2 * HOUR_US
    ).is_again


@pytest.mark.usefixtures("opened")
def test_only_a_certificate_of_ours_that_is_in_force_renews(
    registry: Registry, authority: Authority, node: Node, tmp_path: Path
) -> None:
    book = registry.identity
    got = book.enrol(node.csr(), authority, at_us=NOW_US).certificate_der
    foreign = city(tmp_path / "other city").issue_device(node.device, node.spki_der, serial=77, now_us=NOW_US)
    unlogged = authority.issue_device(node.device, node.spki_der, serial=78, now_us=NOW_US)
    thief = Node("lamp-0001")

    def told(shown: bytes, who: Node = node, at_us: int = NOW_US + 1, names: DeviceId | None = None) -> EnrolmentReason:
        return refusal(lambda: book.reenrol(shown, who.csr(names=names), authority, at_us=at_us))

    assert told(foreign) is EnrolmentReason.CERTIFICATE_REFUSED
    assert told(unlogged) is EnrolmentReason.CERTIFICATE_REFUSED
    assert told(b"no certificate") is EnrolmentReason.CERTIFICATE_REFUSED
    assert told(got, at_us=NOW_US - DAY_US) is EnrolmentReason.CERTIFICATE_EXPIRED
    assert told(got, thief) is EnrolmentReason.OTHER_KEY
    assert told(got, names=DeviceId("gm0402", "lamp-0002")) is EnrolmentReason.OTHER_NAME
    book.suspend(node.device, at_us=NOW_US)
    assert told(got) is EnrolmentReason.NOT_ACTIVE
    book.resume(node.device, at_us=NOW_US)
    assert not book.reenrol(got, node.csr(), authority, at_us=NOW_US + 1).is_again
    book.revoke_certificates(node.device, RevocationReason.KEY_COMPROMISE, at_us=NOW_US + 2)
    assert told(got, at_us=NOW_US + 3) is EnrolmentReason.CERTIFICATE_REVOKED


@pytest.mark.usefixtures("opened")
def test_the_issuance_log_refuses_to_change_or_forget(registry: Registry, authority: Authority, node: Node) -> None:
    registry.identity.enrol(node.csr(), authority, at_us=NOW_US)
    registry.identity.revoke_certificates(node.device, at_us=NOW_US + 1)
    with closing(sqlite3.connect(str(registry._engine.url.database))) as connection:
        for statement in (
            "DELETE FROM certificate",
            "UPDATE certificate SET serial = '1'",
            "UPDATE certificate SET not_after_us = not_after_us + 1",
            "UPDATE certificate SET der = X''",
            "UPDATE certificate SET revoked_at_us = NULL, revoked_for = NULL",
            "REPLACE INTO certificate SELECT * FROM certificate",
        ):
            with pytest.raises(sqlite3.IntegrityError, match=r"append-only|stays revoked|issued once"):
                connection.execute(statement)


def test_every_reason_of_enrolment_has_a_sentence_and_stands_in_the_reference() -> None:
    assert set(ENROLMENT_SENTENCES) == set(EnrolmentReason)
    page = (Path(__file__).parents[2] / "docs/reference/claim.md").read_text()
    assert [one.value for one in EnrolmentReason if f"`{one.value}`" not in page] == []
