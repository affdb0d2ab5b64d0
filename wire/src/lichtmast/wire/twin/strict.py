"""The members of a twin document, checked one by one: each check returns the value or raises TwinError with its place.

Depth is counted before anything is parsed; duplicates, NaN and numbers of any length, which the standard library's
reader takes, are refused.
"""

import json
import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Final, NoReturn, TypeAlias

from lichtmast.wire.limits import NUMBER_LENGTH_MAX
from lichtmast.wire.names import is_suffix
from lichtmast.wire.senml.showing import shown
from lichtmast.wire.twin import limits

Scalar: TypeAlias = bool | int | float | str
Fields: TypeAlias = Mapping[str, Any]

_NAME: Final = re.compile(r"[a-z0-9_-]{1,40}", re.ASCII)
# As in the reader of packs: the closing quote is optional and nothing is given back, so hostile text is scanned once.
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


class TwinError(ValueError):
    """The bytes are no such document; the text says which member, and what would be right."""


def read_object(raw: bytes) -> Fields:
    """The members of a JSON object."""
    if len(raw) > limits.TWIN_BYTES_MAX:
        raise TwinError(f"{len(raw)} bytes, at most {limits.TWIN_BYTES_MAX}")
    depth = 0
    for bracket in _STRING.sub(b"", raw).translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > limits.TWIN_DEPTH_MAX:
            raise TwinError(f"nested deeper than {limits.TWIN_DEPTH_MAX} levels")
    try:
        document = _DECODER.decode(raw.decode())
    except UnicodeDecodeError as error:
        raise TwinError(f"no UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise TwinError(f"no JSON at character {error.pos}") from error
    return mapping(document, "the document")


def written(fields: Fields, decode: Callable[[bytes], object]) -> bytes:
    """The members as JSON, read once by their own decoder, so that nothing leaves that nobody could read."""
    try:
        raw = json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise TwinError("a member is not what JSON can carry") from error
    decode(raw)
    return raw


def clean_text(text: str) -> str:
    """The text as a document may carry it: without control characters, and cut to its bound."""
    return "".join(one if one.isprintable() else " " for one in text[: limits.TEXT_LENGTH_MAX])


def mapping(value: object, where: str, most: int | None = None) -> Fields:
    """An object, of at most so many members."""
    if not isinstance(value, Mapping):
        raise TwinError(f"{where}: not an object")
    if most is not None and len(value) > most:
        raise TwinError(f"{where}: {len(value)} members, at most {most}")
    return value


def members(value: object, where: str, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> Fields:
    """An object that has every required member, and none but these."""
    fields = mapping(value, where or "the document")
    for name in fields:
        if name not in required and name not in optional:
            raise TwinError(f"{_joined(where, name)}: unknown; known are {', '.join(sorted(required + optional))}")
    for name in required:
        if name not in fields:
            raise TwinError(f"{_joined(where, name)}: missing")
    return fields


def array(value: object, where: str, most: int) -> list[Any]:
    """A list of at most so many."""
    if not isinstance(value, list | tuple):
        raise TwinError(f"{where}: not a list")
    if len(value) > most:
        raise TwinError(f"{where}: {len(value)} entries, at most {most}")
    return list(value)


def number(value: object, where: str, least: float, most: float) -> float:
    """A number within its bounds; whole numbers stay exact."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise TwinError(f"{where}: {shown(value)} is not a number from {least:.15g} to {most:.15g}")
    return value


def whole(value: object, where: str, least: int, most: int) -> int:
    """A whole number within its bounds."""
    if type(value) is not int or not least <= value <= most:
        raise TwinError(f"{where}: {shown(value)} is not a whole number from {least} to {most}")
    return value


def level(value: object, where: str) -> float:
    """A dimming level: 0 is off, 1 is full light."""
    return number(value, where, 0, 1)


def matching(value: object, where: str, pattern: re.Pattern[str], form: str) -> str:
    """A text of a form."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise TwinError(f"{where}: {shown(value)} is not {form}")
    return value


def named(value: object, where: str) -> str:
    """The name of a rule, an event, a group or a figure."""
    return matching(value, where, _NAME, "1 to 40 of a-z0-9_-")


def suffix(value: object, where: str) -> str:
    """A SenML suffix, such as /noise/0/level."""
    if not isinstance(value, str) or not is_suffix(value):
        raise TwinError(f"{where}: {shown(value)} is not a suffix such as /noise/0/level")
    return value


def text(value: object, where: str) -> str:
    """A text that can be shown."""
    if not isinstance(value, str) or len(value) > limits.TEXT_LENGTH_MAX or not value.isprintable():
        raise TwinError(f"{where}: not a text of at most {limits.TEXT_LENGTH_MAX} printable characters")
    return value


def moment(fields: Fields) -> float | None:
    """When it happened, in seconds since 1970; absent where no clock was trusted."""
    return number(fields["at"], "at", 0, limits.UNIX_MAX_S) if "at" in fields else None


def scalars(value: object, where: str) -> Mapping[str, Scalar]:
    """A group of figures: numbers, texts and booleans by name."""
    return {
        named(name, where): _scalar(one, f"{where}.{name}")
        for name, one in mapping(value, where, limits.REPORT_FIELDS_MAX).items()
    }


def _scalar(value: object, where: str) -> Scalar:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return text(value, where)
    if type(value) is int:
        return whole(value, where, -limits.VERSION_MAX, limits.VERSION_MAX)
    return number(value, where, -limits.MAGNITUDE_MAX, limits.MAGNITUDE_MAX)


def _joined(where: str, name: object) -> str:
    label = name if isinstance(name, str) and _NAME.fullmatch(name) else shown(name)
    return f"{where}.{label}" if where else str(label)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise TwinError(f"{shown(name)}: appears twice in one object")
        fields[name] = value
    return fields


def _whole_of(digits: str) -> int:
    if len(digits) > NUMBER_LENGTH_MAX:
        raise TwinError(f"a number of {len(digits)} characters, at most {NUMBER_LENGTH_MAX}")
    return int(digits)


def _double_of(digits: str) -> float:
    value = float(digits)
    if len(digits) > NUMBER_LENGTH_MAX or not isfinite(value):
        raise TwinError(f"{shown(digits)}: not a number that fits a double")
    return value


def _constant(name: str) -> NoReturn:
    raise TwinError(f"{name} is no JSON number")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_double_of, parse_int=_whole_of, parse_constant=_constant
)
