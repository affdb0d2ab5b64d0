"""When to try again, and when to give up. Pure: time and chance come in."""

from lichtmast.ingest.notifying.limits import GIVE_UP_S, RETRY_MAX_S, RETRY_S

_SECOND_US = 1_000_000
_DOUBLINGS_MAX = 16


def next_try_us(attempts: int, first_us: int, now_us: int, chance: float) -> int | None:
    """After so many attempts, this one included; None where it is time to give up. `chance` is from 0 to 1.

    The wait doubles and is shortened by up to a half, so that messages that failed together do not come back together.
    The last attempt is at the very end of the time.
    """
    until_us = first_us + GIVE_UP_S * _SECOND_US
    if now_us >= until_us:
        return None
    wait_s = min(RETRY_S * 2.0 ** min(attempts - 1, _DOUBLINGS_MAX), RETRY_MAX_S) * (1 - chance / 2)
    return min(now_us + int(wait_s * _SECOND_US), until_us)
