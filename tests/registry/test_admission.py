"""Admission: what every door asks, in memory, and what each bad certificate is told."""

from pathlib import Path

import pytest
from workshop import DAY_US, ENGINEER, NOW_US, Node, city

from lichtmast.registry import AssetRecord, DeviceStatus, Registry
from lichtmast.registry.identity import SENTENCES, AdmissionReason, Admitted, Enrolled, Refused
from lichtmast.registry.limits import ENDED_KEPT_US
from lichtmast.registry.pki import Authority
from lichtmast.wire import DeviceId


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return city(tmp_path / "authority")


@pytest.fixture
def node() -> Node:
    return Node("lamp-0001")


@pytest.fixture
def enrolled(registry: Registry, authority: Authority, node: Node, lampposts: list[AssetRecord]) -> Enrolled:
    book = registry.identity
    book.stage(node.label(authority), "weather", at_us=NOW_US)
    book.open_claim(node.label(authority), asset_id=lampposts[0].id, by=ENGINEER, at_us=NOW_US)
    return book.enrol(node.csr(), authority, at_us=NOW_US)


def test_a_device_that_was_enrolled_is_admitted_as_itself(registry: Registry, node: Node, enrolled: Enrolled) -> None:
    admission = registry.identity.admission(NOW_US)
    answer = admission.judge(enrolled.certificate_der, NOW_US)
    assert answer == Admitted(node.device, enrolled.serial, enrolled.not_after_us)
    assert admission.admits(node.device, enrolled.serial, NOW_US)
    assert admission.revision == registry.revision()


def test_a_snapshot_stays_as_it_was_and_the_next_one_differs(
    registry: Registry, node: Node, enrolled: Enrolled
) -> None:
    before = registry.identity.admission(NOW_US)
    registry.identity.suspend(node.device, at_us=NOW_US)
    after = registry.identity.admission(NOW_US)
    assert after.revision == before.revision + 1
    assert before.admits(node.device, enrolled.serial, NOW_US)
    assert not after.admits(node.device, enrolled.serial, NOW_US)
    registry.identity.resume(node.device, at_us=NOW_US)
    assert registry.identity.admission(NOW_US).admits(node.device, enrolled.serial, NOW_US)


def test_each_bad_certificate_is_told_apart(
    registry: Registry, authority: Authority, node: Node, enrolled: Enrolled, lampposts: list[AssetRecord]
) -> None:
    book, shown = registry.identity, enrolled.certificate_der
    unlogged = authority.issue_device(node.device, node.spki_der, serial=77, now_us=NOW_US)
    stray = DeviceId("gm0402", "lamp-0404")
    foreign = authority.issue_device(stray, node.spki_der, serial=78, now_us=NOW_US)
    server = authority.issue_server(["2001:db8::1"], now_us=NOW_US).chain_pem
    admission = book.admission(NOW_US)
    asleep, revoked = Node("lamp-0002"), Node("lamp-0003")
    got = {}
    for one, asset in ((asleep, lampposts[1]), (revoked, lampposts[2])):
        book.stage(one.label(authority), "weather", at_us=NOW_US)
        book.open_claim(one.label(authority), asset_id=asset.id, by=ENGINEER, at_us=NOW_US)
        got[one] = book.enrol(one.csr(), authority, at_us=NOW_US).certificate_der
    book.suspend(asleep.device, at_us=NOW_US)
    book.revoke_certificates(revoked.device, at_us=NOW_US)
    now = book.admission(NOW_US)
    told = {
        now.judge(b"", NOW_US): (AdmissionReason.NOT_A_DEVICE_CERTIFICATE, None),
        now.judge(server, NOW_US): (AdmissionReason.NOT_A_DEVICE_CERTIFICATE, None),
        now.judge(shown, enrolled.not_after_us): (AdmissionReason.EXPIRED, node.device),
        now.judge(shown, NOW_US - DAY_US): (AdmissionReason.NOT_YET_VALID, node.device),
        now.judge(unlogged, NOW_US): (AdmissionReason.UNKNOWN_SERIAL, node.device),
        now.judge(foreign, NOW_US): (AdmissionReason.UNKNOWN_DEVICE, stray),
        now.judge(got[revoked], NOW_US): (AdmissionReason.REVOKED, revoked.device),
        now.judge(got[asleep], NOW_US): (AdmissionReason.NOT_ACTIVE, asleep.device),
    }
    assert told == {Refused(reason, device): (reason, device) for reason, device in told.values()}
    assert {reason for reason, _ in told.values()} == set(AdmissionReason)
    assert isinstance(admission.judge(shown, enrolled.not_after_us - 1), Admitted)


def test_one_devices_certificate_admits_no_other_device(registry: Registry, node: Node, enrolled: Enrolled) -> None:
    other = DeviceId("gm0402", "lamp-0002")
    registry.register_device(other, "weather", at_us=NOW_US, status=DeviceStatus.ACTIVE)
    admission = registry.identity.admission(NOW_US)
    assert not admission.admits(other, enrolled.serial, NOW_US)
    assert not admission.admits(node.device, enrolled.serial + 1, NOW_US)


def test_a_session_ends_with_its_certificate(registry: Registry, node: Node, enrolled: Enrolled) -> None:
    admission = registry.identity.admission(NOW_US)
    assert admission.admits(node.device, enrolled.serial, enrolled.not_after_us - 1)
    assert not admission.admits(node.device, enrolled.serial, enrolled.not_after_us)


def test_a_forgery_that_repeats_a_serial_number_of_the_log_is_not_admitted(
    registry: Registry, authority: Authority, node: Node, enrolled: Enrolled
) -> None:
    thief = Node("lamp-0001")
    forged = authority.issue_device(node.device, thief.spki_der, serial=enrolled.serial, now_us=NOW_US)
    told = registry.identity.admission(NOW_US).judge(forged, NOW_US)
    assert told == Refused(AdmissionReason.UNKNOWN_SERIAL, node.device)


def test_certificates_that_ended_long_ago_are_left_out_and_still_told(
    registry: Registry, node: Node, enrolled: Enrolled
) -> None:
    late = enrolled.not_after_us + ENDED_KEPT_US
    assert len(registry.identity.admission(late - 1).certificates) == 1
    admission = registry.identity.admission(late)
    assert len(admission.certificates) == 0
    assert admission.judge(enrolled.certificate_der, late) == Refused(AdmissionReason.EXPIRED, node.device)


def test_a_retired_devices_certificate_is_on_the_revocation_list_until_it_ends(
    registry: Registry, node: Node, enrolled: Enrolled
) -> None:
    assert list(registry.identity.revoked(NOW_US)) == []
    registry.identity.retire(node.device, at_us=NOW_US + 1)
    (listed,) = registry.identity.revoked(NOW_US + 2)
    assert (listed.serial, listed.at_us, listed.reason.value) == (enrolled.serial, NOW_US + 1, "cessationOfOperation")
    assert list(registry.identity.revoked(enrolled.not_after_us)) == []


def test_every_reason_of_admission_has_a_sentence_and_stands_in_the_reference() -> None:
    assert set(SENTENCES) == set(AdmissionReason)
    page = (Path(__file__).parents[2] / "docs/reference/claim.md").read_text()
    assert [one.value for one in AdmissionReason if f"`{one.value}`" not in page] == []
