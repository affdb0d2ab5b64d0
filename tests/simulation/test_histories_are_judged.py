"""The judge of histories turns red: for six corruptions of what the server has, and for products that are broken."""

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
from simulated_history import Lived, live

from lichtmast.edge.outbox import OutboxThread
from lichtmast.edge.uplink.courier import Courier
from lichtmast.firmware_sim.checker import Fate, Row
from lichtmast.ingest.pipeline.sequence import Progress, Sequences
from lichtmast.store.memory import MemoryStore


@pytest.fixture(scope="module")
def lived() -> Lived:
    """A history in which packs were acknowledged, refused and dropped."""
    for seed in range(100):
        one = live(seed, script=[(10.0, "measure wrongly"), (35.0, "partition"), (36.0, "silence")])
        if one.evidence.dropped and one.evidence.quarantine and not one.faults:
            return one
    pytest.fail("no history drops and refuses anything")


def rows_of(one: Lived) -> list[Row]:
    return list(one.evidence.paths["memory"])


def delete_an_acknowledged_row(one: Lived) -> Lived:
    return replace(one, evidence=replace(one.evidence, paths={"memory": rows_of(one)[1:]}))


def delete_an_acknowledged_pack(one: Lived) -> Lived:
    arrivals = list(one.evidence.arrivals or ())
    lost = next(arrival.key for arrival in arrivals if arrival.fate is Fate.STORED)
    return replace(
        one, evidence=replace(one.evidence, arrivals=[arrival for arrival in arrivals if arrival.key != lost])
    )


def duplicate_a_row(one: Lived) -> Lived:
    rows = rows_of(one)
    return replace(one, evidence=replace(one.evidence, paths={"memory": [*rows, rows[0]]}))


def change_a_value(one: Lived) -> Lived:
    first, *rows = rows_of(one)
    return replace(one, evidence=replace(one.evidence, paths={"memory": [first._replace(value=0.5), *rows]}))


def add_a_phantom(one: Lived) -> Lived:
    first, *_ = rows = rows_of(one)
    phantom = first._replace(time_us=first.time_us + 500_000, value=0.25)
    return replace(one, evidence=replace(one.evidence, paths={"memory": [*rows, phantom]}))


def shift_a_time(one: Lived) -> Lived:
    first, *rows = rows_of(one)
    shifted = first._replace(time_us=first.time_us + 1)
    return replace(one, evidence=replace(one.evidence, paths={"memory": [shifted, *rows]}))


def forget_a_declared_drop(one: Lived) -> Lived:
    first, *dropped = sorted(one.evidence.dropped or ())
    assert first not in dropped
    return replace(one, evidence=replace(one.evidence, dropped=dropped))


def lose_what_is_in_quarantine(one: Lived) -> Lived:
    return replace(one, evidence=replace(one.evidence, quarantine=[]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("corrupt", "word"),
    [
        (delete_an_acknowledged_row, "row_lost"),
        (delete_an_acknowledged_pack, "acknowledged_and_lost"),
        (duplicate_a_row, "row_twice"),
        (change_a_value, "altered"),
        (add_a_phantom, "phantom_row"),
        (shift_a_time, "shifted"),
        (forget_a_declared_drop, "drop_uncounted"),
        (lose_what_is_in_quarantine, "quarantine_lost"),
    ],
)
def test_a_planted_corruption_turns_a_sound_history_red(
    lived: Lived, corrupt: Callable[[Lived], Lived], word: str
) -> None:
    assert lived.faults == []
    assert word in " ".join(corrupt(lived).faults)


def believe_every_acknowledgement(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Courier, "_unbelievable", lambda *_: None)


def forget_what_came_at_each_restart_of_the_server(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Sequences, "restored", classmethod(lambda cls, _: cls()))


def take_every_number_for_new(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Progress, "is_new", lambda *_: True)


def acknowledge_holes(patch: pytest.MonkeyPatch) -> None:
    def add(self: Progress, seq: int) -> None:
        self.upto = max(self.upto, seq)

    patch.setattr(Progress, "add", add)


def forget_declared_drops(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemoryStore, "_declared", lambda _: {})


def keep_nothing_while_the_card_is_loose(patch: pytest.MonkeyPatch) -> None:
    put_all = OutboxThread._put_all

    def put(self: OutboxThread, outbox: object, stamp: object) -> None:
        try:
            put_all(self, outbox, stamp)  # type: ignore[arg-type]  # as it came
        except Exception:
            self._chunk = []
            raise

    patch.setattr(OutboxThread, "_put_all", put)


def give_up_what_a_broken_connection_had(patch: pytest.MonkeyPatch) -> None:
    def disconnected(self: Courier) -> None:
        self._window = 0
        self._flights.clear()

    patch.setattr(Courier, "disconnected", disconnected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("break_it", "faults"),
    [
        (believe_every_acknowledgement, ["lose what the broker took"] * 4),
        (forget_what_came_at_each_restart_of_the_server, ["lose acks", "kill ingest", "kill ingest"]),
        (take_every_number_for_new, ["publish twice"] * 3),
        (acknowledge_holes, ["lose what the broker took", "break connection"] * 2),
        (forget_declared_drops, ["partition", "silence", "partition"]),
        (keep_nothing_while_the_card_is_loose, ["loosen card"] * 3),
        (give_up_what_a_broken_connection_had, ["one way up", "break connection", "no mqtt", "break connection"]),
    ],
)
def test_a_product_that_is_broken_turns_histories_red(
    break_it: Callable[[pytest.MonkeyPatch], None], faults: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logging.disable(logging.CRITICAL)
    break_it(monkeypatch)
    script = [(15.0 + 18.0 * at, name) for at, name in enumerate(faults)]
    try:
        assert any(live(seed, script=script).faults for seed in range(60))
    finally:
        logging.disable(logging.NOTSET)
