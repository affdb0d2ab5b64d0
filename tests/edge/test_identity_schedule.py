"""When a device asks for a certificate, renews it, or waits: the schedule alone, with time and chance as it likes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lichtmast.edge.identity import Certificate, Refusal, limits
from lichtmast.edge.identity.schedule import Outcome, Result, Schedule, Step

DAY_US = 86_400 * 1_000_000
BEGIN_US = 1_800_000_000 * 1_000_000
OURS = Certificate("1f", BEGIN_US, BEGIN_US + 90 * DAY_US)
DONE = Outcome(Result.DONE, "done")


def test_without_a_certificate_it_enrols_at_once_and_with_one_it_rests() -> None:
    schedule = Schedule(seed=1)
    assert schedule.due(None, 0, 0.0) is Step.ENROL
    schedule.ended(Step.ENROL, DONE, 1.0)
    assert schedule.due(OURS, BEGIN_US, 1.0) is None
    assert schedule.wake_s(OURS, BEGIN_US, 1.0) == limits.REFRESH_S


@given(st.integers(0, 2**32))
def test_renewal_lies_between_two_thirds_of_the_life_and_a_twentieth_later(seed: int) -> None:
    part = (Schedule(seed=seed).renewal_us(OURS) - BEGIN_US) / (90 * DAY_US)
    assert 2 / 3 <= part <= 2 / 3 + 1 / 20 + 1e-9


def test_a_town_does_not_renew_in_one_minute() -> None:
    minutes = [Schedule(seed=seed).renewal_us(OURS) // 60_000_000 for seed in range(1000)]
    assert max(minutes.count(one) for one in set(minutes)) <= 8


def test_it_renews_when_due_and_enrols_when_the_certificate_has_ended() -> None:
    schedule = Schedule(seed=1)
    due_us = schedule.renewal_us(OURS)
    assert schedule.due(OURS, due_us - 1, 0.0) is None
    assert schedule.due(OURS, due_us, 0.0) is Step.RENEW
    assert schedule.due(OURS, OURS.not_after_us - 1, 0.0) is Step.RENEW
    assert schedule.due(OURS, OURS.not_after_us, 0.0) is Step.ENROL


def test_a_server_that_is_away_is_asked_ever_more_rarely_and_no_two_devices_in_step() -> None:
    pauses: dict[int, list[float]] = {}
    for seed in (1, 2):
        schedule, now_s, pauses[seed] = Schedule(seed=seed), 0.0, []
        for _ in range(12):
            schedule.ended(Step.ENROL, Outcome(Result.UNREACHABLE, "away"), now_s)
            assert schedule.due(None, 0, now_s) is None
            pause_s = schedule.wake_s(None, 0, now_s)
            assert schedule.due(None, 0, now_s + pause_s) is Step.ENROL
            now_s += pause_s
            pauses[seed].append(pause_s)
    assert pauses[1][0] <= limits.RETRY_S
    assert limits.RETRY_MAX_S / 2 <= pauses[1][-1] <= limits.RETRY_MAX_S
    assert all(one != other for one, other in zip(pauses[1], pauses[2], strict=True))


@pytest.mark.parametrize(("asked_s", "least_s", "most_s"), [(None, 1.0, 1.25), (5.0, 5.0, 6.25), (300.0, 300.0, 375.0)])
def test_while_nobody_claims_it_the_server_says_when_to_come_again(
    asked_s: float | None, least_s: float, most_s: float
) -> None:
    schedule = Schedule(seed=7)
    for at_s in (0.0, 1e6):
        schedule.ended(Step.ENROL, Outcome(Result.LATER, "not yet", retry_s=asked_s), at_s)
        assert least_s <= schedule.wake_s(None, 0, at_s) <= most_s


def test_a_refusal_is_tried_again_rarely_and_without_end() -> None:
    schedule, now_s, pauses = Schedule(seed=3), 0.0, []
    for _ in range(10):
        schedule.ended(Step.ENROL, Outcome(Result.REFUSED, "retired"), now_s)
        pauses.append(schedule.wake_s(None, 0, now_s))
        now_s += pauses[-1]
    assert pauses[0] >= limits.REFUSED_S / 2
    assert limits.REFUSED_MAX_S / 2 <= pauses[-1] <= limits.REFUSED_MAX_S


@pytest.mark.parametrize(
    ("refusal", "step"),
    [
        (Refusal.CERTIFICATE_EXPIRED, Step.ENROL),
        (Refusal.CERTIFICATE_REVOKED, Step.ENROL),
        (Refusal.CERTIFICATE_UNTRUSTED, Step.ENROL),
        (Refusal.NOT_ADMITTED, Step.ENROL),
        (Refusal.SERVER_UNTRUSTED, Step.REFRESH),
        (Refusal.SERVER_NAME, None),
        (Refusal.SERVER_EXPIRED, None),
        (Refusal.HANDSHAKE, None),
    ],
)
def test_a_refused_connection_leads_to_what_may_help(refusal: Refusal, step: Step | None) -> None:
    schedule = Schedule(seed=1)
    for _ in range(limits.NOT_ADMITTED_MIN if refusal is Refusal.NOT_ADMITTED else 1):
        schedule.judged(refusal, 0.0)
    assert schedule.due(OURS, BEGIN_US, limits.RETRY_S) is step
    schedule.judged(None, 1.0)
    assert schedule.due(OURS, BEGIN_US, limits.RETRY_S) is None


def test_a_device_that_is_refused_with_each_new_certificate_asks_ever_more_rarely() -> None:
    schedule, now_s, asked_s = Schedule(seed=1), 0.0, []
    while now_s < 86_400:
        schedule.judged(Refusal.NOT_ADMITTED, now_s)
        if schedule.due(OURS, BEGIN_US, now_s) is Step.ENROL:
            asked_s.append(now_s)
            schedule.ended(Step.ENROL, DONE, now_s)
        now_s += 10
    gaps = [after - before for before, after in itertools.pairwise(asked_s)]
    assert len(asked_s) < 50
    assert gaps[-1] >= limits.REFUSED_MAX_S / 2


def test_a_clock_that_is_two_months_ahead_renews_a_few_times_a_day_and_not_without_pause() -> None:
    schedule, now_s, renewed_s = Schedule(seed=1), 1000.0, []
    ahead_us = schedule.renewal_us(OURS) + DAY_US
    schedule.ended(Step.ENROL, DONE, now_s)
    while now_s < 1000 + 86_400:
        if (step := schedule.due(OURS, ahead_us, now_s)) is not None:
            assert step is Step.RENEW
            renewed_s.append(now_s)
            schedule.ended(step, DONE, now_s)
        wake_s = schedule.wake_s(OURS, ahead_us, now_s)
        assert wake_s > 0
        now_s += wake_s + 0.001
    assert 12 <= len(renewed_s) <= 24
    assert renewed_s[0] >= 1000 + 3600
    assert schedule.due(OURS, OURS.not_after_us, now_s) is Step.ENROL, "one that has ended is not waited for"


def test_who_does_not_know_a_new_certificate_yet_is_given_a_moment() -> None:
    schedule = Schedule(seed=1)
    schedule.ended(Step.ENROL, DONE, 100.0)
    schedule.judged(Refusal.NOT_ADMITTED, 100.5)
    assert schedule.due(OURS, BEGIN_US, 100.0 + limits.FRESH_S) is None
    for _ in range(limits.NOT_ADMITTED_MIN):
        schedule.judged(Refusal.NOT_ADMITTED, 100.0 + limits.FRESH_S)
    assert schedule.due(OURS, BEGIN_US, 100.0 + limits.FRESH_S + limits.RETRY_S) is Step.ENROL


def test_a_broker_that_is_too_busy_to_ask_makes_no_device_enrol_and_one_that_goes_on_refusing_does() -> None:
    schedule, now_s = Schedule(seed=1), 0.0
    for refusal in (Refusal.NOT_ADMITTED, Refusal.NOT_ADMITTED, None, Refusal.NOT_ADMITTED, Refusal.NOT_ADMITTED):
        schedule.judged(refusal, now_s)
        now_s += 10.0
        assert schedule.due(OURS, BEGIN_US, now_s) is None
    schedule.judged(Refusal.NOT_ADMITTED, now_s)
    assert schedule.due(OURS, BEGIN_US, now_s + limits.RETRY_S) is Step.ENROL


def test_a_renewal_that_the_server_says_comes_too_late_becomes_an_enrolment() -> None:
    schedule = Schedule(seed=1)
    expired = Outcome(Result.REFUSED, "expired", refusal=Refusal.CERTIFICATE_EXPIRED)
    schedule.ended(Step.RENEW, expired, 0.0)
    assert schedule.due(OURS, schedule.renewal_us(OURS), limits.REFUSED_S) is Step.ENROL


def test_authorities_are_fetched_every_week() -> None:
    schedule = Schedule(seed=1)
    assert schedule.due(OURS, BEGIN_US, 0.0) is None
    assert schedule.due(OURS, BEGIN_US, limits.REFRESH_S) is Step.REFRESH
    schedule.ended(Step.REFRESH, DONE, limits.REFRESH_S)
    assert schedule.due(OURS, BEGIN_US, limits.REFRESH_S + 1) is None


@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(st.sampled_from(Result), st.sampled_from([None, *Refusal]), st.floats(0, 4000)), max_size=40),
)
def test_whatever_happens_there_is_always_a_next_time(
    seed: int, story: list[tuple[Result, Refusal | None, float]]
) -> None:
    schedule, now_s = Schedule(seed=seed), 0.0
    for result, refusal, pause_s in story:
        schedule.judged(refusal, now_s)
        schedule.ended(Step.ENROL, Outcome(result, "", retry_s=pause_s), now_s)
        now_s += pause_s
    wake_s = schedule.wake_s(None, 0, now_s)
    assert 0 <= wake_s <= 2 * limits.LATER_MAX_S
    assert schedule.due(None, 0, now_s + wake_s) is Step.ENROL
