"""The desk orders through the log in rounds, tells why the rest stays, and leaves a line in the log of changes."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from ingest_town import pack
from quarantine_town import Scene

from lichtmast.ingest.quarantine import Desk, Progress, desk
from lichtmast.registry.auditing import SYSTEM, Event
from lichtmast.store.port import Selection

ALL = Selection()


class Office:
    """A desk on a scene whose pipeline stores at once what the log takes."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.events: list[Event] = []
        self.messages = 0
        self.desk = Desk(
            scene.store, self, self.events.append, self.append, Progress(lambda: 1, lambda: scene.position)
        )

    def revision(self) -> int:
        return 1

    def directory(self) -> Any:  # noqa: ANN401 - never asked, the roster is the scene's
        raise NotImplementedError

    async def append(self, subject: str, message: bytes) -> int:
        assert self.events, "it is ordered before anybody is told"
        self.messages += 1
        self.scene.feed((subject, message))
        return self.scene.position

    def replay(self, after: Any = None, *, dry_run: bool = False) -> dict[str, Any]:  # noqa: ANN401
        self.desk._roster = self.scene.transform.roster
        return asyncio.run(self.desk.replay(ALL, after, by=SYSTEM, at_us=7, dry_run=dry_run))

    def discard(self, because: str) -> dict[str, Any]:
        return asyncio.run(self.desk.discard(ALL, None, because=because, by=SYSTEM, at_us=7))


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """Four packs of lm-8, which is unknown, and one of nonsense between them; a round looks at two."""
    monkeypatch.setattr(desk, "ROUND_ENTRIES_MAX", 2)
    scene = Scene()
    scene.feed(*[("lm-8", b"nonsense" if seq == 2 else pack("lm-8", seq)) for seq in range(1, 6)])
    yield Office(scene)
    scene.books()


def test_rounds_go_on_where_the_last_one_ended_and_tell_what_still_stands(office: Office) -> None:
    office.scene.know(9)
    first = office.replay()
    assert (first["examined"], first["replayed"], first["kept"]) == (2, 1, 1)
    assert [(one["reason"], one["device"], one["entry"]) for one in first["still_refused"]] == [
        ("undecodable", "gm0402/lm-8", "2/0")
    ]
    second = office.replay(first["next"])
    third = office.replay(second["next"])
    assert (second["replayed"], third["replayed"], third["next"]) == (2, 1, None)
    assert office.scene.books() == (4, 1, 0, 0)
    assert [event.action for event in office.events] == ["quarantine.replayed"] * 3
    assert office.events[1].tenant == "gm0402"


def test_a_dry_run_says_the_same_and_changes_nothing(office: Office) -> None:
    assert office.replay(dry_run=True)["still_refused"][0]["reason"] == "undecodable"
    office.scene.know(9)
    told = office.replay(dry_run=True)
    assert (told["replayed"], told["kept"]) == (1, 1)
    assert (office.events, office.messages, office.scene.books()) == ([], 0, (0, 5, 0, 0))


def test_what_cannot_pass_is_not_ordered_at_all(office: Office) -> None:
    assert office.replay()["kept"] == 2
    assert (office.events, office.messages) == ([], 0)


def test_a_pack_that_no_message_could_hold_is_told_and_not_ordered(office: Office) -> None:
    office.scene.feed(("lm-1", b"[" + b" " * 1_000_000 + b"]"))
    office.desk._roster = office.scene.transform.roster
    told = asyncio.run(office.desk.replay(Selection(reason="too_large"), None, by=SYSTEM, at_us=7))
    assert [(one["reason"], one["packs"]) for one in told["still_refused"]] == [("too_large", 1)]
    assert office.messages == 0


@pytest.mark.parametrize("because", ["", "  ", "x" * 501])
def test_nothing_is_discarded_without_a_reason(office: Office, because: str) -> None:
    with pytest.raises(ValueError, match="say why"):
        office.discard(because)
    assert office.scene.books() == (0, 5, 0, 0)


def test_a_discard_is_told_to_the_log_of_changes_with_its_reason(office: Office) -> None:
    assert office.discard("a test device")["discarded"] == 2
    [event] = office.events
    assert event.after == {"entries": 2, "first": "1/0", "last": "2/0", "because": "a test device"}
    assert office.scene.books() == (0, 3, 0, 2)
