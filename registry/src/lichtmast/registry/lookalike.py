"""Writes an invented municipality's BGT delivery, for clones that have no real one at hand.

Same schema and same peculiarities as a real `bgt_paal.gml`: several records of one lokaalID, ended registrations, one
ended lamppost, coordinates in RD New. Every street, id and position is made up from the seed; no real file was copied.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice
from math import cos, pi, sin
from pathlib import Path
from random import Random
from typing import Final

_ORIGIN_X_M: Final = 140_300.0
_ORIGIN_Y_M: Final = 470_300.0
_HEADER: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<CityModel xmlns="http://www.opengis.net/citygml/2.0" xmlns:gml="http://www.opengis.net/gml"'
    ' xmlns:imgeo="http://www.geostandaarden.nl/imgeo/2.1">\n'
)
_FOOTER: Final = "</CityModel>\n"
_DEFINITIONS: Final = "http://www.geostandaarden.nl/imgeo/def/2.1"
_FIRST_DAY: Final = date(2016, 3, 1)
_SURVEY: Final = datetime(2019, 2, 26, 9, 0)  # noqa: DTZ001 - the BGT writes Dutch local time without an offset


@dataclass(frozen=True, slots=True)
class _Pole:
    local_id: str
    x: str
    y: str
    created: date
    registered: datetime


def write_bgt(
    path: Path, *, seed: int = 1, municipality: str = "gm0402", assets: int = 63, twice: int = 9, ended: int = 1
) -> None:
    """Write a GML file with `assets` lampposts.

    `twice` of them have two records, and `ended` of those have ended. The same arguments give the same bytes.
    Raises ValueError unless 0 <= ended <= twice <= assets.
    """
    if not 0 <= ended <= twice <= assets:
        raise ValueError(f"need 0 <= ended {ended} <= twice {twice} <= assets {assets}")
    rng = Random(seed)  # noqa: S311 - reproducible invention, not secrecy
    holder = f"G{municipality.removeprefix('gm')}"
    poles = list(islice(_poles(rng, holder), assets))
    records: list[str] = []
    for number, pole in enumerate(poles):
        survey = _SURVEY + timedelta(seconds=37 * number)
        published = pole.registered + timedelta(days=5)
        if number < ended:
            gone = pole.registered + timedelta(days=rng.randrange(200, 400))
            records.extend(
                _record(rng, holder, pole, pole.registered, gone, delivered, gone.date())
                for delivered in (published, gone + timedelta(days=11))
            )
        elif number < twice:
            records.append(_record(rng, holder, pole, pole.registered, survey, published, None))
            records.append(_record(rng, holder, pole, survey, None, survey + timedelta(days=6), None))
        else:
            records.append(_record(rng, holder, pole, pole.registered, None, published, None))
    rng.shuffle(records)
    path.write_text(_HEADER + "".join(records) + _FOOTER, encoding="utf-8", newline="\n")


def _poles(rng: Random, holder: str) -> Iterator[_Pole]:
    """Poles along streets that leave an invented square, 24 to 32 metres apart, some on the other side."""
    street = 0
    while True:
        bearing = street * pi * (3 - 5**0.5) + rng.uniform(-0.1, 0.1)  # the golden angle keeps streets apart
        bend = rng.uniform(-0.0015, 0.0015)
        along_m = 60.0 + 15 * street
        x_m, y_m = _ORIGIN_X_M + along_m * cos(bearing), _ORIGIN_Y_M + along_m * sin(bearing)
        created = _FIRST_DAY + timedelta(days=rng.randrange(900))
        for number in range(rng.randrange(8, 13)):
            step_m = rng.uniform(24, 32)
            bearing += bend * step_m
            x_m += step_m * cos(bearing)
            y_m += step_m * sin(bearing)
            side_m = 3.5 if number % 2 else -3.5
            yield _Pole(
                f"{holder}.{rng.getrandbits(128):032x}",
                f"{x_m - side_m * sin(bearing):.3f}",
                f"{y_m + side_m * cos(bearing):.3f}",
                created,
                datetime.combine(created, _SURVEY.time()) + timedelta(days=3, seconds=rng.randrange(30_000)),
            )
        street += 1


def _record(
    rng: Random,
    holder: str,
    pole: _Pole,
    registered: datetime,
    unregistered: datetime | None,
    published: datetime,
    terminated: date | None,
) -> str:
    city = 'xmlns="http://www.opengis.net/citygml/2.0"'
    end = "" if terminated is None else f"<terminationDate {city}>{terminated}</terminationDate>"
    out = "" if unregistered is None else f"<imgeo:eindRegistratie>{_moment(unregistered)}</imgeo:eindRegistratie>"
    return (
        f'<cityObjectMember><imgeo:Paal gml:id="b{rng.getrandbits(128):032x}">'
        f"<creationDate {city}>{pole.created}</creationDate>{end}"
        f"<imgeo:LV-publicatiedatum>{_moment(published)}</imgeo:LV-publicatiedatum>"
        "<imgeo:relatieveHoogteligging>0</imgeo:relatieveHoogteligging><imgeo:inOnderzoek>false</imgeo:inOnderzoek>"
        f"{out}<imgeo:tijdstipRegistratie>{_moment(registered)}</imgeo:tijdstipRegistratie>"
        "<imgeo:identificatie><imgeo:NEN3610ID><imgeo:namespace>NL.IMGeo</imgeo:namespace>"
        f"<imgeo:lokaalID>{pole.local_id}</imgeo:lokaalID></imgeo:NEN3610ID></imgeo:identificatie>"
        f"<imgeo:bronhouder>{holder}</imgeo:bronhouder>"
        f'<imgeo:bgt-status codeSpace="{_DEFINITIONS}#Status">bestaand</imgeo:bgt-status>'
        f'<imgeo:plus-status codeSpace="{_DEFINITIONS}#VoidReasonValue">geenWaarde</imgeo:plus-status>'
        '<function xmlns="http://www.opengis.net/citygml/cityfurniture/2.0"'
        f' codeSpace="{_DEFINITIONS}#TypePaal">niet-bgt</function>'
        f'<imgeo:plus-type codeSpace="{_DEFINITIONS}#TypePaalPlus">lichtmast</imgeo:plus-type>'
        '<imgeo:geometrie2dPaal><gml:Point srsName="urn:ogc:def:crs:EPSG::28992">'
        f'<gml:pos srsDimension="2">{pole.x} {pole.y}</gml:pos></gml:Point></imgeo:geometrie2dPaal>'
        "</imgeo:Paal></cityObjectMember>\n"
    )


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
