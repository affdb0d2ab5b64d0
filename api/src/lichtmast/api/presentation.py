"""How readings read for people: unit, decimals, Dutch or English, local time. The stored value is never touched.

The same display rules go to the browser as data attributes, so that live values look like those the server wrote.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from lichtmast.api.texts import QUANTITIES_NL, TEXTS, Language
from lichtmast.api.times import EPOCH, iso
from lichtmast.registry.records import DatastreamRecord

ZONE: Final = ZoneInfo("Europe/Amsterdam")


@dataclass(frozen=True, slots=True)
class Display:
    """Shown value = stored value x factor, with this many decimals, then the symbol."""

    symbol: str
    factor: float = 1.0
    decimals: int = 1


# SenML primary units (RFC 8428 section 12.1) are SI base units: right for machines, unreadable on a street.
_BY_UNIT: Final[Mapping[str, Display]] = {
    "/": Display("%", 100.0, 0),
    "%RH": Display("%", 1.0, 0),
    "%EL": Display("%", 1.0, 0),
    "Cel": Display("°C"),
    "J": Display("kWh", 1 / 3.6e6, 2),
    "Pa": Display("hPa", 0.01),
    "W": Display("W"),
    "V": Display("V"),
    "dB": Display("dB"),
    "lx": Display("lx", 1.0, 0),
    "m/s": Display("m/s"),
    "rad": Display("°", 180 / math.pi, 0),
    "kg/m3": Display("µg/m³", 1e9),
    "m": Display("m", 1.0, 2),
    "s": Display("min", 1 / 60, 0),
    "count": Display("", 1.0, 0),
}
_BY_QUANTITY: Final[Mapping[tuple[str, str], Display]] = {
    ("Nitrogen dioxide", "/"): Display("ppb", 1e9),
    ("Ozone", "/"): Display("ppb", 1e9),
    ("Carbon monoxide", "/"): Display("ppm", 1e6, 2),
    ("Carbon dioxide", "/"): Display("ppm", 1e6, 0),
    ("Rain amount", "m"): Display("mm", 1e3),
    ("Operating time", "s"): Display("h", 1 / 3600, 0),
}


def display_of(quantity: str, unit: str | None) -> Display:
    """The display of a quantity in a unit; unknown units are shown as they are."""
    if unit is None:
        return Display("")
    return _BY_QUANTITY.get((quantity, unit)) or _BY_UNIT.get(unit) or Display(unit, 1.0, 3)


def number_text(value: float, decimals: int, language: Language) -> str:
    """`1.234,5` in Dutch, `1,234.5` in English; never a negative nought."""
    text = f"{value:,.{decimals}f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")
    return text.translate(str.maketrans(",.", ".,")) if language == "nl" else text


def value_text(value: float | str | None, kind: str, display: Display, language: Language) -> str:
    """A result as words: a number with its unit, yes or no, or the text itself."""
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, str):
        return value
    if kind == "boolean":
        return TEXTS[language]["yes" if value else "no"]
    number = number_text(value * display.factor, display.decimals, language)
    return f"{number}\N{NO-BREAK SPACE}{display.symbol}" if display.symbol else number


def quantity_text(datastream: DatastreamRecord, quantity: str, language: Language) -> str:
    """What is measured, in the reader's language where we know the word."""
    if language == "en":
        return quantity or datastream.name
    return QUANTITIES_NL.get(quantity, quantity or datastream.name)


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant for a page: machine text in UTC, and local date and time for people."""

    iso: str
    clock: str
    full: str


def moment(time_us: int, language: Language) -> Moment:
    """An instant as people in the Netherlands read it."""
    local = (EPOCH + timedelta(microseconds=time_us)).astimezone(ZONE)
    return Moment(iso(time_us), local.strftime("%H:%M:%S"), f"{day_text(local, language)} {local:%H:%M:%S}")


def day_text(day: date, language: Language) -> str:
    """`21 november 2026`."""
    return f"{day.day} {TEXTS[language]['months'].split()[day.month - 1]} {day.year}"
