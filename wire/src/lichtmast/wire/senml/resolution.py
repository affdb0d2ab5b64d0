"""From the labels of a pack to resolved records: RFC 8428 section 4, units of RFC 8798, versions of RFC 9100.

Arithmetic is exact and rounds once: a value becomes the nearest double, a time the nearest microsecond. Where two sums
are needed the parts are never rounded first, so 1.6e9 + 0.1 keeps its tenth.

Will not: judge whether a time is believable, or whose names these are (`packs` does).
"""

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Any, Final, TypeAlias

from lichtmast.wire import limits
from lichtmast.wire.names import is_name_text
from lichtmast.wire.quality import Quality
from lichtmast.wire.refusal import PackError, Refusal
from lichtmast.wire.senml.records import Record, Value
from lichtmast.wire.senml.showing import shown
from lichtmast.wire.units import SECONDARY_UNITS, UNITS, SecondaryUnit

Number: TypeAlias = int | float | Decimal
Fields: TypeAlias = dict[str, Any]

VERSION_DEFAULT: Final = 10
"""RFC 8428 section 4.1. Its low four bits are 0b1010."""
VERSION_SECONDARY_UNITS: Final = VERSION_DEFAULT | 1 << 4
"""RFC 9100 section 3: feature 4 is secondary units, so 26."""
_VERSIONS: Final = frozenset((VERSION_DEFAULT, VERSION_SECONDARY_UNITS))

_NUMBER: Final = frozenset((int, float, Decimal))
_TEXT: Final = frozenset((str,))
_KINDS: Final[dict[str, frozenset[type]]] = {
    "bn": _TEXT,
    "bt": _NUMBER,
    "bu": _TEXT,
    "bv": _NUMBER,
    "bs": _NUMBER,
    "bver": frozenset((int,)),
    "n": _TEXT,
    "u": _TEXT,
    "v": _NUMBER,
    "vs": _TEXT,
    "vb": frozenset((bool,)),
    "vd": frozenset((bytes,)),
    "s": _NUMBER,
    "t": _NUMBER,
    "ut": _NUMBER,
}
"""RFC 8428 section 4.3, table 1. bool is no number here: it is compared by exact type."""
_KIND_NAMES: Final = {_NUMBER: "number", _TEXT: "string"}

# Unit symbol -> primary unit, conversion, quality. No unit at all is legal (section 4.5.2).
_PRIMARY: Final[dict[str | None, tuple[str | None, None, int]]] = {None: (None, None, 0)} | {
    unit.symbol: (unit.symbol, None, 0 if unit.recommended else int(Quality.UNIT_NOT_RECOMMENDED))
    for unit in UNITS.values()
}

# Control characters, surrogates, and the marks that reorder text on a screen (Unicode bidirectional controls).
_FORBIDDEN_TEXT: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

# More digits than the exact sum of any two doubles or JSON numbers can have, so that it rounds nothing.
_EXACT: Final = Context(prec=2_200, rounding=ROUND_HALF_EVEN)
_MICROSECONDS: Final = Decimal(1_000_000)


def resolve_fields(packed: list[Fields], received_us: int) -> list[Record]:
    """Apply base fields and resolve relative times against `received_us`; chronological. Raises PackError."""
    version = _version(packed)
    base: Fields = {"bn": "", "bt": 0, "bu": None, "bv": None, "bs": None}
    base_time: tuple[int, int] | None = None
    records: list[Record] = []
    for number, fields in enumerate(packed, 1):
        for label, value in fields.items():
            kinds = _KINDS.get(label)
            if kinds is None:
                if label[-1:] == "_":
                    raise PackError(
                        Refusal.MUST_UNDERSTAND, f"record {number}: label {shown(label)} must be understood"
                    )
            elif type(value) not in kinds:
                kind = _KIND_NAMES.get(kinds) or "/".join(one.__name__ for one in kinds)
                raise PackError(Refusal.BAD_FIELD, f"record {number}: {label} is not a {kind}")
            elif label in base:
                base[label] = value
                if label == "bt":
                    base_time = None
        if "t" in fields:
            time_us, quality = _time(base["bt"], fields["t"], received_us, number)
        else:
            # Most records share one time: it is worked out once, and only where a record has no time of its own.
            base_time = base_time or _time(base["bt"], 0, received_us, number)
            time_us, quality = base_time
        symbol: Any = fields.get("u", base["bu"])
        unit, secondary, unit_quality = _PRIMARY.get(symbol) or _secondary(symbol, version, number)
        value = _value(fields, base["bv"], secondary, number)
        total = _total(fields, base["bs"], secondary, number) if "s" in fields or base["bs"] is not None else None
        if secondary is not None and (total is not None or type(value) is float):
            unit_quality |= int(Quality.UNIT_CONVERTED)
        update_time_s = _update_time(fields["ut"], number) if "ut" in fields else None
        name = _name(base["bn"] + fields.get("n", ""), number)
        records.append(Record(name, unit, value, total, time_us, update_time_s, quality | unit_quality))
    records.sort(key=_time_of)
    return records


def _time_of(record: Record) -> int:
    return record.time_us


def _version(packed: list[Fields]) -> int:
    """The version of the pack: that of its first record, and of every record that tells one (section 4.4)."""
    version = packed[0].get("bver", VERSION_DEFAULT)
    for number, fields in enumerate(packed, 1):
        told = fields.get("bver", version)
        if type(told) is not int or told != version:
            raise PackError(Refusal.BAD_VERSION, f"record {number}: bver {shown(told)}, the pack's is {shown(version)}")
    if version not in _VERSIONS:
        raise PackError(
            Refusal.BAD_VERSION, f"bver {shown(version)} has features unknown here; 10 and 26 are understood"
        )
    return int(version)


def _name(name: str, number: int) -> str:
    if not name:
        raise PackError(Refusal.BAD_NAME, f"record {number}: neither a name nor a base name")
    if len(name) > limits.NAME_LENGTH_MAX:
        raise PackError(
            Refusal.BAD_NAME, f"record {number}: a name of {len(name)}, at most {limits.NAME_LENGTH_MAX} characters"
        )
    if is_name_text(name) is None:
        raise PackError(
            Refusal.BAD_NAME,
            f"record {number}: name {shown(name)} must begin with a letter or digit, then A-Za-z0-9-:./_",
        )
    return name


def _time(base: Number, own: Number, received_us: int, number: int) -> tuple[int, int]:
    """Microseconds since 1970 of the sum, and the quality that follows (section 4.5.3: the sum tells, never a part)."""
    total: Number
    if type(base) is int and type(own) is int:
        total = base + own
        whole = True
    else:
        total = _EXACT.add(_decimal(base), _decimal(own))
        whole = False
    if not -limits.TIME_SUM_MAX_S < total < limits.TIME_SUM_MAX_S:
        raise PackError(
            Refusal.BAD_TIME, f"record {number}: the sum of bt and t is no time in seconds since 1970 or from now"
        )
    if whole:
        sum_us = int(total) * 1_000_000
    else:
        sum_us = int(_EXACT.multiply(_decimal(total), _MICROSECONDS).to_integral_value(ROUND_HALF_EVEN, _EXACT))
    if total < limits.SENML_RELATIVE_BELOW:
        return received_us + sum_us, int(Quality.TIME_FROM_SERVER)
    return sum_us, 0


def _decimal(number: Number) -> Decimal:
    return number if type(number) is Decimal else Decimal(number)


def _secondary(symbol: str, version: int, number: int) -> tuple[str, SecondaryUnit, int]:
    """The primary unit's symbol, the conversion to it, and no doubt yet. Refuses units that nobody registered."""
    secondary = SECONDARY_UNITS.get(symbol)
    if secondary is None:
        raise PackError(Refusal.UNKNOWN_UNIT, f"record {number}: unit {shown(symbol)} is not in the SenML registry")
    if version != VERSION_SECONDARY_UNITS:
        raise PackError(
            Refusal.UNKNOWN_UNIT,
            f"record {number}: {symbol} is a secondary unit; send {secondary.primary}, or bver 26 in the first record",
        )
    return secondary.primary, secondary, 0


def _value(fields: Fields, base: Number | None, secondary: SecondaryUnit | None, number: int) -> Value | None:
    given = ("v" in fields) + ("vs" in fields) + ("vb" in fields) + ("vd" in fields)
    if given == 0:
        if "s" in fields:
            return None
        raise PackError(Refusal.BAD_VALUE, f"record {number}: none of v, vs, vb, vd, s")
    if given > 1:
        raise PackError(Refusal.BAD_VALUE, f"record {number}: more than one of v, vs, vb, vd")
    if "v" in fields:
        value: Number = fields["v"]
        if base is None and secondary is None:
            return float(value)
        exact = Fraction(value) + Fraction(base or 0)
        return _nearest(exact if secondary is None else secondary.to_primary(exact), number)
    return bool(fields["vb"]) if "vb" in fields else _text_or_data(fields, number)


def _text_or_data(fields: Fields, number: int) -> str | bytes:
    value: str | bytes = fields["vs"] if "vs" in fields else fields["vd"]
    if len(value) > limits.TEXT_VALUE_LENGTH_MAX:
        detail = f"record {number}: a value of length {len(value)}, at most {limits.TEXT_VALUE_LENGTH_MAX}"
        raise PackError(Refusal.BAD_VALUE, detail)
    if isinstance(value, str) and not is_clean_text(value):
        detail = f"record {number}: vs has a control character, a surrogate or a bidirectional mark"
        raise PackError(Refusal.BAD_VALUE, detail)
    return value


def is_clean_text(text: str) -> bool:
    """Whether a text value can be stored and shown anywhere as it is."""
    return _FORBIDDEN_TEXT.search(text) is None


def _total(fields: Fields, base: Number | None, secondary: SecondaryUnit | None, number: int) -> float:
    """The sum field: an integral over time in unit-seconds, so an offset has no meaning for it."""
    exact = Fraction(fields.get("s", 0)) + Fraction(base or 0)
    if secondary is not None:
        if secondary.offset:
            raise PackError(
                Refusal.BAD_VALUE, f"record {number}: a sum in {secondary.symbol} is none in {secondary.primary}"
            )
        exact *= secondary.scale
    return _nearest(exact, number)


def _nearest(exact: Fraction, number: int) -> float:
    try:
        return float(exact)
    except OverflowError as error:
        raise PackError(Refusal.BAD_VALUE, f"record {number}: the result is beyond IEEE double precision") from error


def _update_time(told: Number, number: int) -> float:
    if told < 0:
        raise PackError(Refusal.BAD_VALUE, f"record {number}: ut is negative")
    return float(told)
