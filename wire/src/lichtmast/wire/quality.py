"""Quality flags of one observation, a bit each. Stored beside the result and shown as SensorThings `resultQuality`."""

from enum import IntFlag
from typing import Final


class Quality(IntFlag):
    """What is known about a stored observation; 0 is nothing. docs/reference/quality.md has the rules.

    Some flags mean that the result or its time may be wrong (`DOUBTFUL`), the others only inform.
    """

    GOOD = 0
    OUT_OF_RANGE = 1
    """The result lies outside the range of the device's profile; kept as it was sent."""
    TIME_FROM_SERVER = 2
    """The device sent a relative time; phenomenon time was resolved against the moment of reception."""
    TIME_IN_FUTURE = 4
    """Phenomenon time lies after reception by more than the policy allows."""
    UNIT_CONVERTED = 8
    """The device sent a registered secondary unit (RFC 8798); the result is in the primary unit."""
    UNIT_NOT_RECOMMENDED = 16
    """The unit is marked as not recommended for producers in the SenML unit registry."""
    TIME_UNCERTAIN = 32
    """The device's own bound on its clock error is above the policy's; phenomenon time is its best estimate."""
    LATE = 64
    """A later reading of this datastream had come before it. It is history: no alert fires on it."""
    AFTER_GAP = 128
    """Nothing had come for more than three intervals before it."""
    RATE = 256
    """The result changed faster than what is measured can."""
    SPIKE = 512
    """The result jumped away from the readings before it."""
    STUCK = 1024
    """The result is the same as many before it, where what is measured never stands still for so long."""
    OFF_STEP = 2048
    """The result is finer than the profile's resolution, as means and converted units may be."""
    CLOCK_SUSPECT = 4096
    """The device's clock jumped back, runs ahead, or stands behind by the same large amount in every pack."""
    IMPLAUSIBLE = 8192
    """The result is far from what the neighbours measure."""
    REPLAYED = 16384
    """It came back from the quarantine, after what its pack was refused for had been mended."""


DOUBTFUL: Final = (
    Quality.OUT_OF_RANGE
    | Quality.TIME_IN_FUTURE
    | Quality.TIME_UNCERTAIN
    | Quality.RATE
    | Quality.SPIKE
    | Quality.STUCK
    | Quality.CLOCK_SUSPECT
    | Quality.IMPLAUSIBLE
)
"""The flags by which a result or its time may be wrong. OFF_STEP is none: a mean is finer than what it is of."""
