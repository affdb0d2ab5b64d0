"""CBOR as `encode` writes it: the core deterministic encoding of RFC 8949 section 4.2.1, of what SenML needs.

A writer of our own for the reason that `strict_cbor` is a reader of our own, and one more: no compiled codec has to
exist for the small computer at the pole. Integers, floats, text, bytes, booleans, arrays and maps with integer or text
keys; heads and floats are as short as keeps the value, keys ascend by their encoded bytes.

Will not: write tags, null, indefinite lengths, or a number that is not finite.
"""

import struct
from collections.abc import Callable
from typing import Any, Final

# RFC 8949 section 3.1: major types, in the upper three bits of the initial byte.
_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP = (major << 5 for major in range(6))
_DIRECT_MAX: Final = 23
_HEADS: Final = ((0xFF, 24, 1), (0xFFFF, 25, 2), (0xFFFF_FFFF, 26, 4), (0xFFFF_FFFF_FFFF_FFFF, 27, 8))
"""Largest argument, additional information and argument bytes of each head."""
_FALSE: Final = b"\xf4"
_TRUE: Final = b"\xf5"
_INITIAL: Final = tuple(bytes((one,)) for one in range(256))
_SHORTER: Final = ((b"\xf9", struct.Struct(">e")), (b"\xfa", struct.Struct(">f")))
_DOUBLE: Final = struct.Struct(">d")


def write_cbor(item: Any) -> bytes:  # noqa: ANN401 - a tree of the kinds named above
    """The item's one deterministic encoding. Raises TypeError for kinds that SenML has not."""
    write = _WRITERS.get(type(item))
    if write is None:
        raise TypeError(f"{type(item).__name__} is none of int, float, str, bytes, bool, list and dict")
    return write(item)


def _head(major: int, argument: int) -> bytes:
    if argument <= _DIRECT_MAX:
        return _INITIAL[major | argument]
    for largest, info, length in _HEADS:
        if argument <= largest:
            return _INITIAL[major | info] + argument.to_bytes(length, "big")
    raise TypeError(f"{argument} is beyond 64 bits")


def _integer(number: int) -> bytes:
    return _head(_UNSIGNED, number) if number >= 0 else _head(_NEGATIVE, -1 - number)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return _head(_TEXT, len(encoded)) + encoded


def _map(fields: dict[int | str, Any]) -> bytes:
    members = sorted([(write_cbor(key), write_cbor(value)) for key, value in fields.items()])
    return _head(_MAP, len(members)) + b"".join([key + value for key, value in members])


def _float(number: float) -> bytes:
    """In the shortest of half, single and double precision that keeps it exactly."""
    for initial, form in _SHORTER:
        try:
            short = form.pack(number)
        except OverflowError:
            continue
        if form.unpack(short)[0] == number:
            return initial + short
    return b"\xfb" + _DOUBLE.pack(number)


_WRITERS: Final[dict[type, Callable[[Any], bytes]]] = {
    bool: lambda flag: _TRUE if flag else _FALSE,
    int: _integer,
    float: _float,
    str: _text,
    bytes: lambda raw: _head(_BYTES, len(raw)) + raw,
    list: lambda items: _head(_ARRAY, len(items)) + b"".join(map(write_cbor, items)),
    dict: _map,
}
"""By exact type: a bool is no integer here."""
