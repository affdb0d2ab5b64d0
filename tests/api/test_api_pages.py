"""The pages as people read them, without JavaScript: what is there, in both languages, and when it changes."""

import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import httpx2
import pyarrow as pa
import pytest

from lichtmast.api import limits
from lichtmast.api.catalogue import natural
from lichtmast.api.chart import chart_of
from lichtmast.api.overview import State, judge
from lichtmast.api.presentation import display_of, moment, number_text, value_text
from lichtmast.api.static_files import StaticAssets, find_assets
from lichtmast.api.texts import QUANTITIES_NL, SCRIPT_KEYS, TEXTS
from lichtmast.store.memory import MemoryStore
from lichtmast.store.port import LEDGER_SCHEMA, OBSERVATION_SCHEMA, QUARANTINE_SCHEMA, Batch, ObservationStore
from lichtmast.wire.profile import load_profiles
from lichtmast.wire.quality import DOUBTFUL
from lichtmast.wire.topics import READINGS_STREAM

Get = Callable[..., httpx2.Response]
NOW_US = 1_795_293_000_000_000
TEMPLATES = Path(__file__).parents[2] / "api" / "src" / "lichtmast" / "api"


class Town(Protocol):
    """The part of the fixture that these tests read."""

    store: ObservationStore
    things: Sequence[int]
    series: dict[int, tuple[int, ...]]


class Outline(HTMLParser):
    """What a page is made of: tags with attributes, ids and headings."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_list_shows_every_lamppost_with_state_and_last_readings(get: Get, town: Town) -> None:
    page = get("/").text
    assert '<html lang="nl">' in page
    assert page.count('<li class="post"') == 8
    assert page.count('class="value"') == sum(len(one) for one in town.series.values())
    states = re.findall(r'class="state (\w+)" data-state-of="(\d)"', page)
    assert {thing: state for state, thing in states} == {
        **dict.fromkeys("1234", "fresh"),
        "5": "silent",
        "6": "doubtful",
        "7": "never",
        "8": "never",
    }
    assert "21,0\N{NO-BREAK SPACE}°C" in page
    assert "Hier hangt nog geen sensor." in page
    assert "buiten het verwachte bereik" in page


def test_english_is_one_parameter_away_and_stays_in_every_link(get: Get) -> None:
    page = get("/?lang=en").text
    assert '<html lang="en">' in page
    assert "What do the lampposts measure?" in page
    assert "21.0\N{NO-BREAK SPACE}°C" in page
    own = [tag["href"] or "" for name, tag in Outline(page).tags if name == "a" and (tag["href"] or "").startswith("/")]
    assert all("lang=en" in link for link in own if link != "/v1.1")


def test_search_finds_by_name_and_by_number_in_the_register(get: Get) -> None:
    # Lamppost 4 has a 3 in its number in the register; the one that is called so comes first.
    assert re.findall(r'data-thing="(\d)"', get("/?search=straat+3").text) == ["3", "4"]
    assert re.findall(r'data-thing="(\d)"', get("/?search=P0004").text) == ["5"]


def test_long_lists_come_in_pages(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LIST_PAGE_LENGTH", 3)
    first, last = get("/").text, get("/?page=3").text
    assert "Pagina 1 van 3" in first
    assert 'rel="next" href="/?lang=nl&amp;page=2"' in first
    assert 'rel="prev"' not in first
    assert last.count('<li class="post"') == 2
    assert 'rel="next"' not in last


def test_the_asset_page_answers_what_that_box_does(get: Get) -> None:
    page = get("/things/1").text
    assert "Wat doet dat kastje aan die lantaarnpaal?" in page
    assert "<h1>Kerkstraat 1</h1>" in page
    assert page.count('class="day"') == 7
    assert page.count('<svg class="chart"') == 7
    assert page.count("<tbody>") == 8
    assert "Gemiddeld" in page
    assert 'href="/v1.1/Things(1)?' in page
    assert "lm-000" not in page


def test_the_asset_page_of_a_lamppost_without_readings_says_so(get: Get) -> None:
    assert "In de laatste 24 uur is niets binnengekomen." in get("/things/7").text
    assert "Hier hangt nog geen sensor." in get("/things/8").text


def test_the_link_to_open_data_works(get: Get) -> None:
    link = re.search(r'href="(/v1\.1/Things\(1\)[^"]+)"', get("/things/1").text)
    assert link is not None
    assert len(get(link[1]).json()["Datastreams"]) == 7


def test_the_map_holds_what_stands_with_its_state(get: Get) -> None:
    response = get("/map.geojson")
    assert response.headers["content-type"] == "application/geo+json"
    town = response.json()
    assert (town["numberMatched"], town["numberReturned"]) == (8, 8)
    fifth = next(one for one in town["features"] if one["id"] == 5)
    assert fifth["properties"] == {"name": "Kerkstraat 5", "state": "silent", "last": "2026-11-21T19:30:00Z"}
    assert fifth["geometry"] == {"type": "Point", "coordinates": [5.1728, 52.22]}


def test_a_card_is_text_for_the_map(get: Get) -> None:
    card = get("/things/2/card.json").json()
    assert card["name"] == "<img src=x onerror=alert(1)>"
    assert {"name": "Stand van de lamp", "value": "2.100\N{NO-BREAK SPACE}%"} in card["readings"]


@pytest.mark.parametrize("path", ["/", "/?lang=en", "/things/1", "/things/8", "/?search=nothing"])
def test_pages_are_sound_for_assistive_tools_and_a_strict_policy(get: Get, path: str) -> None:
    tags = Outline(get(path).text).tags
    names = [name for name, _ in tags]
    assert names.count("h1") == 1
    levels = [int(name[1]) for name in names if re.fullmatch("h[1-6]", name)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    identifiers = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    for name, attributes in tags:
        assert not [key for key in attributes if key == "style" or key.startswith("on")]
        if name == "script":
            assert attributes.get("type") == "application/json" or attributes.get("src")
        if name == "svg":
            assert attributes.get("aria-hidden") == "true" or attributes.get("aria-label")
        for reference in (attributes.get("src"), attributes.get("href")):
            assert not (reference or "").startswith(("http:", "https:", "//", "javascript:"))
        for reference in (attributes.get("aria-labelledby"), attributes.get("for")):
            assert reference is None or reference in identifiers


def test_pages_work_and_tell_how_to_build_where_the_scripts_are_missing(
    get_with: Callable[..., Get], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lichtmast.api.app.find_assets", lambda: StaticAssets({}))
    page = get_with()("/").text
    assert "npm run build" in page
    assert page.count('<li class="post"') == 8
    assert "<script type=" in page
    assert 'src="' not in page


def test_built_files_are_named_by_content_and_kept_for_good(get: Get) -> None:
    assets = find_assets()
    if not assets.built:
        pytest.skip("web assets are not built: npm ci && npm run build in api/web")
    for name in ("site.css", "live.js", "map.js", "map.css", "worker.js", "lamp.svg"):
        response = get(assets.address(name))
        assert response.status_code == 200
        assert re.search(r"-[0-9a-f]{10}\.\w+$", assets.address(name))
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert get(assets.address(name), headers={"Range": "bytes=" + ",".join(["0-0"] * 900)}).status_code in {
            200,
            206,
            416,
            400,
        }


def test_both_languages_have_the_same_words_and_pages_use_each_of_them() -> None:
    assert TEXTS["nl"].keys() == TEXTS["en"].keys()
    sources = "".join(
        file.read_text("utf-8") for file in [*TEMPLATES.glob("templates/*.html"), *TEMPLATES.glob("p*.py")]
    )
    made = {f"{state}{why}" for state in State for why in ("", "_why")}
    made |= {f"doubt_{flag.name}".lower() for flag in DOUBTFUL}
    unused = [key for key in TEXTS["nl"] if not re.search(rf"\b{key}\b", sources) and key not in {*made, *SCRIPT_KEYS}]
    assert unused == []
    for key, text in TEXTS["nl"].items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", TEXTS["en"][key]))


def test_every_quantity_of_a_profile_has_a_dutch_word() -> None:
    measured = {one.quantity for profile in load_profiles().values() for one in profile.uplinks}
    assert measured - QUANTITIES_NL.keys() == set()


@pytest.mark.parametrize(
    ("value", "decimals", "dutch", "english"),
    [
        (1234.5, 1, "1.234,5", "1,234.5"),
        (-0.04, 1, "0,0", "0.0"),
        (-1234567.891, 2, "-1.234.567,89", "-1,234,567.89"),
        (0.5, 0, "0", "0"),
    ],
)
def test_numbers_read_as_each_language_writes_them(value: float, decimals: int, dutch: str, english: str) -> None:
    assert number_text(value, decimals, "nl") == dutch
    assert number_text(value, decimals, "en") == english


def test_values_are_shown_in_units_of_the_street_and_unknown_units_as_they_are() -> None:
    assert value_text(1.2e-8, "number", display_of("PM10", "kg/m3"), "nl") == "12,0\N{NO-BREAK SPACE}µg/m³"
    assert value_text(4.2e-4, "number", display_of("Carbon dioxide", "/"), "nl") == "420\N{NO-BREAK SPACE}ppm"
    assert value_text(3.0, "number", display_of("Flux", "W/m2"), "en") == "3.000\N{NO-BREAK SPACE}W/m2"
    assert value_text(1.0, "boolean", display_of("Occupancy", None), "nl") == "ja"
    assert value_text("<b>", "text", display_of("x", None), "nl") == "<b>"
    assert value_text(None, "number", display_of("x", None), "nl") == "\N{EN DASH}"


def test_times_are_dutch_time_in_summer_and_winter() -> None:
    assert moment(NOW_US, "nl").full == "21 november 2026 21:30:00"
    assert moment(NOW_US - 150 * 86_400_000_000, "en").full == "24 June 2026 22:30:00"


def test_three_missed_intervals_make_a_lamppost_silent_at_n_and_n_plus_one() -> None:
    at = NOW_US - 3 * 60 * 1_000_000
    assert judge({60.0: (at, False)}, NOW_US).state is State.FRESH
    assert judge({60.0: (at - 1, False)}, NOW_US).state is State.SILENT
    assert judge({60.0: (at - 1, False), 600.0: (at - 1, True)}, NOW_US).state is State.DOUBTFUL
    assert judge({}, NOW_US).state is State.NEVER


def test_names_sort_as_people_count() -> None:
    names = ["mast 10", "Mast 9", "mast 9a", "9", "mast"]
    assert sorted(names, key=natural) == ["9", "mast", "Mast 9", "mast 9a", "mast 10"]


def test_a_chart_draws_gaps_as_gaps_and_nothing_as_nothing() -> None:
    store = MemoryStore()
    since = NOW_US - 86_400_000_000
    assert chart_of(store, 1, since, NOW_US) is None
    # Three quarters with readings, an hour without, one more quarter.
    times = [NOW_US - quarter * 900_000_000 for quarter in (9, 8, 7, 2)]
    table = pa.Table.from_pylist(
        [
            {"datastream_id": 1, "phenomenon_time": at, "result": float(at % 7), "quality": 0, "result_time": at}
            for at in times
        ],
        schema=OBSERVATION_SCHEMA,
    )
    store.commit(Batch(table, LEDGER_SCHEMA.empty_table(), QUARANTINE_SCHEMA.empty_table(), READINGS_STREAM, 1))
    chart = chart_of(store, 1, since, NOW_US)
    assert chart is not None
    assert [part.count("L") for part in chart.line.split("M")[1:]] == [2, 1]
    assert [part.count("L") for part in chart.band.split("M")[1:]] == [5, 3]
