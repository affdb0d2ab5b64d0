"""JSON as SenML allows it (RFC 8428 section 5), read strictly into one dict a record.

The standard library's reader takes NaN, infinities, byte order marks, duplicate keys, numbers of any length and nesting
of any depth; all of these are refused here, depth before anything is parsed. Numbers come out exact: int or Decimal.

Will not: know what a label means, except that `vd` is base64url (RFC 4648 section 5, unpadded), which only JSON needs.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from decimal import Decimal
from typing import Any, Final, NoReturn

from lichtmast.wire import limits
from lichtmast.wire.refusal import PackError, Refusal
from lichtmast.wire.senml.showing import shown

# The closing quote is optional and nothing is given back, so that hostile text is scanned once, in linear time.
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_OBJECT_AS_VALUE: Final = re.compile(rb":[ \t\n\r]*\{")
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_OPENING: Final = frozenset(b"[{")
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
_INFINITE: Final = float("inf")


def read_json(raw: bytes) -> list[dict[str, Any]]:
    """The records of a pack, each with the labels it has. Raises PackError."""
    _refuse_depth(raw)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise PackError(Refusal.UNDECODABLE, f"no UTF-8 at byte {error.start}; SenML JSON is UTF-8 only") from error
    if text[0] == "\ufeff":
        raise PackError(Refusal.UNDECODABLE, "starts with a byte order mark; send UTF-8 without one")
    try:
        document = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise PackError(Refusal.UNDECODABLE, f"no JSON at character {error.pos}") from error
    if type(document) is not list:
        raise PackError(Refusal.NOT_A_PACK, "a pack is an array of records")
    if not document:
        raise PackError(Refusal.NOT_A_PACK, "the array has no record")
    if len(document) > limits.PACK_RECORDS_MAX:
        raise PackError(
            Refusal.TOO_MANY_RECORDS, f"{len(document)} records, at most {limits.PACK_RECORDS_MAX} in one pack"
        )
    for number, record in enumerate(document, 1):
        if type(record) is not dict:
            raise PackError(Refusal.NOT_A_PACK, f"record {number} is no object")
        if "vd" in record:
            record["vd"] = _data(record["vd"], number)
    return document


def _refuse_depth(raw: bytes) -> None:
    """Count brackets outside strings. The parser recurses, so this comes first and does not."""
    # One array and no object after a colon, even with what strings hold: two levels at most. Nearly every pack is so.
    if raw.count(b"[") <= 1 and _OBJECT_AS_VALUE.search(raw) is None:
        return
    depth = 0
    for bracket in _STRING.sub(b"", raw).translate(None, _NOT_BRACKETS):
        if bracket in _OPENING:
            depth += 1
            if depth > limits.PACK_DEPTH_MAX:
                raise PackError(Refusal.TOO_DEEP, f"nested deeper than {limits.PACK_DEPTH_MAX} levels")
        else:
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        seen: set[str] = set()
        for label, _ in pairs:
            if label in seen:
                raise PackError(Refusal.DUPLICATE_KEY, f"label {shown(label)} appears twice in one record")
            seen.add(label)
    return fields


def _whole(text: str) -> int:
    if len(text) > limits.NUMBER_LENGTH_MAX:
        raise PackError(Refusal.BAD_VALUE, f"a number of {len(text)} characters, at most {limits.NUMBER_LENGTH_MAX}")
    return int(text)


def _decimal(text: str) -> Decimal | float:
    if len(text) > limits.NUMBER_LENGTH_MAX:
        raise PackError(Refusal.BAD_VALUE, f"a number of {len(text)} characters, at most {limits.NUMBER_LENGTH_MAX}")
    rounded = float(text)
    if not -_INFINITE < rounded < _INFINITE:
        raise PackError(Refusal.BAD_VALUE, f"{shown(text)} is beyond IEEE double precision")
    # A number that is zero as a double stays one: no exact 1e-999999999 may enter later arithmetic.
    return Decimal(text) if rounded else rounded


def _constant(text: str) -> NoReturn:
    raise PackError(Refusal.BAD_VALUE, f"{text} is no JSON number")


def _data(value: object, number: int) -> bytes:
    if type(value) is not str:
        raise PackError(Refusal.BAD_FIELD, f"record {number}: vd is not a string")
    if not _BASE64URL.fullmatch(value) or len(value) % 4 == 1:
        raise PackError(Refusal.BAD_VALUE, f"record {number}: vd is not base64url without padding")
    data = urlsafe_b64decode(value + "=" * (-len(value) % 4))
    if urlsafe_b64encode(data).rstrip(b"=") != value.encode():
        raise PackError(Refusal.BAD_VALUE, f"record {number}: vd has bits after its last byte")
    return data


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_decimal, parse_int=_whole, parse_constant=_constant
)
