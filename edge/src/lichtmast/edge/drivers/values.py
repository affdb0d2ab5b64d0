"""What a driver handed over, checked: only a clean value of the channel's kind goes on, anything else gets a reason.

Pure. Runs in the driver's own thread, because a driver may lie in any way: the mapping it returns can hang too.
"""

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Final, cast

from lichtmast.edge.drivers import limits
from lichtmast.edge.drivers.errors import DriverError
from lichtmast.edge.drivers.port import KINDS, Channel, Driver, Identifiers, Value
from lichtmast.wire.limits import TEXT_VALUE_LENGTH_MAX
from lichtmast.wire.units import UNITS

_ABSENT: Final = object()


def checked_channels(driver: Driver) -> tuple[Channel, ...]:
    """The driver's channels as our own values. Raises DriverError where the driver's author has to mend something."""
    channels = tuple(Channel(one.name, one.kind, one.unit, bool(one.writable)) for one in driver.channels)
    if not 0 < len(channels) <= limits.CHANNELS_MAX:
        raise DriverError(f"the driver has {len(channels)} channels; 1 to {limits.CHANNELS_MAX} are right")
    for one in channels:
        if not isinstance(one.name, str) or not 0 < len(one.name) <= limits.NAME_LENGTH_MAX:
            raise DriverError(f"the channel name {reason_of(one.name)} is not a text of 1 to {limits.NAME_LENGTH_MAX}")
        if one.kind not in KINDS:
            raise DriverError(f"channel {one.name}: kind is {reason_of(one.kind)}; choose {', '.join(KINDS)}")
        if one.unit is not None and one.unit not in UNITS:
            raise DriverError(f"channel {one.name}: {reason_of(one.unit)} is not a primary SenML unit")
    if len({one.name for one in channels}) < len(channels):
        raise DriverError("the driver has two channels of one name")
    return channels


def checked_values(
    channels: Iterable[Channel], wanted: frozenset[str], handed: object, words: Callable[[object], str]
) -> tuple[dict[str, Value], dict[str, str]]:
    """The clean values by channel, and the reason of each that is refused (under "" what concerns no wanted channel).

    `words` says what of the driver's own errors may be repeated.
    """
    good: dict[str, Value] = {}
    refused: dict[str, str] = {}
    if not isinstance(handed, Mapping):
        return good, {"": f"read returned {type(handed).__name__}, not a mapping"}
    known = {one.name: one for one in channels}
    for name in wanted & known.keys():
        value = handed.get(name, _ABSENT)
        reason = words(value) if isinstance(value, DriverError) else fault_of(known[name], value)
        if reason is None:
            good[name] = cast("Value", float(value) if type(value) is int else value)
        else:
            refused[name] = reason
    strangers = len(handed) - sum(name in handed for name in known)
    if strangers > 0:
        refused[""] = f"read returned {strangers} values of channels that the driver does not have"
    return good, refused


def fault_of(channel: Channel, value: object) -> str | None:
    """Why this value cannot be used, or None where it can. The reason never repeats the value."""
    if value is _ABSENT:
        return "no value"
    match channel.kind:
        case "number" | "counter":
            return _number_fault(value)
        case "boolean":
            return None if type(value) is bool else f"{type(value).__name__} where true or false belongs"
        case "text":
            return _text_fault(value)
    return None if type(value) is Identifiers else f"{type(value).__name__} where Identifiers belong"


def _number_fault(value: object) -> str | None:
    if type(value) is not float and type(value) is not int:
        return f"{type(value).__name__} where a number belongs"
    if type(value) is float and not isfinite(value):
        return "not a finite number"
    if abs(value) > limits.NUMBER_MAX:
        return f"beyond {limits.NUMBER_MAX:g}"
    return None


def _text_fault(value: object) -> str | None:
    if type(value) is not str:
        return f"{type(value).__name__} where a text belongs"
    if len(value) > TEXT_VALUE_LENGTH_MAX:
        return f"a text of {len(value):,} characters; at most {TEXT_VALUE_LENGTH_MAX:,}"
    return None if value.isprintable() else "a text with characters that cannot be printed"


def reason_of(cause: object) -> str:
    """A driver's words made harmless: one short printable line."""
    try:
        text = str(cause)
    except Exception:  # noqa: BLE001 - whoever wrote the exception's __str__ may have been wrong there too
        text = "?"
    text = "".join(one if one.isprintable() else " " for one in text[: limits.REASON_LENGTH_MAX])
    foreign = isinstance(cause, BaseException) and not isinstance(cause, DriverError)
    return f"{type(cause).__name__}: {text}" if foreign else text
