"""CBOR as SenML allows it (RFC 8428 section 6), read strictly into one dict a record.

A reader of our own, because general decoders build objects from tags, pass over trailing bytes and tell reasons only as
text. What it takes is small: definite lengths, integers, floats, decimal fractions (tag 4), text, bytes, arrays, maps,
true, false and null. Recursion is bounded by the depth limit.

Will not: accept any other tag, `undefined`, indefinite lengths, or a float or array as a map key; evaluate a text key
that spells a label which has a number ("conclusive", section 6): it is an unknown label and ignored.
"""

import struct
from collections.abc import Callable
from decimal import Decimal
from math import isfinite
from typing import Any, Final

from lichtmast.wire import limits
from lichtmast.wire.refusal import PackError, Refusal
from lichtmast.wire.senml.showing import shown

LABELS: Final[dict[int, str]] = {
    -1: "bver",
    -2: "bn",
    -3: "bt",
    -4: "bu",
    -5: "bv",
    -6: "bs",
    0: "n",
    1: "u",
    2: "v",
    3: "vs",
    4: "vb",
    5: "s",
    6: "t",
    7: "ut",
    8: "vd",
}
"""RFC 8428 section 6, table 4."""

_NUMBERED: Final = frozenset(LABELS.values())

# RFC 8949 section 3.1.
_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_INFO_DIRECT_MAX: Final = 23
_INFO_EIGHT_BYTES: Final = 27
_INFO_INDEFINITE: Final = 31
_SHORT_TEXT_FIRST: Final = _TEXT << 5
_SHORT_TEXT_LAST: Final = _SHORT_TEXT_FIRST + _INFO_DIRECT_MAX
_ABSENT: Final = 256
_DECIMAL_FRACTION: Final = 4
_EXPONENT_MAX: Final = 400
"""Of a decimal fraction; IEEE doubles need 324."""
_FLOATS: Final = {25: struct.Struct(">e"), 26: struct.Struct(">f"), 27: struct.Struct(">d")}
_SIMPLES: Final = {20: False, 21: True, 22: None}


def read_cbor(raw: bytes) -> list[dict[str, Any]]:
    """The records of a pack, each with its labels in their JSON spelling. Raises PackError."""
    major, info, count, at = _head(raw, 0)
    if major == _ARRAY and info == _INFO_INDEFINITE:
        raise PackError(Refusal.NOT_A_PACK, "an array of indefinite length is a stream; send a definite length")
    if major != _ARRAY:
        raise PackError(Refusal.NOT_A_PACK, "a pack is an array of records")
    if count == 0:
        raise PackError(Refusal.NOT_A_PACK, "the array has no record")
    if count > limits.PACK_RECORDS_MAX:
        raise PackError(Refusal.TOO_MANY_RECORDS, f"{count} records, at most {limits.PACK_RECORDS_MAX} in one pack")
    records: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        if at < len(raw) and raw[at] >> 5 != _MAP:
            raise PackError(Refusal.NOT_A_PACK, f"record {number} is no map")
        fields, at = _item(raw, at, 2)
        # Numbers become labels. Other numbers, and texts that spell a numbered label, are unknown labels: ignored.
        records.append(
            {
                LABELS[key] if type(key) is int else key: value
                for key, value in fields.items()
                if (key in LABELS if type(key) is int else key not in _NUMBERED)
            }
        )
    if at != len(raw):
        raise PackError(Refusal.UNDECODABLE, f"{len(raw) - at} bytes follow the pack")
    return records


def _head(raw: bytes, at: int) -> tuple[int, int, int, int]:
    """Major type, additional information and argument of the item at this byte, and where its head ends."""
    if at >= len(raw):
        raise PackError(Refusal.UNDECODABLE, f"cut off at byte {at}")
    major, info = raw[at] >> 5, raw[at] & 31
    at += 1
    if info <= _INFO_DIRECT_MAX:
        return major, info, info, at
    if info <= _INFO_EIGHT_BYTES:
        end = at + (1 << (info - 24))
        if end > len(raw):
            raise PackError(Refusal.UNDECODABLE, f"cut off at byte {len(raw)}")
        return major, info, int.from_bytes(raw[at:end], "big"), end
    if info != _INFO_INDEFINITE:
        raise PackError(Refusal.UNDECODABLE, f"reserved additional information {info} at byte {at - 1}")
    return major, info, 0, at


def _item(raw: bytes, at: int, depth: int) -> tuple[Any, int]:
    """The item at this byte and where it ends; `depth` is the level it has if it is an array or a map."""
    start = at
    initial = raw[at] if at < len(raw) else _ABSENT
    # The two items that make up most of any pack, without a call: a small number and a short text.
    if initial <= _INFO_DIRECT_MAX:
        return initial, at + 1
    if _SHORT_TEXT_FIRST <= initial <= _SHORT_TEXT_LAST:
        at += 1
        return _text(raw, initial - _SHORT_TEXT_FIRST, at)
    major, info, argument, at = _head(raw, at)
    if info == _INFO_INDEFINITE:
        raise PackError(Refusal.UNDECODABLE, f"indefinite length at byte {start}; send definite lengths")
    if major in (_ARRAY, _MAP):
        if depth > limits.PACK_DEPTH_MAX:
            raise PackError(Refusal.TOO_DEEP, f"nested deeper than {limits.PACK_DEPTH_MAX} levels")
        # A length that cannot be true ends at the end of the bytes: each item takes one at least, and room is made as
        # items come.
        return _map(raw, at, argument, depth) if major == _MAP else _array(raw, at, argument, depth)
    if major == _SIMPLE:
        return _simple(raw, start, info, at)
    return _SCALARS[major](raw, argument, at)


def _unsigned(_raw: bytes, argument: int, at: int) -> tuple[int, int]:
    return argument, at


def _negative(_raw: bytes, argument: int, at: int) -> tuple[int, int]:
    return -1 - argument, at


def _array(raw: bytes, at: int, count: int, depth: int) -> tuple[list[Any], int]:
    items = []
    for _ in range(count):
        item, at = _item(raw, at, depth + 1)
        items.append(item)
    return items, at


def _map(raw: bytes, at: int, count: int, depth: int) -> tuple[dict[int | str, Any], int]:
    fields: dict[int | str, Any] = {}
    for _ in range(count):
        where = at
        key: Any
        if at < len(raw) and raw[at] <= _INFO_DIRECT_MAX:  # Nearly every label, without a call.
            key, at = raw[at], at + 1
        else:
            key, at = _item(raw, at, depth + 1)
        if type(key) is not int and type(key) is not str:
            raise PackError(Refusal.BAD_FIELD, f"a map key that is neither integer nor text at byte {where}")
        if key in fields:
            raise PackError(Refusal.DUPLICATE_KEY, f"label {shown(key)} appears twice in one map")
        fields[key], at = _item(raw, at, depth + 1)
    return fields, at


def _text(raw: bytes, length: int, at: int) -> tuple[str, int]:
    end = at + length
    if end > len(raw):
        raise PackError(Refusal.UNDECODABLE, f"cut off in the text at byte {at}")
    try:
        return raw[at:end].decode(), end
    except UnicodeDecodeError as error:
        raise PackError(Refusal.UNDECODABLE, f"no UTF-8 in the text at byte {at}") from error


def _bytes(raw: bytes, length: int, at: int) -> tuple[bytes, int]:
    end = at + length
    if end > len(raw):
        raise PackError(Refusal.UNDECODABLE, f"cut off in the bytes at byte {at}")
    return raw[at:end], end


def _simple(raw: bytes, start: int, info: int, at: int) -> tuple[float | bool | None, int]:
    form = _FLOATS.get(info)
    if form is None:
        if info not in _SIMPLES:
            raise PackError(Refusal.UNDECODABLE, f"undefined or unassigned simple value at byte {start}")
        return _SIMPLES[info], at
    number: float = form.unpack_from(raw, start + 1)[0]
    if not isfinite(number):
        raise PackError(Refusal.BAD_VALUE, f"{number} at byte {start} is no measurement")
    return number, at


def _decimal_fraction(raw: bytes, tag: int, at: int) -> tuple[Decimal | float, int]:
    """Tag 4: [exponent, mantissa] (RFC 8949 section 3.4.4), both plain integers here."""
    start = at
    if tag != _DECIMAL_FRACTION:
        raise PackError(Refusal.UNDECODABLE, f"tag {tag} before byte {start}; SenML has only tag 4")
    major, _, count, at = _head(raw, at)
    if major != _ARRAY or count != 2:  # noqa: PLR2004 - exponent and mantissa
        raise PackError(Refusal.UNDECODABLE, f"the decimal fraction at byte {start} is not [exponent, mantissa]")
    parts: list[int] = []
    for _ in range(2):
        major, info, argument, at = _head(raw, at)
        if major not in (_UNSIGNED, _NEGATIVE) or info == _INFO_INDEFINITE:
            raise PackError(Refusal.UNDECODABLE, f"the decimal fraction at byte {start} is not two integers")
        parts.append(argument if major == _UNSIGNED else -1 - argument)
    exponent, mantissa = parts
    if abs(exponent) > _EXPONENT_MAX:
        raise PackError(Refusal.BAD_VALUE, f"exponent {exponent} at byte {start} is beyond IEEE double precision")
    number = Decimal(f"{mantissa}E{exponent}")  # Exact, whatever the decimal context of the process.
    rounded = float(number)
    if not isfinite(rounded):
        raise PackError(Refusal.BAD_VALUE, f"the decimal fraction at byte {start} is beyond IEEE double precision")
    return (number if rounded else rounded), at


_SCALARS: Final[dict[int, Callable[[bytes, int, int], tuple[Any, int]]]] = {
    _UNSIGNED: _unsigned,
    _NEGATIVE: _negative,
    _BYTES: _bytes,
    _TEXT: _text,
    _TAG: _decimal_fraction,
}
