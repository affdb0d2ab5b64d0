"""The state fits into one document, whatever the rooms of the agent say."""

import asyncio
import string
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lichtmast.edge import limits, reporting
from lichtmast.edge.checks import checks_of_running
from lichtmast.edge.drivers.limits import NAME_LENGTH_MAX
from lichtmast.edge.outbox import OutboxStatistics
from lichtmast.edge.sampling import SamplerStatistics
from lichtmast.edge.sampling.limits import DRIVERS_MAX
from lichtmast.edge.timekeeping import Source, TimeStatistics
from lichtmast.edge.uplink import DeliveryStatistics
from lichtmast.wire.limits import SUFFIX_LENGTH_MAX
from lichtmast.wire.twin import Level, State, decode_state
from lichtmast.wire.twin.limits import TWIN_BYTES_MAX

ROOMS: Final = (OutboxStatistics, TimeStatistics, SamplerStatistics, DeliveryStatistics)
TEXTS: Final = st.builds(
    str.__mul__, st.text(max_size=3) | st.sampled_from(["\U0001f4a1", "é", '"', "\\", "\ud800"]), st.integers(0, 500)
)
FIGURES: Final = {int: st.integers(), float: st.floats(), str: TEXTS, bool: st.booleans()}
NAMES: Final = st.text(string.ascii_letters + "-", min_size=1, max_size=NAME_LENGTH_MAX)
SUFFIXES: Final = st.integers(0, 10**6).map(lambda number: f"/{number}".ljust(SUFFIX_LENGTH_MAX, "x"))


def anything(kind: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401 - of any room
    """Any value of the type; of a room's statistics, any figures."""
    if not is_dataclass(kind):
        return FIGURES[kind] if kind in FIGURES else st.from_type(kind)
    hints = get_type_hints(kind)
    return st.builds(cast("Any", kind), **{one.name: anything(hints[one.name]) for one in fields(kind)})


def state_of(rooms: tuple[object, ...], reasons: dict[str, str], levels: dict[str, Level]) -> State:
    """As the agent puts it together."""
    groups = {type(one).__name__.lower(): reporting.figures(one) for one in rooms}
    reports = groups | {"drivers": reporting.drivers(reasons)}
    return State("lichtmast-edge", "b" * 36, 1e9 / 7, 2**53 - 1, 60.0, 1e9 / 7, reporting.levels(levels), reports)


@pytest.mark.slow
@given(
    st.tuples(*map(anything, ROOMS)),
    st.dictionaries(NAMES, TEXTS, max_size=DRIVERS_MAX),
    st.dictionaries(SUFFIXES, st.builds(Level, st.floats(0, 1), TEXTS), max_size=40),
)
def test_any_statistics_give_a_state_that_encodes(
    rooms: tuple[object, ...], reasons: dict[str, str], levels: dict[str, Level]
) -> None:
    told = decode_state(state_of(rooms, reasons, levels).encode())
    assert set(told.reports["drivers"]) == {name.lower() for name in reasons}
    assert len(told.levels) == min(limits.LEVELS_MAX, len(levels))


@pytest.mark.parametrize("said", ["\U0001f4a1" * 500, "é" * 500, '"' * 500, "x" * 500, "\n" * 500])
def test_the_worst_of_all_rooms_at_once_fits(said: str) -> None:
    """Every text as long as it can be, every number as long as it can be written, everything there is in trouble."""
    most = {int: -(2**63), float: -123_456_789_012.123456, str: said, bool: False}

    def worst(kind: Any) -> Any:  # noqa: ANN401 - of any room
        hints = get_type_hints(kind)
        values = [most.get(hints[one.name], -123_456_789_012.123456) for one in fields(kind)]
        inside = [worst(hints[one.name]) if is_dataclass(hints[one.name]) else None for one in fields(kind)]
        return kind(*(group or value for group, value in zip(inside, values, strict=True)))

    reasons = {f"{number}".ljust(NAME_LENGTH_MAX, "x"): said for number in range(DRIVERS_MAX)}
    levels = {f"/{number}".ljust(SUFFIX_LENGTH_MAX, "x"): Level(1 / 7, said) for number in range(64)}
    raw = state_of(tuple(map(worst, ROOMS)), reasons, levels).encode()
    assert 8_000 < len(raw) <= TWIN_BYTES_MAX
    assert len(decode_state(raw).reports["drivers"]) == DRIVERS_MAX


def test_a_driver_that_is_well_is_ok_and_a_reason_is_cut_by_its_bytes_in_json() -> None:
    assert reporting.drivers({"Light": "", "meter": "é" * 231}) == {
        "light": "ok",
        "meter": "é" * (limits.REASON_BYTES_MAX // 6),
    }
    assert reporting.plain("bus\nis silent") == "bus is silent"


def test_a_figure_that_is_no_number_is_left_out() -> None:
    time = TimeStatistics(trusted=False, source=None, error_s=float("nan"), jumps=2**60, refused=0, doubt="")
    assert reporting.figures(time) == {"trusted": False, "jumps": 2**53 - 1, "refused": 0, "doubt": ""}


def test_the_check_of_the_clock_says_what_is_not_believed_yet(tmp_path: Path) -> None:
    prepared: Any = SimpleNamespace(settings=SimpleNamespace(device=SimpleNamespace(state=tmp_path)))

    def told(time: TimeStatistics) -> str:
        groups = {"time": reporting.figures(time) | {"source": "sntp"}}
        groups |= {"outbox": {"healthy": True}, "uplink": {"connected": True}}
        state = State("a", "b", 1.0, 0, 60.0, None, {}, groups)
        return asyncio.run(checks_of_running(prepared, state, {}))["clock"]

    untrusted = TimeStatistics(trusted=False, source=None, error_s=None, jumps=0, refused=0, doubt="")
    assert told(untrusted) == "sntp does not vouch for it; readings wait for their time"
    doubted = TimeStatistics(
        trusted=False, source=None, error_s=None, jumps=0, refused=0, doubt="sntp is +5.0 days off"
    )
    assert told(doubted) == "sntp is +5.0 days off; readings wait for their time"
    assert told(TimeStatistics(trusted=True, source=Source.SNTP, error_s=0.1, jumps=0, refused=0, doubt="")) == "ok"
