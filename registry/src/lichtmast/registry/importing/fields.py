"""Named fields of a row to an asset: the mapping that CSV and GeoJSON share.

Knows the names that Dutch and English systems give to columns. What it does not know is kept as it is, under `source`.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final

from lichtmast.registry.importing.coordinates import locate, parse_number
from lichtmast.registry.importing.report import Problem, Reason, error, example, warning
from lichtmast.registry.importing.source import IncomingAsset
from lichtmast.registry.limits import NAME_CHARACTERS_MAX, SOURCE_ID_CHARACTERS_MAX

SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {
    "id": ("id", "assetid", "objectid", "mastid", "lichtmastid", "code", "mastcode", "identificatie"),
    "number": ("nummer", "mastnummer", "lichtmastnummer", "mastnr", "number", "polenumber"),
    "street": ("straat", "straatnaam", "street", "streetname", "openbareruimte", "openbareruimtenaam"),
    "length": ("mastlengte", "masthoogte", "lengte", "hoogte", "lengtem", "hoogtem", "height", "heightm", "poleheight"),
    "neighbourhood": ("buurt", "buurtcode", "neighbourhood"),
    "name": ("naam", "name"),
    "x": ("x", "rdx", "xrd", "xcoord", "xcoordinaat", "xcoordinate", "easting"),
    "y": ("y", "rdy", "yrd", "ycoord", "ycoordinaat", "ycoordinate", "northing"),
    "longitude": ("lon", "lng", "long", "longitude", "lengtegraad"),
    "latitude": ("lat", "latitude", "breedtegraad"),
    "placed": ("datumplaatsing", "plaatsingsdatum", "geplaatst", "placed", "validfrom"),
    "removed": ("datumverwijdering", "verwijderd", "einddatum", "removed", "validto"),
}
"""Meaning -> names, lower case without spaces, underscores and the like."""

_MEANING: Final = {name: meaning for meaning, names in SYNONYMS.items() for name in names}
_NOISE: Final = re.compile(r"[\W_]+")
_DATE: Final = re.compile(r"(\d{4})-(\d{2})-(\d{2})|(\d{1,2})-(\d{1,2})-(\d{4})", re.ASCII)
_PROPERTY: Final = {"number": "mastnummer", "street": "straat", "neighbourhood": "buurt"}


def meanings(names: Iterable[str]) -> dict[str, str]:
    """Name in the file -> meaning, of the names that are known; where two mean the same, the first one counts."""
    found: dict[str, str] = {}
    for name in names:
        meaning = _MEANING.get(_NOISE.sub("", name).lower())
        if meaning is not None and meaning not in found.values():
            found[name] = meaning
    return found


def clean(text: str) -> str:
    """NFC, outer blanks off, inner blanks single: so that equal names are equal."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.split()) if "  " in text else text.strip()


def build_asset(
    row: int, crs: str, position: tuple[str, str], fields: Mapping[str, str], rest: Mapping[str, object]
) -> tuple[IncomingAsset | None, list[Problem]]:
    """An asset from the fields by meaning and all other values, or None and why not."""
    problems: list[Problem] = []
    for meaning, text in fields.items():
        if not text.isprintable() and any(unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in text):
            problems.append(
                error(
                    row, Reason.BAD_TEXT, f"{meaning} {example(text)} holds control characters; retype it in the source"
                )
            )
    source_id, name = _identity(row, fields, problems)
    place = locate(row, crs, *position)
    if isinstance(place, Problem):
        problems.append(place)
    placed = _date(row, fields, "placed", problems)
    removed = _date(row, fields, "removed", problems)
    if any(problem.reason in _FATAL for problem in problems) or isinstance(place, Problem):
        return None, problems
    properties: dict[str, object] = {key: fields[meaning] for meaning, key in _PROPERTY.items() if fields.get(meaning)}
    length_m = _length_m(row, name, fields, problems)
    if length_m is not None:
        properties["mastlengteM"] = length_m
    if rest:
        properties["source"] = dict(rest)
    asset = IncomingAsset(
        row, source_id, name, *place, crs, position[0].strip(), position[1].strip(), placed, removed, properties
    )
    return asset, problems


_FATAL: Final = frozenset((Reason.BAD_TEXT, Reason.MISSING_VALUE, Reason.BAD_DATE, Reason.TOO_LARGE))


def _identity(row: int, fields: Mapping[str, str], problems: list[Problem]) -> tuple[str, str]:
    """The id within the tenant and the name. Street and number are the identity where there is no id."""
    street, number, own_id = (fields.get(meaning, "") for meaning in ("street", "number", "id"))
    if own_id:
        source_id = f"id:{own_id}"
    elif street and number:
        source_id = f"mast:{street}/{number}"
    else:
        problems.append(
            error(
                row,
                Reason.MISSING_VALUE,
                f"neither an id nor a street and a number (street {example(street)}, number {example(number)}); "
                "fill them in, they tell this lamppost from others",
            )
        )
        return "", ""
    name = fields.get("name") or f"Lichtmast {number or own_id} {street}".strip()
    if len(source_id) > SOURCE_ID_CHARACTERS_MAX or len(name) > NAME_CHARACTERS_MAX:
        problems.append(
            error(row, Reason.TOO_LARGE, f"id or name {example(name)} is longer than {NAME_CHARACTERS_MAX} characters")
        )
    return source_id, name


def _date(row: int, fields: Mapping[str, str], meaning: str, problems: list[Problem]) -> date | None:
    text = fields.get(meaning, "")
    if not text:
        return None
    match = _DATE.fullmatch(text)
    try:
        if match is not None:
            year, month, day, dutch_day, dutch_month, dutch_year = (int(part or 0) for part in match.groups())
            return date(year or dutch_year, month or dutch_month, day or dutch_day)
    except ValueError:
        pass
    problems.append(error(row, Reason.BAD_DATE, f"date {example(text)} is not of the form 2025-12-31 or 31-12-2025"))
    return None


def _length_m(row: int, name: str, fields: Mapping[str, str], problems: list[Problem]) -> float | None:
    """The pole's length; 0 and nonsense mean unknown, which is told and never invented."""
    text = fields.get("length", "")
    if not text:
        return None
    length_m = parse_number(text)
    if length_m is None or length_m <= 0:
        problems.append(
            warning(
                row,
                Reason.UNKNOWN_LENGTH,
                f"{name}: length {example(text)} is taken as unknown; fill it in in the source",
            )
        )
        return None
    return length_m
