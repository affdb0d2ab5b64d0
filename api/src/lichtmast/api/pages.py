"""The pages: what a template is given, gathered from catalogue, overview and store. Blocks: call it in a thread.

Every page works without JavaScript; scripts only keep what is there up to date and add the map. Nothing about devices
is shown: serial numbers and addresses are not for the public.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined

from lichtmast.api import limits
from lichtmast.api.catalogue import Catalogue
from lichtmast.api.chart import HOUR_US, Chart, chart_of
from lichtmast.api.live import latest_of
from lichtmast.api.overview import Overview, Standing, State
from lichtmast.api.presentation import (
    Display,
    Moment,
    day_text,
    display_of,
    moment,
    number_text,
    quantity_text,
    value_text,
)
from lichtmast.api.problem import absent
from lichtmast.api.settings import ApiSettings
from lichtmast.api.sta.observations import observations_of
from lichtmast.api.static_files import StaticAssets
from lichtmast.api.texts import SCRIPT_KEYS, TEXTS, Language
from lichtmast.registry.records import AssetRecord, DatastreamRecord
from lichtmast.store.port import ObservationStore
from lichtmast.wire.quality import DOUBTFUL

DAY_US: Final = 24 * HOUR_US


@dataclass(frozen=True, slots=True)
class Row:
    """One datastream on a page, with its last reading where there is one."""

    datastream: DatastreamRecord
    name: str
    display: Display
    value: str
    moment: Moment | None
    doubts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Post:
    """One lamppost in the list."""

    asset: AssetRecord
    state: State
    last: Moment | None
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class HourRow:
    """One hour of one datastream in a table."""

    label: str
    count: str
    mean: str
    lowest: str
    highest: str


@dataclass(frozen=True, slots=True)
class Day:
    """The last 24 hours of one datastream: a drawing, a sentence that says the same, and a table."""

    row: Row
    chart: Chart | None
    summary: str
    hours: Sequence[HourRow]


class Pages:
    """Renders pages; one for the whole program."""

    def __init__(self, store: ObservationStore, settings: ApiSettings, assets: StaticAssets) -> None:
        self._store = store
        self._settings = settings
        self._assets = assets
        self._templates = Environment(
            loader=PackageLoader("lichtmast.api"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def home(self, catalogue: Catalogue, overview: Overview, language: Language, search: str, page: int) -> str:
        """The list of lampposts, with the map beside it."""
        found = _found(catalogue, search.casefold())
        pages = max(1, -(-len(found) // limits.LIST_PAGE_LENGTH))
        if not 1 <= page <= pages:
            raise absent(f"There is no page {page}; there are {pages}.")
        start = (page - 1) * limits.LIST_PAGE_LENGTH
        shown = found[start : start + limits.LIST_PAGE_LENGTH]
        rows = self._rows(catalogue, [one for asset in shown for one in catalogue.datastreams_of(asset.id)], language)
        posts = [
            Post(
                asset,
                (standing := overview.standings.get(asset.id, Standing(State.NEVER, None))).state,
                None if standing.last_us is None else moment(standing.last_us, language),
                [rows[one.id] for one in catalogue.datastreams_of(asset.id)],
            )
            for asset in shown
        ]
        asked = {"search": search} if search else {}
        return self._render(
            "home.html",
            language,
            other_query=urlencode({"lang": _other(language), **asked}),
            posts=posts,
            search=search,
            total=len(catalogue.standing),
            found=len(found),
            page=page,
            pages=pages,
            page_query=lambda number: urlencode({"lang": language, **asked, "page": number}),
            counts=overview.counts,
        )

    def thing(self, catalogue: Catalogue, overview: Overview, language: Language, thing_id: int) -> str:
        """One lamppost: what hangs there, what it measures now, and the last 24 hours."""
        asset = catalogue.assets.get(thing_id)
        if asset is None:
            raise absent("There is no lamppost with this id.")
        datastreams = catalogue.datastreams_of(thing_id)
        rows = self._rows(catalogue, datastreams, language)
        standing = overview.standings.get(thing_id, Standing(State.NEVER, None))
        since = overview.at_us - DAY_US
        days = [self._day(rows[one.id], since, overview.at_us, language) for one in datastreams]
        return self._render(
            "thing.html",
            language,
            other_query=urlencode({"lang": _other(language)}),
            asset=asset,
            state=standing.state,
            last=None if standing.last_us is None else moment(standing.last_us, language),
            rows=[rows[one.id] for one in datastreams],
            days=[day for day in days if day.hours],
            recent=self._recent(datastreams, rows, since, language),
            models=sorted({model.name for one in datastreams if (model := catalogue.sensors.get(one.sensor_id))}),
            ended=None if asset.valid_to is None else day_text(asset.valid_to, language),
            since=None if asset.valid_from is None else day_text(asset.valid_from, language),
        )

    def card(self, catalogue: Catalogue, overview: Overview, language: Language, thing_id: int) -> dict[str, Any]:
        """What the map shows in a popup, as plain text fields."""
        asset = catalogue.assets.get(thing_id)
        if asset is None:
            raise absent("There is no lamppost with this id.")
        standing = overview.standings.get(thing_id, Standing(State.NEVER, None))
        datastreams = catalogue.datastreams_of(thing_id)
        rows = self._rows(catalogue, datastreams, language)
        return {
            "id": thing_id,
            "name": asset.name,
            "state": standing.state,
            "last": None if standing.last_us is None else moment(standing.last_us, language).iso,
            "readings": [{"name": rows[one.id].name, "value": rows[one.id].value} for one in datastreams],
        }

    def failure(self, status: int, language: Language, detail: str) -> str:
        """An error for people."""
        return self._render(
            "failure.html", language, other_query="lang=" + _other(language), status=status, detail=detail
        )

    def _render(self, name: str, language: Language, **values: object) -> str:
        texts = TEXTS[language]
        return self._templates.get_template(name).render(
            language=language,
            other=_other(language),
            texts=texts,
            script_texts={key: texts[key] for key in SCRIPT_KEYS},
            assets=self._assets,
            settings=self._settings,
            number=lambda value: number_text(value, 0, language),
            **values,
        )

    def _rows(
        self, catalogue: Catalogue, datastreams: Sequence[DatastreamRecord], language: Language
    ) -> Mapping[int, Row]:
        keys = [one.id for one in datastreams]
        latest = {one.datastream_id: one for one in latest_of(self._store.latest(keys))} if keys else {}
        rows: dict[int, Row] = {}
        for one in datastreams:
            quantity = catalogue.observed_properties.get(one.observed_property_id)
            name = "" if quantity is None else quantity.name
            display = display_of(name, one.unit)
            found = latest.get(one.id)
            rows[one.id] = Row(
                one,
                quantity_text(one, name, language),
                display,
                value_text(None if found is None else found.value, one.kind, display, language),
                None if found is None else moment(found.time_us, language),
                () if found is None else _doubts(found.quality, language),
            )
        return rows

    def _day(self, row: Row, start_us: int, end_us: int, language: Language) -> Day:
        key, kind = row.datastream.id, row.datastream.kind
        table = self._store.aggregate(key, start_us, end_us + 1, HOUR_US)
        share = Display("%", 100.0, 0)
        display = share if kind == "boolean" else row.display

        def shown(value: float) -> str:
            return value_text(value, "number", display, language)

        columns = (table.column(name).to_pylist() for name in ("bucket", "count", "mean", "minimum", "maximum"))
        found = [one for one in zip(*columns, strict=True) if one[2] is not None]
        hours = [
            HourRow(
                moment(start, language).clock[:5], number_text(count, 0, language), shown(mean), shown(low), shown(high)
            )
            for start, count, mean, low, high in reversed(found)
        ]
        if not hours:
            return Day(row, None, "", ())
        summary = TEXTS[language]["chart_summary"].format(
            quantity=row.name, lowest=shown(min(one[3] for one in found)), highest=shown(max(one[4] for one in found))
        )
        return Day(row, chart_of(self._store, key, start_us, end_us), summary, hours)

    def _recent(
        self, datastreams: Sequence[DatastreamRecord], rows: Mapping[int, Row], since_us: int, language: Language
    ) -> list[tuple[Moment, Row, str, tuple[str, ...]]]:
        if not datastreams:
            return []
        kinds = {one.id: one.kind for one in datastreams}
        table = self._store.range(
            sorted(kinds), since_us, since_us + 2 * DAY_US, limit=limits.LAST_READINGS, descending=True
        )
        return [
            (
                moment(one.time_us, language),
                rows[one.datastream_id],
                value_text(one.result, kinds[one.datastream_id], rows[one.datastream_id].display, language),
                _doubts(one.quality, language),
            )
            for one in observations_of(table, frozenset())
        ]


def _found(catalogue: Catalogue, phrase: str) -> Sequence[AssetRecord]:
    """What holds all the words, what is called just so first."""
    words = phrase.split()
    if not words:
        return catalogue.standing
    found = [
        one for one in catalogue.standing if all(word in f"{one.name} {one.source_id}".casefold() for word in words)
    ]
    return sorted(found, key=lambda one: phrase not in one.name.casefold())


def _doubts(quality: int, language: Language) -> tuple[str, ...]:
    return tuple(TEXTS[language][f"doubt_{flag.name}".lower()] for flag in DOUBTFUL if quality & flag)


def _other(language: Language) -> Language:
    return "en" if language == "nl" else "nl"
