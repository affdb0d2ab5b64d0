"""Faultpoints: off unless armed, exact about the pass, and a table that is total both ways."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lichtmast.wire.faultpoint import (
    EXIT_CODE,
    POINTS,
    FaultInjectedError,
    FaultpointError,
    arm,
    disarm,
    faultpoint,
    parse_faults,
)

ROOT = Path(__file__).resolve().parents[2]
CALL = re.compile(r"\bfaultpoint\(\s*\"([^\"]*)\"\s*\)")
ANY_CALL = re.compile(r"\bfaultpoint\(")
POINT = "ingest.after_commit"


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    disarm()


def _refuse(_: object) -> None:
    raise AssertionError("nothing was armed to do this")


def test_a_point_that_is_not_armed_does_nothing() -> None:
    faultpoint(POINT)
    arm({"ingest.before_commit": "raise@1"}, leave=_refuse, sleep=_refuse)
    faultpoint(POINT)


def test_exit_happens_at_the_told_pass_and_only_there() -> None:
    codes: list[int] = []
    arm({POINT: "exit@3"}, leave=codes.append, sleep=_refuse)
    seen = []
    for _pass in range(5):
        faultpoint(POINT)
        seen.append(len(codes))
    assert seen == [0, 0, 1, 1, 1]
    assert codes == [EXIT_CODE]


def test_raise_names_the_point() -> None:
    arm({POINT: "raise@2"}, leave=_refuse, sleep=_refuse)
    faultpoint(POINT)
    with pytest.raises(FaultInjectedError, match=POINT):
        faultpoint(POINT)
    faultpoint(POINT)


def test_sleep_happens_at_each_pass() -> None:
    slept: list[float] = []
    arm({POINT: "sleep=0.25"}, leave=_refuse, sleep=slept.append)
    faultpoint(POINT)
    faultpoint(POINT)
    assert slept == [0.25, 0.25]


def test_arming_again_replaces_what_was_armed() -> None:
    arm({POINT: "raise@1"}, leave=_refuse, sleep=_refuse)
    arm({}, leave=_refuse, sleep=_refuse)
    faultpoint(POINT)


@pytest.mark.parametrize(
    "action", ["", "exit", "exit@", "exit@0", "exit@-1", "exit@x", "raise@1.5", "sleep", "sleep=", "sleep=-1", "stop@1"]
)
def test_an_action_that_is_none_is_refused_and_nothing_changes(action: str) -> None:
    arm({POINT: "raise@1"}, leave=_refuse, sleep=_refuse)
    with pytest.raises(FaultpointError, match=POINT):
        arm({POINT: action}, leave=_refuse, sleep=_refuse)
    with pytest.raises(FaultInjectedError):
        faultpoint(POINT)


@pytest.mark.parametrize("seconds", ["nan", "inf", "3601"])
def test_a_sleep_without_an_end_is_refused(seconds: str) -> None:
    with pytest.raises(FaultpointError, match="seconds"):
        arm({POINT: f"sleep={seconds}"}, leave=_refuse, sleep=_refuse)


def test_an_unknown_point_is_refused_with_those_there_are() -> None:
    with pytest.raises(FaultpointError, match=r"no faultpoint 'ingest\.nowhere'; there are ingest\.before_commit"):
        arm({"ingest.nowhere": "exit@1"}, leave=_refuse, sleep=_refuse)


def test_the_environments_text_is_read() -> None:
    assert parse_faults("") == {}
    assert parse_faults("ingest.after_commit=exit@3, edge.before_put=sleep=0.5,") == {
        "ingest.after_commit": "exit@3",
        "edge.before_put": "sleep=0.5",
    }
    for text in ("ingest.after_commit", "a=exit@1,a=exit@2"):
        with pytest.raises(FaultpointError, match="POINT=ACTION"):
            parse_faults(text)


def test_every_point_stands_in_the_reference_with_what_holds_there() -> None:
    text = (ROOT / "docs" / "reference" / "running.md").read_text()
    assert [name for name, what in POINTS.items() if f"| `{name}` | {what} |" not in text] == []


def test_every_point_is_called_and_every_call_is_of_a_point() -> None:
    called: list[str] = []
    for path in ROOT.glob("*/src/lichtmast/**/*.py"):
        if path.name == "faultpoint.py":
            continue
        text = path.read_text()
        named = CALL.findall(text)
        assert len(ANY_CALL.findall(text)) == len(named), f"{path}: a faultpoint is named by a literal"
        called += named
    assert sorted(set(called)) == sorted(POINTS)
