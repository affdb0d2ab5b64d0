"""A device's life: every status may become what the table says and nothing else, whoever asks in whatever order."""

from pathlib import Path
from shutil import copyfile

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from workshop import DAY_US, ENGINEER, HOUR_US, NOW_US, Node, city

from lichtmast.registry import AssetRecord, ConflictError, DeviceStatus, Registry, import_source
from lichtmast.registry.identity import (
    Admitted,
    ClaimReason,
    ClaimRefused,
    ClaimState,
    EnrolmentPending,
    EnrolmentRefused,
    RevocationReason,
)
from lichtmast.registry.pki import Authority
from lichtmast.registry.records import TRANSITIONS
from lichtmast.wire import DeviceId

DEVICE = DeviceId("gm0402", "lamp-0001")
R, C, A, S, X = DeviceStatus
TABLE = {
    (R, C), (R, A), (R, X),
    (C, R), (C, A), (C, X),
    (A, S), (A, X),
    (S, A), (S, X),
}  # fmt: skip


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return city(tmp_path / "authority")


@pytest.mark.parametrize("before", DeviceStatus)
@pytest.mark.parametrize("after", DeviceStatus)
def test_a_status_follows_another_only_as_the_table_says(
    registry: Registry, before: DeviceStatus, after: DeviceStatus
) -> None:
    registry.register_device(DEVICE, "weather", at_us=NOW_US, status=before)
    head = registry.audit_log.head()
    if before is after or (before, after) in TABLE:
        registry.set_device_status(DEVICE, after, at_us=NOW_US + 1)
    else:
        with pytest.raises(ConflictError, match=r"can become|final"):
            registry.set_device_status(DEVICE, after, at_us=NOW_US + 1)
        after = before
    record = registry.device(DEVICE)
    assert record is not None
    assert record.status is after
    assert (registry.audit_log.head() != head) == (before is not after)
    assert TRANSITIONS[before] == {two for one, two in TABLE if one is before}


def test_only_a_suspended_device_is_resumed(registry: Registry) -> None:
    registry.register_device(DEVICE, "weather", at_us=NOW_US)
    with pytest.raises(ConflictError, match="only a suspended device is resumed"):
        registry.identity.resume(DEVICE, at_us=NOW_US)


def test_a_device_that_is_being_claimed_is_not_moved(
    registry: Registry, authority: Authority, lampposts: list[AssetRecord]
) -> None:
    node = Node("lamp-0001")
    registry.identity.stage(node.label(authority), "weather", at_us=NOW_US)
    registry.identity.open_claim(node.label(authority), asset_id=lampposts[0].id, by=ENGINEER, at_us=NOW_US)
    with pytest.raises(ConflictError, match="is being claimed"):
        registry.identity.move(DEVICE, lampposts[1].id, at_us=NOW_US)
    registry.identity.enrol(node.csr(), authority, at_us=NOW_US)
    assert registry.identity.move(DEVICE, lampposts[1].id, by=ENGINEER, at_us=NOW_US + 1)
    assert not registry.identity.move(DEVICE, lampposts[1].id, by=ENGINEER, at_us=NOW_US + 2)
    assert registry.identity.admission(NOW_US).statuses[DEVICE] is DeviceStatus.ACTIVE


@pytest.mark.parametrize("ending", ["suspend", "retire"])
def test_who_is_suspended_or_retired_has_no_open_claim(
    registry: Registry, authority: Authority, lampposts: list[AssetRecord], ending: str
) -> None:
    node = Node("lamp-0001")
    registry.register_device(DEVICE, "weather", asset_id=lampposts[0].id, at_us=NOW_US, status=DeviceStatus.ACTIVE)
    registry.identity.stage(node.label(authority), "weather", at_us=NOW_US)
    opened = registry.identity.open_claim(node.label(authority), asset_id=lampposts[0].id, by=ENGINEER, at_us=NOW_US)
    getattr(registry.identity, ending)(DEVICE, at_us=NOW_US + 1, why="stolen")
    shut = registry.identity.claim(opened.id)
    assert shut is not None
    assert shut.closed_as is ClaimState.CANCELLED
    with pytest.raises(EnrolmentRefused):
        registry.identity.enrol(node.csr(), authority, at_us=NOW_US + 2)
    assert '"why":"stolen"' in (registry.audit_log.read(limit=1, newest_first=True)[0].after or "")


class Life(RuleBasedStateMachine):
    """One device under every order of what people and nodes do, against a model of a dozen lines."""

    folder: Path
    empty: Path
    authority: Authority

    def __init__(self) -> None:
        super().__init__()
        copyfile(self.empty, self.folder / "register.sqlite")
        self.registry = Registry.open(self.folder / "register.sqlite")
        self.assets = [one.id for one in self.registry.things("gm0402")]
        self.node, self.thief = Node("lamp-0001"), Node("lamp-0001")
        self.registry.identity.stage(self.node.label(self.authority), "weather", at_us=NOW_US)
        self.now_us = NOW_US
        self.status = R
        self.asset: int | None = None
        self.window: tuple[int, int] | None = None  # the claim's id and its end
        self.certificate: bytes | None = None
        self.valid_until_us = 0
        self.issued: set[bytes] = set()

    def teardown(self) -> None:
        assert self.registry.audit_log.verify().is_whole
        self.registry.close()

    @property
    def is_certified(self) -> bool:
        return self.certificate is not None and self.now_us < self.valid_until_us

    @property
    def is_open(self) -> bool:
        return self.window is not None and self.now_us < self.window[1]

    @rule(hours=st.sampled_from([1, 30, 24 * 40, 24 * 95]))
    def wait(self, hours: int) -> None:
        self.now_us += hours * HOUR_US

    @rule(which=st.sampled_from([0, 1]))
    def claim(self, which: int) -> None:
        asset = self.assets[which]
        expected = self._refusal(asset)
        label = self.node.label(self.authority)
        if expected is not None:
            with pytest.raises(ClaimRefused) as told:
                self.registry.identity.open_claim(label, asset_id=asset, by=ENGINEER, at_us=self.now_us)
            assert told.value.reason is expected
            return
        got = self.registry.identity.open_claim(label, asset_id=asset, by=ENGINEER, at_us=self.now_us)
        self.status = C if self.status is R else self.status
        self.asset, self.window = asset, (got.id, got.expires_at_us)

    def _refusal(self, asset: int) -> ClaimReason | None:
        if self.status in {X, S}:
            return ClaimReason.RETIRED if self.status is X else ClaimReason.SUSPENDED
        if self.status is A and self.asset not in {None, asset}:
            return ClaimReason.HANGS_ELSEWHERE
        if self.status is A and self.is_certified:
            return ClaimReason.IN_SERVICE
        return ClaimReason.WINDOW_OPEN if self.is_open and self.asset != asset else None

    @precondition(lambda self: self.is_open)
    @rule()
    def cancel(self) -> None:
        assert self.window is not None
        self.registry.identity.cancel_claim(self.window[0], by=ENGINEER, at_us=self.now_us)
        self.window = None
        if self.status is C:
            self.status, self.asset = R, None

    @rule()
    def enrol(self) -> None:
        book = self.registry.identity
        if self.status in {S, X}:
            with pytest.raises(EnrolmentRefused):
                book.enrol(self.node.csr(), self.authority, at_us=self.now_us)
            return
        try:
            got = book.enrol(self.node.csr(), self.authority, at_us=self.now_us)
        except EnrolmentPending:
            assert not self.is_open
            return
        if got.is_again:
            assert got.certificate_der in self.issued
            assert self.is_certified
            return
        assert self.is_open
        self.status, self.window = A, None
        self.certificate, self.valid_until_us = got.certificate_der, got.not_after_us
        self.issued.add(got.certificate_der)

    @rule()
    def enrol_with_another_key(self) -> None:
        with pytest.raises(EnrolmentRefused):
            self.registry.identity.enrol(self.thief.csr(), self.authority, at_us=self.now_us)

    @precondition(lambda self: self.certificate is not None)
    @rule()
    def renew(self) -> None:
        assert self.certificate is not None
        try:
            got = self.registry.identity.reenrol(self.certificate, self.node.csr(), self.authority, at_us=self.now_us)
        except EnrolmentRefused:
            assert self.status is not A or not self.is_certified
            return
        assert self.status is A
        assert self.is_certified
        self.certificate, self.valid_until_us = got.certificate_der, got.not_after_us
        self.issued.add(got.certificate_der)

    @rule()
    def suspend(self) -> None:
        self._to(S, self.registry.identity.suspend, {A, S})

    @rule()
    def resume(self) -> None:
        self._to(A, self.registry.identity.resume, {S, A})

    @rule()
    def retire(self) -> None:
        self._to(X, self.registry.identity.retire, set(DeviceStatus))

    def _to(self, status: DeviceStatus, change: object, allowed: set[DeviceStatus]) -> None:
        assert callable(change)
        if self.status not in allowed:
            with pytest.raises(ConflictError):
                change(DEVICE, at_us=self.now_us)
            return
        if change(DEVICE, at_us=self.now_us) and status in {S, X}:
            self.window = None
        self.status = status
        if status is X:
            self.asset, self.valid_until_us = None, 0

    @rule()
    def revoke(self) -> None:
        self.registry.identity.revoke_certificates(DEVICE, RevocationReason.UNSPECIFIED, at_us=self.now_us)
        self.window = None
        self.valid_until_us = 0

    @rule(which=st.sampled_from([0, 1]))
    def move(self, which: int) -> None:
        asset = self.assets[which]
        if asset != self.asset and (self.status is X or self.is_open):
            with pytest.raises(ConflictError):
                self.registry.identity.move(DEVICE, asset, at_us=self.now_us)
            return
        assert self.registry.identity.move(DEVICE, asset, at_us=self.now_us) == (asset != self.asset)
        self.asset = asset

    @invariant()
    def the_register_is_as_the_model(self) -> None:
        record = self.registry.device(DEVICE)
        assert record is not None
        assert (record.status, record.asset_id) == (self.status, self.asset)
        still_open = self.registry.identity.claims(open_at_us=self.now_us)
        assert [one.id for one in still_open] == ([self.window[0]] if self.window and self.is_open else [])
        if self.certificate is not None:
            judged = self.registry.identity.admission(self.now_us).judge(self.certificate, self.now_us)
            assert isinstance(judged, Admitted) == (self.status is A and self.is_certified)


@pytest.mark.slow
def test_no_order_of_changes_leaves_the_table(tmp_path: Path, authority: Authority, empty_register: Path) -> None:
    folder = tmp_path / "lives"
    folder.mkdir()
    template = folder / "empty.sqlite"
    copyfile(empty_register, template)
    table = tmp_path / "lampposts.csv"
    table.write_text("straat;nummer;lon;lat\nKerkstraat;1;5,17;52,22\nKerkstraat;2;5,18;52,22\n")
    with Registry.open(template) as registry:
        source = import_source("csv", table, tenant="gm0402")
        assert registry.import_assets("gm0402", source, dry_run=False, at_us=NOW_US - DAY_US).committed
    machine = type("OneLife", (Life,), {"folder": folder, "empty": template, "authority": authority})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.reuse, Phase.generate],  # each life takes a second: shrinking takes minutes
        ),
    )
