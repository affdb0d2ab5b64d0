"""Commands: at most once, never late, never without a clock, and always answered."""

import json
from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lichtmast.edge.twin import limits
from lichtmast.edge.twin.commands import CLOCK_UNTRUSTED, Commands, Do
from lichtmast.edge.twin.limits import COMMANDS_REMEMBERED_MAX, DIM_MAX_S, EXPIRY_MAX_S
from lichtmast.wire.twin import Answer, Command, Dim, Identify, Order, Outcome, Reboot

NOW: Final = 1_790_000_000.0
LAMP, OTHER = "/lamp/0/command", "/lamp/1/command"
DIM: Final = Dim(0.5, NOW + 600)


def judged(order: Order, *, actuators: Sequence[str] = (LAMP,), expires_s: float = NOW + 30) -> Do | Answer | None:
    return Commands(actuators).judge(Command("a", order, expires_s), NOW)


@pytest.mark.parametrize(
    ("order", "done"),
    [
        (DIM, Do("a", DIM, LAMP, 600)),
        (Identify(20), Do("a", Identify(20), LAMP, 20)),
        (Reboot(), Do("a", Reboot(), "", 0)),
    ],
)
def test_a_command_in_time_is_carried_out_on_the_one_lamp(order: Order, done: Do) -> None:
    assert judged(order) == done


def test_an_id_is_done_once_and_answered_as_often_as_it_comes() -> None:
    commands = Commands((LAMP,))
    command = Command("a", DIM, NOW + 30)
    assert isinstance(commands.judge(command, NOW), Do)
    assert commands.judge(command, NOW) is None, "it is being carried out"
    assert commands.finished("a", "", NOW) == Answer("a", Outcome.DONE, "", NOW)
    assert commands.judge(command, NOW + 1) == Answer("a", Outcome.DONE, "", NOW + 1)
    assert commands.judge(command, None) == Answer("a", Outcome.DONE), "also while the clock is not trusted"


def test_what_failed_is_refused_with_its_reason_and_not_tried_by_a_second_copy() -> None:
    commands = Commands((LAMP,))
    commands.judge(Command("a", DIM, NOW + 30), NOW)
    answer = commands.finished("a", "driver lamp hangs", NOW)
    assert answer == Answer("a", Outcome.REFUSED, "driver lamp hangs", NOW)
    assert commands.judge(Command("a", DIM, NOW + 30), NOW) == answer


@pytest.mark.parametrize(("late_s", "outcome"), [(-0.1, None), (0, Outcome.EXPIRED), (3_600, Outcome.EXPIRED)])
def test_a_command_is_not_carried_out_after_it_expired(late_s: float, outcome: Outcome | None) -> None:
    verdict = judged(Identify(), expires_s=NOW - late_s)
    assert (verdict.outcome if isinstance(verdict, Answer) else None) == outcome


def test_an_id_is_forgotten_with_its_expiry_and_a_late_copy_is_too_late() -> None:
    commands = Commands((LAMP,))
    command = Command("a", Reboot(), NOW + 30)
    commands.judge(command, NOW)
    commands.finished("a", "", NOW)
    commands.judge(Command("b", Reboot(), NOW + 90), NOW + 31)
    assert len(commands) == 1
    verdict = commands.judge(command, NOW + 32)
    assert verdict == Answer("a", Outcome.EXPIRED, "2 s too late", NOW + 32)


def test_without_a_trusted_clock_nothing_is_carried_out() -> None:
    commands = Commands((LAMP,))
    assert commands.judge(Command("a", Identify(), NOW), None) == Answer("a", Outcome.REFUSED, CLOCK_UNTRUSTED)
    assert isinstance(commands.judge(Command("a", Identify(), NOW + 30), NOW), Do), "and the id is not used up"


@pytest.mark.parametrize(
    ("order", "actuators", "expires_s", "reason"),
    [
        (DIM, (), NOW + 30, "this device has no lamp"),
        (DIM, (LAMP, OTHER), NOW + 30, f"target: missing, and this device has {LAMP}, {OTHER}"),
        (Identify(5, OTHER), (LAMP,), NOW + 30, f"target: {OTHER} is no actuator of this device; it has {LAMP}"),
        (Dim(0.5, NOW), (LAMP,), NOW + 30, "until: is past"),
        (Dim(0.5, NOW + DIM_MAX_S + 1), (LAMP,), NOW + 30, "until: more than 604800 s ahead; configure a rule instead"),
        (Reboot(), (LAMP,), NOW + EXPIRY_MAX_S + 1, "expires: more than 86400 s ahead; a command is for now"),
    ],
)
def test_what_cannot_be_done_is_refused(order: Order, actuators: Sequence[str], expires_s: float, reason: str) -> None:
    assert judged(order, actuators=actuators, expires_s=expires_s) == Answer("a", Outcome.REFUSED, reason, NOW)


def test_one_of_two_lamps_is_named() -> None:
    assert judged(Identify(5, OTHER), actuators=(LAMP, OTHER)) == Do("a", Identify(5, OTHER), OTHER, 5)


def test_the_longest_expiry_and_dimming_are_allowed() -> None:
    assert isinstance(judged(Dim(1, NOW + DIM_MAX_S), expires_s=NOW + EXPIRY_MAX_S), Do)


def test_the_memory_is_bounded_and_an_expiry_makes_room() -> None:
    commands = Commands((LAMP,))
    for index in range(COMMANDS_REMEMBERED_MAX):
        assert isinstance(commands.judge(Command(f"c{index}", Identify(), NOW + 30), NOW), Do)
    verdict = commands.judge(Command("one-more", Identify(), NOW + 30), NOW)
    assert verdict == Answer(
        "one-more", Outcome.REFUSED, "too many commands that have not expired yet, at most 256", NOW
    )
    assert isinstance(commands.judge(Command("one-more", Identify(), NOW + 60), NOW + 30), Do)


def test_the_memory_survives_a_restart_and_tells_what_was_unfinished() -> None:
    commands = Commands((LAMP,))
    commands.judge(Command("a", DIM, NOW + 30), NOW)
    commands.finished("a", "driver lamp hangs", NOW)
    commands.judge(Command("b", Reboot(), NOW + 30), NOW)
    again, unfinished = Commands.restored((LAMP,), commands.dump())
    assert unfinished == ["b"]
    assert again.judge(Command("a", DIM, NOW + 30), NOW) == Answer("a", Outcome.REFUSED, "driver lamp hangs", NOW)
    assert again.judge(Command("b", Reboot(), NOW + 30), NOW) is None


def test_the_fullest_memory_fits_its_file() -> None:
    commands = Commands((LAMP,))
    for index in range(COMMANDS_REMEMBERED_MAX):
        command_id = f"{index:064}"
        commands.judge(Command(command_id, Identify(), NOW + 30), NOW)
        commands.finished(command_id, "\N{SNOWMAN}" * 500, NOW)
    assert len(commands.dump()) < limits.FILE_BYTES_MAX - 100


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"1", b'{"a": 1}', b'{"a": [1, "maybe", ""]}', b'{"a": [null, null, ""]}', b"\xff"]
)
def test_a_memory_of_another_form_is_an_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Commands.restored((LAMP,), raw)


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcd"),
            st.sampled_from([DIM, Identify(), Reboot()]),
            st.integers(-60, 90_000),
            st.integers(0, 100),
            st.sampled_from([None, "", "failed"]),
        ),
        max_size=40,
    )
)
@settings(deadline=None, max_examples=40)
def test_no_id_is_carried_out_twice_before_it_expires(story: list[tuple[str, Order, int, int, str | None]]) -> None:
    commands, now_s = Commands((LAMP,)), NOW
    done: dict[str, float] = {}
    for command_id, order, expires_s, pause_s, ending in story:
        now_s += pause_s
        verdict = commands.judge(Command(command_id, order, now_s + expires_s), now_s)
        if isinstance(verdict, Do):
            assert expires_s > 0
            assert done.get(command_id, now_s) <= now_s
            done[command_id] = now_s + expires_s
            if ending is not None:
                commands.finished(command_id, ending, now_s)
        commands, _ = Commands.restored((LAMP,), json.dumps(json.loads(commands.dump())).encode())
