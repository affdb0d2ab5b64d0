"""Quality flags of one observation, a bit each. Stored beside the result and shown as SensorThings `resultQuality`."""

from enum import IntFlag


class Quality(IntFlag):
    """What is known to be doubtful about a stored observation; 0 means nothing is."""

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
