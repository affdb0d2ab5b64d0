"""One value as it leaves the sampler."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measured:
    """A result. `suffix` is of the device's profile, `unit` a SenML primary unit, `at_s` monotonic of this boot."""

    suffix: str
    value: float | bool | str
    unit: str | None
    at_s: float
