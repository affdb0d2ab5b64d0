"""The outbox against a model of it, in any order of puts, settling, reboots, failures and clocks."""

import shutil
import tempfile
from pathlib import Path

import pytest
from crash_disk import CrashDisk
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from outbox_parts import START_US, StillClock, draft, open_outbox, pack_of

from lichtmast.edge.outbox import OutboxBrokenError, OutboxSettings

SETTINGS = OutboxSettings(bytes_max=160 * 1024, hours=5)


class OutboxMachine(RuleBasedStateMachine):
    """The model: which numbers were given, settled and waiting, and what the server was told is gone."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="outbox-model-"))
        self.disk = CrashDisk(self.folder.name)
        self.disk.__enter__()
        self.clock = StillClock()
        self.boots = 1
        self.value = 0.0
        self.values: dict[int, float] = {}
        self.settled: set[int] = set()
        self.declared: set[int] = set()  # in packs that the server has
        self.outbox = open_outbox(self.folder / "outbox.db", self.clock, SETTINGS, self.disk.connect)
        self.epoch = self.outbox.epoch

    def teardown(self) -> None:
        if hasattr(self, "outbox"):
            self.outbox.close()
            self.disk.__exit__(None, None, None)
            shutil.rmtree(self.folder)

    @rule(count=st.integers(1, 8), readings=st.integers(1, 60), stamped=st.booleans())
    def put(self, count: int, readings: int, stamped: bool) -> None:  # noqa: FBT001 - hypothesis calls it
        drafts = [draft(self.value + one, self.clock.now_s, readings) for one in range(count)]
        first = self.outbox.next_seq
        seqs = self.outbox.put(drafts, self.clock.stamp() if stamped else None)
        numbers = list(range(first, self.outbox.next_seq))
        assert len(numbers) == count
        assert seqs == (numbers if stamped else [])
        assert not set(numbers) & set(self.values), "a number was given twice"
        self.values |= {seq: self.value + one for one, seq in enumerate(numbers)}
        self.value += count

    @rule(share=st.floats(0, 1), last=st.booleans())
    def settle(self, share: float, last: bool) -> None:  # noqa: FBT001 - hypothesis calls it
        waiting = list(self.outbox.sendable())
        some = waiting[int(len(waiting) * share) :] if last else waiting[: int(len(waiting) * share)]
        for seq in some:
            for low, high in pack_of(self.outbox, seq).dropped:
                self.declared |= set(range(low, high + 1))
        self.outbox.settle(some)
        self.settled |= set(some)

    @rule()
    def stamp_waiting(self) -> None:
        waiting = set(self.outbox.waiting())
        assert waiting == set(self.outbox.stamp_waiting(self.clock.stamp()))

    @rule(seconds=st.floats(1, 4 * 3600))
    def time_passes(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @rule()
    def reboot(self) -> None:
        """A clean one: what is settled is written."""
        self.outbox.close()
        self.boots += 1
        went_s = self.clock.now_s + 30
        self.clock = StillClock(f"boot-{self.boots}", 5.0, self.clock.started_us + round(went_s * 1e6))
        self.outbox = open_outbox(self.folder / "outbox.db", self.clock, SETTINGS, self.disk.connect)

    @rule(operation=st.integers(1, 6))
    def disk_fails(self, operation: int) -> None:
        before = self.outbox.puts, self.outbox.next_seq
        self.disk.fail_at = frozenset({self.disk.operations + operation})
        try:
            self.outbox.put([draft(self.value, self.clock.now_s)], self.clock.stamp())
        except OutboxBrokenError:
            self.disk.fail_at = frozenset()
            self.outbox.reopen()
        self.disk.fail_at = frozenset()
        if self.outbox.puts > before[0]:
            self.values[before[1]] = self.value
        else:
            assert self.outbox.next_seq == before[1]
        self.value += 1

    @invariant()
    def every_number_is_there_delivered_or_declared(self) -> None:
        if not hasattr(self, "outbox"):
            return
        sendable, waiting = set(self.outbox.sendable()), set(self.outbox.waiting())
        declared = set(self.declared)
        for packed in self.outbox.load(sorted(sendable)):
            pack = pack_of(self.outbox, packed.seq)
            assert pack.records[0].value == self.values[packed.seq]
            assert pack.epoch == self.epoch
            assert START_US <= pack.records[0].time_us <= self.clock.wall_us()
            for low, high in pack.dropped:
                assert high < packed.seq
                declared |= set(range(low, high + 1))
        undeclared = {seq for low, high in self.outbox._book._undeclared.ranges for seq in range(low, high + 1)}
        assert sendable | waiting | self.settled | declared | undeclared == set(self.values)
        assert not (sendable | waiting) & (declared | undeclared)
        told = self.outbox.statistics()
        assert told.dropped_packs == len(declared | undeclared)
        assert told.file_bytes <= 2 * SETTINGS.bytes_max
        assert (0, 0, self.epoch) == (told.files_replaced, told.damaged_packs, told.epoch)

    @precondition(lambda self: hasattr(self, "outbox") and self.outbox._book._undeclared)
    @rule()
    def what_is_not_declared_yet_is_declared_by_the_next_pack(self) -> None:
        self.put(count=1, readings=1, stamped=True)
        assert not self.outbox._book._undeclared


TestOutboxModel = pytest.mark.slow(OutboxMachine.TestCase)
TestOutboxModel.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
