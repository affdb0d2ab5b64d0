"""The flags of a reading depend on the readings before it, not on how they were cut into batches nor on restarts."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from validation_town import MINUTE_US, NOON_US, Said, Station

from lichtmast.wire import Quality

DEVICES = 6
pytestmark = pytest.mark.slow


@st.composite
def histories(draw: st.DrawFn) -> list[Said]:
    """What six neighbours say: mostly alike and in order, with jumps, repetitions, gaps, late ones and odd clocks."""
    count = draw(st.integers(40, 160))
    chance = random.Random(draw(st.integers(0, 10**9)))  # noqa: S311 - no secret
    now_us, said = NOON_US, []
    clock_us, seqs, values = [0] * DEVICES, [0] * DEVICES, [20.0] * DEVICES
    for _ in range(count):
        device = chance.randrange(DEVICES if chance.random() < 0.7 else 2)
        now_us += chance.choice((1_000, 3_000_000, 9_000_000, MINUTE_US // 3))
        if chance.random() < 0.02:
            now_us += 20 * MINUTE_US
        if chance.random() < 0.02:
            clock_us[device] = chance.choice((0, 0, -40 * MINUTE_US, 2 * MINUTE_US, 10 * MINUTE_US))
        if chance.random() < 0.3:
            values[device] += chance.choice((-0.1, 0.1, 0.05, 4.0, -4.0, 9.0, -9.0, 40.0, -40.0))
        seqs[device] += 1
        time_us, seq = now_us + clock_us[device], seqs[device]
        if chance.random() < 0.08:  # a late one
            time_us, seq = time_us - chance.randrange(1, 30) * MINUTE_US, max(1, seq - 5)
        future = Quality.TIME_IN_FUTURE if time_us > now_us + 5 * MINUTE_US else Quality.GOOD
        said.append(Said(device, time_us, values[device], seq, now_us, int(future)))
    return said


@settings(max_examples=25, deadline=None)
@given(said=histories(), data=st.data())
def test_batches_and_restarts_change_no_flag(said: list[Said], data: st.DataObject) -> None:
    whole = Station().hear(said)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(said) - 1), max_size=12)))
    restarts = data.draw(st.sets(st.sampled_from(cuts), max_size=3)) if cuts else set()
    station, parts = Station(), []
    for start, end in zip([0, *cuts], [*cuts, len(said)], strict=True):
        if start in restarts:
            station.start_again()
        parts += station.hear(said[start:end])
    assert parts == whole


def test_the_histories_reach_every_check() -> None:
    """Or the property above would prove nothing about one of them."""
    seen = Quality.GOOD

    @settings(max_examples=15, deadline=None, derandomize=True)
    @given(said=histories())
    def listen(said: list[Said]) -> None:
        nonlocal seen
        for flags in Station().hear(said):
            seen |= flags

    listen()
    assert seen == ~(
        Quality.TIME_FROM_SERVER
        | Quality.UNIT_CONVERTED
        | Quality.UNIT_NOT_RECOMMENDED
        | Quality.TIME_UNCERTAIN
        | Quality.REPLAYED
    )
