"""Impairments and schedules from tables: what is wrong is refused with its place, what is right survives."""

import pytest

from lichtmast.firmware_sim.network import Burst, Flapping, Impairment, ImpairmentError, Schedule, Step, limits

STORM = """
seed = 7
[[step]]
at_s = 0
both = { loss = 0.1, delay_s = 0.2, jitter_s = 0.1, burst = { enter = 0.01, leave = 0.3 } }
[[step]]
at_s = 30
down = { blackhole = true }
[[step]]
at_s = 60.5
up = { rate_bit_s = 32000, mtu_bytes = 1280, too_big = false }
down = { flapping = { up_s = 1, down_s = 0.5 } }
"""


def test_a_file_says_what_holds_when() -> None:
    schedule = Schedule.from_toml(STORM)
    rain = Impairment(loss=0.1, delay_s=0.2, jitter_s=0.1, burst=Burst(0.01, 0.3))
    assert schedule.seed == 7
    assert schedule.step_at(29.9) == Step(0.0, rain, rain)
    assert schedule.step_at(30.0) == Step(30.0, Impairment(), Impairment(blackhole=True))
    narrow = Impairment(rate_bit_s=32_000, mtu_bytes=1_280, too_big=False)
    assert schedule.step_at(1e6) == Step(60.5, narrow, Impairment(flapping=Flapping(1, 0.5)))


def test_a_schedule_survives_its_table() -> None:
    schedule = Schedule.from_toml(STORM)
    assert Schedule.from_table(schedule.to_table()) == schedule


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("steps = []", "the schedule has no 'steps'; it knows seed, step"),
        ("seed = 'x'", "needs [[step]] tables, and a whole number as seed"),
        ("step = 3", "needs [[step]] tables"),
        ("x = ", "no TOML"),
        ("[[step]]", "step 1 needs at_s"),
        ("[[step]]\nat_s = -1", "at_s must start at 0"),
        ("[[step]]\nat_s = 1\n[[step]]\nat_s = 1", "grow from step to step"),
        ("[[step]]\nat_s = 0\nleft = {}", "step 1 has no 'left'; it knows at_s, both, down, up"),
        ("[[step]]\nat_s = 0\nboth = {}\nup = {}", "names both, and a direction besides"),
        ("[[step]]\nat_s = 0\nup = { los = 0.1 }", "step 1 has no 'los'; it knows loss"),
        ("[[step]]\nat_s = 0\nup = 3", "step 1 must be a table"),
        ("[[step]]\nat_s = 0\nup = { loss = 1.1 }", "step 1: loss is 1.1; give a share from 0 to 1"),
        ("[[step]]\nat_s = 0\nup = { loss = nan }", "loss is nan"),
        ("[[step]]\nat_s = 0\nup = { loss = true }", "step 1.loss is True; give a number"),
        ("[[step]]\nat_s = 0\nup = { blackhole = 1 }", "step 1.blackhole is 1; give true or false"),
        ("[[step]]\nat_s = 0\nup = { jitter_s = 1 }", "jitter_s 1 is above delay_s 0"),
        ("[[step]]\nat_s = 0\nup = { delay_s = 601 }", "delay_s is 601"),
        ("[[step]]\nat_s = 0\nup = { mtu_bytes = 1279 }", "IPv6 needs 1280 or more"),
        ("[[step]]\nat_s = 0\nup = { rate_bit_s = 0 }", "to let nothing pass use blackhole"),
        ("[[step]]\nat_s = 0\nup = { corrupt_bits = 65 }", "give 1 to 64"),
        ("[[step]]\nat_s = 0\nup = { queue_bytes = 1499 }", "below 1500 no packet fits"),
        ("[[step]]\nat_s = 0\nup = { burst = { enter = 0.1 } }", "leave"),
        ("[[step]]\nat_s = 0\nup = { burst = { enter = 0.1, leave = 0 } }", "enter and leave above 0"),
        ("[[step]]\nat_s = 0\nup = { flapping = { up_s = 0, down_s = 1 } }", "above 0"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(text: str, complaint: str) -> None:
    with pytest.raises(ImpairmentError) as refused:
        Schedule.from_toml(text)
    assert complaint in str(refused.value)


def test_a_schedule_has_so_many_steps_and_no_more() -> None:
    steps = tuple(Step(float(at)) for at in range(limits.STEPS_MAX + 1))
    assert len(Schedule(steps[:-1]).steps) == limits.STEPS_MAX
    with pytest.raises(ImpairmentError, match="at most 200"):
        Schedule(steps)
