"""GeoJSON and CSV: what cities and lighting systems export, sound and unsound (security reference B4, row 90)."""

import json
import tracemalloc
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from lichtmast.registry import ImportReport, Registry, import_source
from lichtmast.registry.limits import (
    IMPORT_COLUMNS_MAX,
    IMPORT_FEATURE_EVENTS_MAX,
    IMPORT_FIELD_CHARACTERS_MAX,
    IMPORT_JSON_DEPTH_MAX,
    REPORT_PROBLEMS_MAX,
)

Import = Callable[..., ImportReport]


def feature(number: object = 1, coordinates: object = (5.1185, 52.1099), **properties: object) -> dict[str, object]:
    return {
        "type": "Feature",
        "properties": {"STRAAT": "Kerkstraat", "MASTNUMMER": number, "MASTLENGTE": "7", "BUURT": "03.11"} | properties,
        "geometry": {"type": "Point", "coordinates": coordinates},
    }


def collection(*features: object, **members: object) -> str:
    return json.dumps({"type": "FeatureCollection", **members, "features": features}, ensure_ascii=False)


HEADER = "straat;nummer;lengte;x;y\n"
ROW = "Kerkstraat;1;7,5;140124,785;466656,918\n"


@pytest.mark.slow
def test_real_lampposts_of_utrecht(registry: Registry, shared_file: Callable[[str], Path]) -> None:
    registry.ensure_tenant("gm0344")
    source = import_source("geojson", shared_file("utrecht_mastoverzicht.geojson"))
    steps: list[tuple[int, int | None]] = []
    real = registry.import_assets(
        "gm0344", source, dry_run=False, progress=lambda done, total: steps.append((done, total))
    )
    revision = registry.revision()
    again = registry.import_assets("gm0344", source, dry_run=False)
    for report in (real, again):
        assert (report.assets, report.active, report.ended, report.error_counts) == (9793, 9793, 0, {})
        assert report.warning_counts == {"encoding_assumed": 1, "unknown_length": 67}
        assert report.detected["encoding"] == "cp1252"
    assert (real.added, again.added, again.updated, again.unchanged) == (9793, 0, 0, 9793)
    assert registry.revision() == revision
    assert registry.things("gm0344", search="Thomas à Kempisplantsoen")
    everything = registry.things("gm0344", limit=10_000)
    assert sum("mastlengteM" not in one.properties for one in everything) == 67
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]


def test_feature_becomes_a_named_asset_with_its_source_coordinates(registry: Registry, import_file: Import) -> None:
    text = collection(feature(), KLEUR="x").replace("5.1185", "5.118500")
    assert import_file("geojson", text).committed
    (thing,) = registry.things()
    assert (thing.name, thing.source_id) == ("Lichtmast 1 Kerkstraat", "mast:Kerkstraat/1")
    assert (thing.source_crs, thing.source_x, thing.source_y) == ("OGC:CRS84", "5.118500", "52.1099")
    assert thing.properties == {"straat": "Kerkstraat", "mastnummer": "1", "mastlengteM": 7.0, "buurt": "03.11"}


def test_unknown_fields_are_kept_as_the_source_has_them(registry: Registry, import_file: Import) -> None:
    import_file("geojson", collection(feature(RAL=7016, armatuur="LED", leeg=None, dim=True)))
    assert registry.things()[0].properties["source"] == {"RAL": "7016", "armatuur": "LED", "dim": "true"}


@pytest.mark.parametrize(
    "crs", ["EPSG:28992", "urn:ogc:def:crs:EPSG::28992", "http://www.opengis.net/def/crs/EPSG/0/28992"]
)
def test_older_geojson_in_rd_is_transformed(registry: Registry, import_file: Import, crs: str) -> None:
    named = {"type": "name", "properties": {"name": crs}}
    assert import_file("geojson", collection(feature(coordinates=(140124.785, 466656.918)), crs=named)).committed
    (thing,) = registry.things()
    assert (thing.longitude, thing.latitude) == pytest.approx((5.169679, 52.187841), abs=1e-6)
    assert (thing.source_crs, thing.source_x) == ("EPSG:28992", "140124.785")


def test_feature_id_is_used_where_there_is_no_street(registry: Registry, import_file: Import) -> None:
    bare = {"type": "Feature", "id": 77, "properties": {}, "geometry": {"type": "Point", "coordinates": [5.1, 52.1]}}
    assert import_file("geojson", collection(bare)).committed
    assert (registry.things()[0].source_id, registry.things()[0].name) == ("id:77", "Lichtmast 77")


@pytest.mark.parametrize(
    ("text", "reason", "row"),
    [
        pytest.param("[]", "wrong_kind", 1, id="a list"),
        pytest.param("{}", "wrong_kind", None, id="an object"),
        pytest.param('{"type": "FeatureCollection", "features": {}}', "wrong_kind", 1, id="features no list"),
        pytest.param(json.dumps(feature()), "wrong_kind", None, id="one feature"),
        pytest.param(collection(feature(), "x"), "wrong_kind", 2, id="item no feature"),
        pytest.param(collection(feature(), feature(2))[:-60], "truncated", 2, id="half file"),
        pytest.param(collection(feature()) + "x", "malformed", 2, id="text behind"),
        pytest.param(collection(feature()).replace(":", "=", 1), "malformed", 1, id="no JSON"),
        pytest.param(collection(feature()).replace("5.1185", "NaN"), "malformed", 1, id="NaN"),
        pytest.param(collection(feature()).replace('"BUURT"', '"STRAAT"'), "malformed", 1, id="key twice"),
        pytest.param(collection(feature(deep=[[[[0]]]] * 900)), "too_large", 1, id="huge feature"),
        pytest.param(collection(feature(STRAAT="x" * (IMPORT_FIELD_CHARACTERS_MAX + 1))), "too_large", 1, id="text"),
        pytest.param("[" * 100_000, "wrong_kind", 1, id="brackets"),
        pytest.param('{"a":' * 100_000, "too_large", 1, id="nested objects"),
        pytest.param(collection(feature(coordinates=(52.1099, 5.1185))), "swapped_axes", 1, id="axes"),
        pytest.param(collection(feature(coordinates=(0, 0))), "zero_coordinate", 1, id="zero"),
        pytest.param(collection(feature(coordinates=(-5.1, 52.1))), "outside_netherlands", 1, id="at sea"),
        pytest.param(collection(feature(coordinates=(140124.7, 466656.9))), "outside_netherlands", 1, id="RD unsaid"),
        pytest.param(collection(feature(coordinates=(5.1,))), "not_a_point", 1, id="one number"),
        pytest.param(collection(feature(coordinates=(True, 52.1))), "not_a_point", 1, id="a truth value"),
        pytest.param(collection(feature(coordinates=("5.1", "52.1"))), "not_a_point", 1, id="texts"),
        pytest.param(collection(feature() | {"geometry": None}), "not_a_point", 1, id="no geometry"),
        pytest.param(collection(feature(), feature(coordinates=(5.2, 52.1))), "duplicate_id", 2, id="id twice"),
        pytest.param(collection(feature(), feature()), "duplicate_id", 2, id="feature twice"),
        pytest.param(collection(feature(STRAAT="", MASTNUMMER="")), "missing_value", 1, id="no street"),
        pytest.param(collection(feature(STRAAT="Kerk\u202estraat")), "bad_text", 1, id="text that turns round"),
        pytest.param(collection(feature(STRAAT="Kerk\x00straat")), "bad_text", 1, id="escaped NUL"),
        pytest.param(collection(feature(STRAAT="x" * 300)), "too_large", 1, id="long name"),
        pytest.param(
            collection(feature(), crs={"type": "name", "properties": {"name": "EPSG:3857"}}), "unknown_crs", 1, id="crs"
        ),
        pytest.param(
            '{"type": "FeatureCollection", "features": [], "crs": {"properties": {"name": "EPSG:28992"}}}',
            "unknown_crs",
            1,
            id="crs too late",
        ),
    ],
)
def test_bad_geojson_is_refused_as_a_whole_with_its_feature(
    registry: Registry, import_file: Import, text: str, reason: str, row: int | None
) -> None:
    report = import_file("geojson", text)
    assert [(problem.reason, problem.row) for problem in report.errors] == [(reason, row)]
    assert not report.committed
    assert registry.counts().assets == 0


def test_feature_at_the_limit_of_tokens_is_read(import_file: Import) -> None:
    room = IMPORT_FEATURE_EVENTS_MAX - len(collection(feature())) // 4
    assert import_file("geojson", collection(feature(list=[0] * (room - 50)))).committed


@pytest.mark.parametrize(("depth", "committed"), [(IMPORT_JSON_DEPTH_MAX, True), (IMPORT_JSON_DEPTH_MAX + 1, False)])
def test_nesting_is_read_up_to_its_limit(import_file: Import, depth: int, *, committed: bool) -> None:
    nested = "[" * depth + "]" * depth
    assert import_file("geojson", collection(feature(), about="NEST").replace('"NEST"', nested)).committed == committed


def test_dutch_csv_with_decimal_commas_in_rd(registry: Registry, import_file: Import) -> None:
    report = import_file("csv", HEADER + ROW + "Kerkstraat;2;0;140.130,5;466.660,25\n")
    assert report.warning_counts == {"unknown_length": 1}
    assert (report.detected["delimiter"], report.detected["crs"]) == ("semicolon", "EPSG:28992")
    first, second = registry.things()
    assert (first.longitude, first.latitude) == pytest.approx((5.169679, 52.187841), abs=1e-6)
    assert (first.source_x, first.properties["mastlengteM"]) == ("140124,785", 7.5)
    assert (second.source_x, "mastlengteM" in second.properties) == ("140.130,5", False)


def test_english_csv_with_commas_and_quotes_in_degrees(registry: Registry, import_file: Import) -> None:
    text = 'id,name,longitude,latitude,placed\r\nA-1,"Mast ""7"", Square",5.17,52.22,2020-03-01\r\n\r\n'
    assert import_file("csv", text).committed
    (thing,) = registry.things()
    assert (thing.source_id, thing.name, thing.valid_from) == ("id:A-1", 'Mast "7", Square', date(2020, 3, 1))


@pytest.mark.parametrize(
    ("encoding", "told", "warned"),
    [
        ("utf-8", "utf-8", False),
        ("utf-8-sig", "utf-8", False),
        ("utf-16", "utf-16", False),
        ("cp1252", "cp1252", True),
    ],
)
def test_encoding_is_proven_or_told_as_an_assumption(
    registry: Registry, import_file: Import, encoding: str, told: str, *, warned: bool
) -> None:
    report = import_file("csv", (HEADER + ROW.replace("Kerk", "Prinses Irène ")).encode(encoding))
    assert (report.committed, report.detected["encoding"]) == (True, told)
    assert ("encoding_assumed" in report.warning_counts) == warned
    assert registry.things()[0].properties["straat"] == "Prinses Irène straat"


def test_tab_separated_sheet_is_read(import_file: Import) -> None:
    report = import_file("csv", (HEADER + ROW).replace(";", "\t"))
    assert (report.committed, report.detected["delimiter"]) == (True, "tab")


@pytest.mark.parametrize(
    ("content", "reason", "row"),
    [
        pytest.param(b"", "empty_file", None, id="empty"),
        pytest.param(b"PK\x03\x04" + b"x" * 99, "not_text", None, id="xlsx or zip bomb"),
        pytest.param(b"\xd0\xcf\x11\xe0" + b"x" * 99, "not_text", None, id="xls"),
        pytest.param(b"\x1f\x8b\x08", "not_text", None, id="gzip"),
        pytest.param((HEADER + ROW).encode() + b"Dorp\x00straat;1;7;1;2", "nul_byte", 3, id="NUL"),
        pytest.param((HEADER + ROW + "Café").encode()[:-1], "truncated", 3, id="cut in a character"),
        pytest.param(bytes(range(0x80, 0x100)) * 4, "undecodable", None, id="no known encoding"),
        pytest.param(HEADER + ROW + "Kerkstraat;2;7;1401", "wrong_column_count", 3, id="half file"),
        pytest.param(HEADER + ROW + '"Kerkstraat;2;7;140000;466000\n' + ROW, "unbalanced_quote", 3, id="quote"),
        pytest.param(HEADER + ROW + '"Kerk"straat;2;7;140000;466000\n', "unbalanced_quote", 3, id="after the quote"),
        pytest.param(HEADER + ROW + "Kerkstraat;2;7;140000;466000;9\n", "wrong_column_count", 3, id="too many"),
        pytest.param("straat;nummer;lengte\n" + ROW, "missing_column", 1, id="no place"),
        pytest.param("lengte;x;y\n7;140000;466000\n", "missing_column", 1, id="no identity"),
        pytest.param("straat;x;y\nKerkstraat;140000;466000\n", "missing_column", 1, id="no number"),
        pytest.param("Kerkstraat;1;7;140000;466000\n", "missing_column", 1, id="no header"),
        pytest.param("straat;nummer;x;y;x\n", "double_column", 1, id="column twice"),
        pytest.param(";".join(f"c{n}" for n in range(IMPORT_COLUMNS_MAX + 1)), "missing_column", 1, id="columns"),
        pytest.param(HEADER + ROW + "Kerkstraat;2;7;466656,9;140124,7\n", "swapped_axes", 3, id="axes"),
        pytest.param("id;lon;lat\nA;52,1;5,1\n", "swapped_axes", 2, id="lat and lon"),
        pytest.param("id;lon;lat\nA;140124,7;466656,9\n", "outside_netherlands", 2, id="RD in degrees"),
        pytest.param(HEADER + "Kerkstraat;2;7;0;0\n", "zero_coordinate", 2, id="zero"),
        pytest.param(HEADER + "Kerkstraat;2;7;;\n", "bad_coordinate", 2, id="no coordinates"),
        pytest.param(HEADER + "Kerkstraat;2;7;1e999;466656\n", "bad_coordinate", 2, id="1e999"),
        pytest.param(HEADER + "Kerkstraat;2;7;١٤٠١٢٤;466656\n", "bad_coordinate", 2, id="other digits"),
        pytest.param(HEADER + ROW + "Dorpsweg;1;7;140000;466000\n" + ROW, "duplicate_id", 4, id="id twice"),
        pytest.param(HEADER + ";;7;140000;466000\n", "missing_value", 2, id="no street"),
        pytest.param("id;x;y;einddatum\nA;140000;466000;31-02-2020\n", "bad_date", 2, id="day that is not"),
        pytest.param("id;x;y;einddatum\nA;140000;466000;gisteren\n", "bad_date", 2, id="no date"),
        pytest.param(HEADER + "K" * (IMPORT_FIELD_CHARACTERS_MAX + 1) + ";2;7;1;2\n", "too_large", 2, id="cell"),
        pytest.param(HEADER + "Kerk\x07straat;2;7;140000;466000\n", "bad_text", 2, id="control character"),
    ],
)
def test_bad_csv_is_refused_as_a_whole_with_its_line(
    registry: Registry, import_file: Import, content: str | bytes, reason: str, row: int | None
) -> None:
    report = import_file("csv", content)
    assert [(problem.reason, problem.row) for problem in report.errors] == [(reason, row)]
    assert not report.committed
    assert registry.counts().assets == 0


def test_every_wrong_line_is_named_in_one_run_and_nothing_is_committed(registry: Registry, import_file: Import) -> None:
    before = registry.revision()
    report = import_file("csv", HEADER + ROW + "Kerkstraat;2;7;0;0\nKerkstraat;3;7;x;y\nKerkstraat;;7;140000;466000\n")
    assert [(problem.row, problem.reason) for problem in report.errors] == [
        (3, "zero_coordinate"),
        (4, "bad_coordinate"),
        (5, "missing_value"),
    ]
    assert (report.assets, report.added, report.committed, report.sound) == (1, 1, False, False)
    assert (registry.counts().assets, registry.revision()) == (0, before)


def test_dry_run_reports_what_the_commit_would_and_changes_nothing(registry: Registry, import_file: Import) -> None:
    before = (registry.revision(), registry.counts())
    dry = import_file("csv", HEADER + ROW, dry_run=True).as_json()
    assert (registry.revision(), registry.counts()) == before
    real = import_file("csv", HEADER + ROW).as_json()
    assert dry.pop("dry_run") is True
    assert real.pop("dry_run") is False
    assert (dry.pop("committed"), real.pop("committed")) == (False, True)
    assert dry == real


def test_changed_line_updates_only_its_lamppost(registry: Registry, import_file: Import) -> None:
    second = "Kerkstraat;2;7;140130;466660\n"
    import_file("csv", HEADER + ROW + second)
    before = registry.things()
    report = import_file("csv", HEADER + ROW + second.replace(";7;", ";8;"))
    assert (report.added, report.updated, report.unchanged) == (0, 1, 1)
    after = registry.things()
    assert [one.id for one in after] == [one.id for one in before]
    assert [one.properties["mastlengteM"] for one in after] == [7.5, 8.0]


def test_lamppost_that_a_later_file_leaves_out_stays(registry: Registry, import_file: Import) -> None:
    import_file("csv", HEADER + ROW + "Kerkstraat;2;7;140130;466660\n")
    import_file("csv", HEADER + ROW)
    assert registry.counts().assets_active == 2


def test_formula_cells_are_kept_as_text_and_never_run(registry: Registry, import_file: Import) -> None:
    import_file("csv", HEADER + '"=HYPERLINK(""http://x"")";1;7;140124;466656\n')
    assert registry.things()[0].properties["straat"] == '=HYPERLINK("http://x")'


@pytest.mark.slow
def test_many_problems_are_counted_but_not_all_kept(import_file: Import) -> None:
    lines = [f"Laan {n // 100};{n % 100};7;{'0;0' if n % 4 == 0 else '140124;466656'}" for n in range(2_400)]
    report = import_file("csv", HEADER + "\n".join(lines))
    assert report.error_counts == {"zero_coordinate": 600}
    assert len(report.errors) == REPORT_PROBLEMS_MAX
    assert report.assets == 1_800


def test_json_report_has_the_promised_keys(import_file: Import) -> None:
    report = import_file("csv", HEADER + ROW + "Kerkstraat;2;0;140130;466660\n").as_json()
    assert list(report)[:7] == ["assets", "active", "ended", "updated", "unchanged", "warnings", "errors"]
    assert json.loads(json.dumps(report)) == report
    assert report["warnings"] == [
        {
            "row": 3,
            "reason": "unknown_length",
            "message": "Lichtmast 2 Kerkstraat: length '0' is taken as unknown; fill it in in the source",
        }
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "geojson"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, kind: str) -> None:
    def peak_bytes(rows: int) -> int:
        path = tmp_path / f"{rows}.{kind}"
        if kind == "csv":
            path.write_text("id;lon;lat\n" + "".join(f"A-{n};5,17;52,22\n" for n in range(rows)))
        else:
            path.write_text(collection(*(feature(n) for n in range(rows))))
        tracemalloc.start()
        try:
            found = sum(1 for _ in import_source(kind, path).read(lambda _done, _total: None))
            assert found == rows
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak_bytes(10)  # what is loaded at first use counts for nobody
    assert peak_bytes(4_000) < peak_bytes(500) + 300_000
