"""When to try again: pure functions of how often it failed and of a seed, so that a town never moves in step."""

from typing import Final

_MASK: Final = 2**64 - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15


def share(seed: int, index: int) -> float:
    """A number in [0, 1) for this seed and index (the splitmix64 finaliser, Steele et al. 2014)."""
    mixed = (seed + (index + 1) * _GOLDEN) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((mixed ^ (mixed >> 31)) >> 11) / 2**53


def spread_over_s(index: int, seed: int, first_s: float, longest_s: float) -> float:
    """A pause between `first_s` and `longest_s`, each as likely: what was lost by all at once comes back one by one."""
    return first_s + share(seed, index) * (longest_s - first_s)


def backoff_s(attempt: int, seed: int, first_s: float, longest_s: float) -> float:
    """The pause before try number `attempt` + 1: doubles from `first_s` to `longest_s`, less up to half by chance."""
    full_s = longest_s if attempt > 30 else min(longest_s, first_s * 2.0**attempt)  # noqa: PLR2004 - 2**30 s is 34 years
    return full_s * (1 - share(seed, attempt) / 2)
