"""What comes back from the quarantine is stored once, as if it had just passed; and the books balance throughout."""

from collections.abc import Callable
from typing import Any

import ingest_town as town
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quarantine_town import NOW_US, Scene, outcomes

from lichtmast.ingest.pipeline.arrivals import collect, first_payload
from lichtmast.store.port import Outcome
from lichtmast.wire import Quality
from lichtmast.wire.replay import Action
from lichtmast.wire.topics import REPLAY_SUBJECT

LATER_US = NOW_US + 3_600_000_000
pack = town.pack


@pytest.fixture
def scene() -> Scene:
    """lm-0 to lm-7 are known; lm-8 has sent two packs, with numbers 1 and 2, and is not."""
    one = Scene()
    one.feed(("lm-8", pack("lm-8", 1)), ("lm-8", pack("lm-8", 2, value=2e-8)))
    assert one.books() == (0, 2, 0, 0)
    return one


def test_a_pack_of_a_device_that_is_known_now_is_stored_under_its_own_number_and_time(scene: Scene) -> None:
    scene.know(9)
    settled = scene.feed(scene.order(*scene.entries()), at_us=LATER_US)
    assert outcomes(settled) == [Outcome.REPLAYED, Outcome.REPLAYED]
    rows = settled.batch.observations.to_pylist()
    assert [(row["result"], row["phenomenon_time"], row["result_time"]) for row in rows] == [
        (value, NOW_US, NOW_US) for value in (1e-8, 1e-8, 2e-8, 2e-8)
    ]
    assert {row["quality"] for row in rows} == {int(Quality.REPLAYED)}
    assert scene.store.progress().to_pylist()[-1] == {"device": "gm0402/lm-8", "epoch": 7, "upto": 2, "ranges": []}
    assert settled.origin.replayed.all()
    assert settled.origin.log_seq.tolist() == [3] * 4
    assert settled.origin.seq.tolist() == [1, 1, 2, 2]
    assert scene.books() == (2, 0, 0, 0)
    assert scene.store.released(1, 0)["released_at"].to_pylist() == [LATER_US]


def test_no_device_is_told_anything_by_a_replay_and_the_next_acknowledgement_counts_it(scene: Scene) -> None:
    scene.know(9)
    entries = scene.entries()
    assert scene.feed(scene.order(entries[0])).standings == {}
    mixed = scene.feed(("lm-8", pack("lm-8", 1, epoch=9)), scene.order(entries[1]))
    assert mixed.standings == {"gm0402/lm-8": (9, 1, (), ())}
    assert scene.feed(("lm-8", pack("lm-8", 2, value=2e-8))).standings == {"gm0402/lm-8": (7, 2, (), ())}
    assert scene.books() == (3, 0, 1, 0)


def test_what_is_refused_again_stays_as_it_is_and_its_number_free(scene: Scene) -> None:
    before = scene.entries()
    settled = scene.feed(scene.order(*before))
    assert outcomes(settled) == [Outcome.KEPT, Outcome.KEPT]
    assert (settled.quarantined, settled.refusals, settled.batch.quarantine.num_rows) == (0, {}, 0)
    assert scene.entries() == before
    assert scene.store.progress().num_rows == 0
    assert scene.books() == (0, 2, 0, 0)


def test_a_numbered_pack_that_was_refused_and_told_so_is_stored_without_a_word() -> None:
    scene = Scene()
    raw = pack("asleep-1", 1)
    [told] = scene.feed(("asleep-1", raw)).standings.values()
    assert told[3][0].reason == "inactive_device"
    [entry] = scene.entries()
    assert outcomes(scene.feed(scene.order(entry))) == [Outcome.KEPT]
    scene.transform.roster.active[:] = True
    settled = scene.feed(scene.order(entry))
    assert (outcomes(settled), settled.standings) == ([Outcome.REPLAYED], {})
    assert outcomes(scene.feed(("asleep-1", raw))) == [Outcome.DUPLICATE]
    assert scene.books() == (1, 0, 1, 0)


def test_the_same_pack_sent_again_meanwhile_makes_the_entry_a_duplicate(scene: Scene) -> None:
    scene.know(9)
    entries = scene.entries()
    scene.feed(("lm-8", pack("lm-8", 1)))
    assert outcomes(scene.feed(scene.order(*entries))) == [Outcome.DUPLICATE, Outcome.REPLAYED]
    assert scene.books() == (2, 0, 1, 0)


def test_a_device_that_repeats_a_pack_in_the_batch_that_replays_it_is_heard_first(scene: Scene) -> None:
    scene.know(9)
    settled = scene.feed(scene.order(*scene.entries()), ("lm-8", pack("lm-8", 1)))
    assert outcomes(settled) == [Outcome.DUPLICATE, Outcome.REPLAYED, Outcome.STORED]
    assert settled.standings == {"gm0402/lm-8": (7, 2, (), ())}
    assert scene.books() == (2, 0, 1, 0)


def test_an_order_about_a_closed_entry_takes_no_number_from_a_device_in_doubt(scene: Scene) -> None:
    first, _ = scene.entries()
    scene.feed(scene.order(first, action=Action.DISCARD))
    scene.know(9)
    scene.feed(("lm-8", pack("lm-8", 9).replace(b'"lm-seq":9', b'"lm-seq":9,"lm-dropped":"1-8"')))
    assert outcomes(scene.feed(scene.order(first), ("lm-8", pack("lm-8", 1)))) == [Outcome.KEPT, Outcome.STORED]
    assert scene.books() == (2, 1, 0, 1)


def test_a_pack_of_a_known_device_that_is_refused_again_does_not_count_as_arrived() -> None:
    scene = Scene()
    scene.feed(("lm-8", pack("lm-8", 5).replace(b"/air/0/pm25", b"/air/0/pm26")))
    scene.know(9)
    assert outcomes(scene.feed(scene.order(*scene.entries()))) == [Outcome.KEPT]
    assert scene.store.progress().num_rows == 0


def test_a_number_that_was_stored_with_other_content_meanwhile_keeps_the_entry(scene: Scene) -> None:
    scene.know(9)
    entries = scene.entries()
    scene.feed(("lm-8", pack("lm-8", 1, value=5e-8)))
    assert outcomes(scene.feed(scene.order(*entries))) == [Outcome.KEPT, Outcome.REPLAYED]
    assert scene.books() == (2, 1, 0, 0)
    assert scene.store.progress()["upto"].to_pylist() == [2]


@pytest.mark.parametrize("crash", [False, True])
def test_an_entry_is_closed_once_however_often_it_is_ordered(scene: Scene, *, crash: bool) -> None:
    scene.know(9)
    entries = scene.entries()
    twice = scene.order(entries[0], entries[0]), scene.order(entries[0])
    if crash:  # published to the log, judged, and gone before the commit
        scene.feed(*twice, commit=False)
        scene.restart()
    assert outcomes(scene.feed(*twice)) == [Outcome.REPLAYED, Outcome.KEPT, Outcome.KEPT]
    assert outcomes(scene.feed(scene.order(*entries))) == [Outcome.KEPT, Outcome.REPLAYED]
    assert outcomes(scene.feed(scene.order(*entries, action=Action.DISCARD))) == [Outcome.KEPT, Outcome.KEPT]
    assert scene.books() == (2, 0, 0, 0)


def test_packs_without_a_number_come_back_by_their_times() -> None:
    scene = Scene()
    scene.feed(*[("lm-8", pack("lm-8", None, time_s=NOW_US / 1e6 + at)) for at in (0, 1, 1, 2)])
    scene.know(9)
    scene.feed(("lm-8", pack("lm-8", None)), ("lm-8", pack("lm-8", None, time_s=NOW_US / 1e6 + 2, value=9e-8)))
    settled = scene.feed(scene.order(*scene.entries()))
    assert outcomes(settled) == [Outcome.DUPLICATE, Outcome.REPLAYED, Outcome.DUPLICATE, Outcome.KEPT]
    assert set(settled.batch.observations["quality"].to_pylist()) == {int(Quality.REPLAYED)}
    assert scene.books() == (3, 1, 2, 0)


def test_a_discard_erases_the_bytes_and_leaves_the_line(scene: Scene) -> None:
    first, second = scene.entries()
    settled = scene.feed(scene.order(first, action=Action.DISCARD))
    assert outcomes(settled) == [Outcome.DISCARDED]
    assert scene.entries() == [second]
    assert scene.store.released(1, 0)["outcome"].to_pylist() == [Outcome.DISCARDED]
    scene.know(9)
    assert outcomes(scene.feed(scene.order(first))) == [Outcome.KEPT]
    assert scene.books() == (0, 1, 0, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry | {"payload": pack("lm-8", 1, value=7e-8)},
        lambda entry: entry | {"received_at": entry["received_at"] + 1},
        lambda entry: entry | {"device": "gm0402/lm-1"},
        lambda entry: entry | {"part": 1},
    ],
    ids=["bytes", "time", "device", "part"],
)
def test_an_order_about_what_is_not_there_changes_nothing(
    scene: Scene, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """As after a trimming, in a log made anew, or by a forger."""
    scene.know(9)
    assert outcomes(scene.feed(scene.order(change(scene.entries()[0])))) == [Outcome.KEPT]
    assert scene.books() == (0, 2, 0, 0)


@pytest.mark.parametrize("raw", [b"", b"LMR1", b"LMR1\x00", b"LMR9nonsense", b"[]"])
def test_an_order_that_is_none_goes_to_quarantine_as_anything_else(scene: Scene, raw: bytes) -> None:
    settled = scene.feed((REPLAY_SUBJECT, raw))
    assert (outcomes(settled), settled.standings) == ([Outcome.QUARANTINED], {})
    assert scene.books() == (0, 3, 0, 0)


def test_a_device_cannot_order_by_its_own_subject(scene: Scene) -> None:
    scene.know(9)
    _, message = scene.order(*scene.entries())
    assert outcomes(scene.feed(("lm-8", message))) == [Outcome.QUARANTINED]
    assert len(scene.entries()) == 3


def test_the_log_is_known_again_by_an_order_at_the_position(scene: Scene) -> None:
    """`position.locate` compares the first pack of a message with the ledger's digest of it."""
    for action in (Action.REPLAY, Action.DISCARD):
        subject, message = scene.order(*scene.entries(), action=action)
        settled = scene.feed((subject, message))
        again = scene.transform.prepare(collect([town.LogMessage(subject, message, 99)], scene.transform.roster))
        assert first_payload(subject, message) == again.arrivals.payload[0]
        assert scene.store.digests_at(scene.position) == settled.batch.ledger["digest"].to_pylist()[:1]


def test_what_our_own_code_fails_on_closes_nothing(scene: Scene) -> None:
    scene.know(9)
    subject, message = scene.order(*scene.entries())
    arrivals = collect([town.LogMessage(subject, message, 3)], scene.transform.roster)
    prepared = scene.transform.refuse(arrivals, "the pipeline failed on it")
    settled = scene.transform.settle(prepared, {}, scene.store.existing(prepared.loose_keys()), "READINGS")
    scene.store.commit(settled.batch)
    assert scene.books() == (0, 2, 0, 0)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 3), st.integers(1, 4), st.booleans()),
        st.tuples(st.sampled_from(["replay", "discard"]), st.lists(st.integers(0, 7), min_size=1, max_size=4)),
        st.tuples(st.just("know"), st.integers(0, 4)),
        st.tuples(st.just("crash")),
    ),
    max_size=25,
)


@pytest.mark.slow
@given(STEPS)
@settings(max_examples=80, deadline=None)
def test_whatever_comes_in_whatever_order_the_books_balance_and_no_number_is_stored_twice(steps: list[Any]) -> None:
    scene = Scene(2)
    seen: list[dict[str, Any]] = []
    for kind, *values in steps:
        match kind:
            case "send":
                device, seq, odd = values
                scene.feed((f"lm-{device}", pack(f"lm-{device}", seq, value=2e-8 if odd else 1e-8)))
                seen += [one for one in scene.entries() if one not in seen]
            case "know":
                scene.know(*values)
            case "crash":
                scene.restart()
            case _ if seen:
                action = Action.REPLAY if kind == "replay" else Action.DISCARD
                scene.feed(scene.order(*[seen[at % len(seen)] for at in values[0]], action=action))
        scene.books()
