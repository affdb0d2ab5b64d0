"""Seeded chance without state: the same seed and names give the same number, in any order, on any machine.

Will not do cryptography, and never touches the `random` module's shared state.
"""

import math
from hashlib import blake2b
from typing import Final

_MASK: Final = 2**64 - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15


def seed_of(*names: object) -> int:
    """A 64-bit seed from names, such as (seed, device, quantity). Costs a hash: derive it once and keep it."""
    text = "\x1f".join(str(name) for name in names)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def share(seed: int, index: int) -> float:
    """A number in [0, 1) for this seed and index (the splitmix64 finaliser, Steele et al. 2014)."""
    mixed = (seed + (index + 1) * _GOLDEN) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((mixed ^ (mixed >> 31)) >> 11) / 2**53


def drift(seed: int, at_s: float, period_s: float) -> float:
    """A number in [-1, 1] that wanders smoothly: seeded values a period apart, joined by a cosine."""
    slot = math.floor(at_s / period_s)
    blend = (1 - math.cos(math.pi * (at_s / period_s - slot))) / 2
    before, after = share(seed, slot), share(seed, slot + 1)
    return 2 * (before + (after - before) * blend) - 1


def backoff_s(attempt: int, seed: int, first_s: float, longest_s: float) -> float:
    """The pause before try number `attempt` + 1: doubles from `first_s` up to `longest_s`, less up to half by chance.

    The chance is seeded by device, so that a thousand of them that lost the same broker do not come back in step.
    """
    full_s = longest_s if attempt > 30 else min(longest_s, first_s * 2.0**attempt)  # noqa: PLR2004 - 2**30 s is 34 years
    return full_s * (1 - share(seed, attempt) / 2)


def phases(seed: int, count: int, interval_s: float) -> list[tuple[float, int]]:
    """When in each interval a device has its turn, and its number; in order of time.

    Seeded, so that load is even and the same in every run.
    """
    first = seed_of(seed, "phase")
    return sorted((share(first, at) * interval_s, at) for at in range(count))
