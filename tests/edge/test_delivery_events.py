"""The queue of events: in order, bounded, and an answer to a command makes room for no event."""

import pytest

from lichtmast.edge.uplink import limits
from lichtmast.edge.uplink.events import Events


@pytest.fixture(autouse=True)
def four_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EVENTS_MAX", 4)


def drained(events: Events) -> list[bytes]:
    out = []
    while (one := events.first()) is not None:
        out.append(one.payload)
        events.sent(one)
    return out


def events_of(*payloads: bytes) -> Events:
    """Those that begin with an A are answers."""
    events = Events()
    for payload in payloads:
        events.add(payload, is_answer=payload.startswith(b"A"))
    return events


def test_the_oldest_event_makes_room_and_no_answer_does() -> None:
    events = events_of(b"A1", b"e1", b"e2", b"A2", b"e3", b"A3")
    assert events.dropped == 2
    assert drained(events) == [b"A1", b"A2", b"e3", b"A3"]


def test_among_answers_alone_a_new_event_is_the_one_that_goes() -> None:
    events = events_of(b"A1", b"A2", b"A3", b"A4", b"e1")
    assert events.dropped == 1
    assert drained(events) == [b"A1", b"A2", b"A3", b"A4"]


def test_among_answers_alone_the_oldest_makes_room_for_a_new_answer() -> None:
    events = events_of(b"A1", b"A2", b"A3", b"A4", b"A5")
    assert drained(events) == [b"A2", b"A3", b"A4", b"A5"]


def test_what_made_room_while_it_was_being_sent_takes_no_other_with_it() -> None:
    events = events_of(b"same", b"same", b"same", b"same")
    sending = events.first()
    assert sending is not None
    events.add(b"new", is_answer=False)
    events.sent(sending)
    assert drained(events) == [b"same", b"same", b"same", b"new"]
