"""BGT deliveries: versions, ended records, hostile XML, and importing twice."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from lichtmast.registry import DeviceStatus, ImportReport, Registry, import_source
from lichtmast.registry.limits import IMPORT_XML_DEPTH_MAX
from lichtmast.registry.lookalike import write_bgt
from lichtmast.wire.identity import DeviceId

Import = Callable[..., ImportReport]

HEAD = (
    '<CityModel xmlns="http://www.opengis.net/citygml/2.0" xmlns:gml="http://www.opengis.net/gml"'
    ' xmlns:imgeo="http://www.geostandaarden.nl/imgeo/2.1">'
)
FULL = "2017-11-16T20:35:45.000"


def pole(  # noqa: PLR0913 - one argument for each field that a test varies
    id_: str = "G0402.aa01",
    *,
    since: str = FULL,
    until: str = "",
    published: str = "2017-11-21T10:02:17.000",
    ended: str = "",
    kind: str = "lichtmast",
    holder: str = "G0402",
    pos: str = "140124.785 466656.918",
    crs: str = "urn:ogc:def:crs:EPSG::28992",
    status: str = "bestaand",
) -> str:
    return (
        "<cityObjectMember><imgeo:Paal><creationDate>2017-11-16</creationDate>"
        + (f"<terminationDate>{ended}</terminationDate>" if ended else "")
        + (f"<imgeo:eindRegistratie>{until}</imgeo:eindRegistratie>" if until else "")
        + f"<imgeo:LV-publicatiedatum>{published}</imgeo:LV-publicatiedatum>"
        f"<imgeo:tijdstipRegistratie>{since}</imgeo:tijdstipRegistratie><imgeo:identificatie><imgeo:NEN3610ID>"
        f"<imgeo:namespace>NL.IMGeo</imgeo:namespace><imgeo:lokaalID>{id_}</imgeo:lokaalID></imgeo:NEN3610ID>"
        f"</imgeo:identificatie><imgeo:bronhouder>{holder}</imgeo:bronhouder>"
        f"<imgeo:bgt-status>{status}</imgeo:bgt-status><imgeo:plus-type>{kind}</imgeo:plus-type>"
        f'<imgeo:geometrie2dPaal><gml:Point srsName="{crs}"><gml:pos>{pos}</gml:pos></gml:Point>'
        "</imgeo:geometrie2dPaal></imgeo:Paal></cityObjectMember>"
    )


def gml(*poles: str) -> str:
    return HEAD + "\n".join(poles) + "</CityModel>"


def test_real_delivery_of_hilversum(registry: Registry, shared_file: Callable[[str], Path]) -> None:
    source = import_source("bgt", shared_file("hilversum_bgt/bgt_paal.gml"), tenant="gm0402")
    dry = registry.import_assets("gm0402", source, dry_run=True)
    assert registry.counts().assets == 0
    real = registry.import_assets("gm0402", source, dry_run=False)
    for report in (dry, real):
        assert (report.records, report.assets, report.active, report.ended) == (72, 63, 62, 1)
        assert (report.warning_counts, report.error_counts) == ({}, {})
    (ended,) = [one for one in registry.things(active_only=False) if not one.active]
    assert ended.valid_to == date(2018, 8, 10)
    two_versions = [one for one in registry.things(active_only=False) if len(registry.versions_of(one.id)) == 2]
    assert len(two_versions) == 9
    first = registry.thing_by_source_id("gm0402", "nl-imgeo:G0402.f1702291255c4d998e859ab8298b1786")
    assert first is not None
    assert (first.source_crs, first.source_x, first.source_y) == ("EPSG:28992", "140124.785", "466656.918")
    assert (first.longitude, first.latitude) == pytest.approx((5.169679, 52.187841), abs=1e-6)


def test_look_alike_has_the_shape_of_the_real_delivery(registry: Registry, tmp_path: Path) -> None:
    write_bgt(tmp_path / "a.gml", seed=7)
    write_bgt(tmp_path / "b.gml", seed=7)
    write_bgt(tmp_path / "c.gml", seed=8)
    assert (tmp_path / "a.gml").read_bytes() == (tmp_path / "b.gml").read_bytes()
    assert (tmp_path / "a.gml").read_bytes() != (tmp_path / "c.gml").read_bytes()
    report = registry.import_assets("gm0402", import_source("bgt", tmp_path / "a.gml", tenant="gm0402"), dry_run=False)
    assert (report.records, report.assets, report.active, report.ended) == (72, 63, 62, 1)
    assert (report.warning_counts, report.error_counts, report.committed) == ({}, {}, True)
    assert (tmp_path / "a.gml").read_text().count("eindRegistratie>") == 10 * 2
    everything = registry.things(active_only=False)
    assert sum(len(registry.versions_of(one.id)) == 2 for one in everything) == 9
    places = {(one.longitude, one.latitude) for one in everything}
    assert len(places) == 63
    assert all(5.1 < longitude < 5.25 and 52.18 < latitude < 52.26 for longitude, latitude in places)


@pytest.mark.slow
def test_look_alike_of_other_sizes_and_impossible_ones(registry: Registry, tmp_path: Path) -> None:
    registry.ensure_tenant("gm0344")
    write_bgt(tmp_path / "a.gml", municipality="gm0344", assets=200, twice=3, ended=2)
    report = registry.import_assets("gm0344", import_source("bgt", tmp_path / "a.gml", tenant="gm0344"), dry_run=False)
    assert (report.records, report.assets, report.ended, report.warning_counts) == (203, 200, 2, {})
    with pytest.raises(ValueError, match="twice"):
        write_bgt(tmp_path / "b.gml", assets=3, twice=4)


def test_importing_twice_changes_nothing(registry: Registry, import_file: Import) -> None:
    delivery = gml(pole(until="2019-01-01T00:00:00.000"), pole(since="2019-01-01T00:00:00.000"), pole("G0402.bb"))
    assert import_file("bgt", delivery).added == 2
    before = (registry.revision(), registry.things(), registry.import_runs())
    again = import_file("bgt", delivery)
    assert (again.added, again.updated, again.unchanged, again.committed) == (0, 0, 2, True)
    assert (registry.revision(), registry.things(), registry.import_runs()) == before


def test_latest_record_is_the_asset_and_the_others_are_its_history(registry: Registry, import_file: Import) -> None:
    import_file(
        "bgt",
        gml(
            pole(since="2019-01-01T00:00:00.000", pos="140125.000 466657.000"),  # in no particular order
            pole(until="2019-01-01T00:00:00.000"),
        ),
    )
    (thing,) = registry.things()
    assert thing.source_x == "140125.000"
    assert [(one.registered_from[:4], one.registered_to) for one in registry.versions_of(thing.id)] == [
        ("2017", "2019-01-01T00:00:00.000"),
        ("2019", None),
    ]


def test_newer_delivery_updates_the_asset_and_closes_the_old_record(registry: Registry, import_file: Import) -> None:
    import_file("bgt", gml(pole(), pole("G0402.bb")))
    (before, _) = registry.things()
    report = import_file(
        "bgt",
        gml(
            pole(until="2020-02-02T00:00:00.000"),
            pole(since="2020-02-02T00:00:00.000", pos="140126.000 466656.918"),
            pole("G0402.bb"),
        ),
    )
    assert (report.added, report.updated, report.unchanged) == (0, 1, 1)
    (after, _) = registry.things()
    assert (after.id, after.source_x) == (before.id, "140126.000")
    assert [one.registered_to for one in registry.versions_of(after.id)] == ["2020-02-02T00:00:00.000", None]


def test_older_delivery_never_undoes_a_newer_one(registry: Registry, import_file: Import) -> None:
    newer = gml(pole(until="2020-02-02T00:00:00.000"), pole(since="2020-02-02T00:00:00.000", status="nieuw"))
    import_file("bgt", newer)
    before = registry.things()
    report = import_file("bgt", gml(pole()))
    assert report.warning_counts == {"older_delivery": 1}
    assert (report.updated, registry.things()) == (0, before)
    assert registry.versions_of(before[0].id)[0].registered_to == "2020-02-02T00:00:00.000"


@pytest.mark.parametrize(
    ("end", "day"),
    [({"ended": "2018-08-10"}, date(2018, 8, 10)), ({"until": "2018-09-11T10:00:00.000"}, date(2018, 9, 11))],
)
def test_termination_or_an_ended_last_record_ends_the_asset(
    registry: Registry, import_file: Import, end: dict[str, str], day: date
) -> None:
    report = import_file("bgt", gml(pole(**end)))
    assert (report.assets, report.active, report.ended) == (1, 0, 1)
    assert [one.valid_to for one in registry.things(active_only=False)] == [day]


def test_ended_asset_that_still_carries_a_device_is_told(registry: Registry, import_file: Import) -> None:
    import_file("bgt", gml(pole()))
    registry.register_device(
        DeviceId("gm0402", "lm-0001"),
        "noise",
        asset_id=registry.things()[0].id,
        at_us=1,
        status=DeviceStatus.ACTIVE,
    )
    report = import_file("bgt", gml(pole(ended="2024-05-06")))
    assert report.warning_counts == {"ended_with_device": 1}
    assert report.ended == 1
    assert len(registry.directory().entries["gm0402/lm-0001"].datastream_ids) > 0


def test_poles_that_are_no_lampposts_are_left_out_and_counted(registry: Registry, import_file: Import) -> None:
    report = import_file("bgt", gml(pole(), pole("G0402.bb", kind="vlaggenmast"), pole("G0402.cc", kind="portaal")))
    assert (report.assets, report.warning_counts) == (1, {"not_a_lamppost": 2})
    assert registry.counts().assets == 1


def test_delivery_of_another_municipality_is_noticed(import_file: Import) -> None:
    report = import_file("bgt", gml(pole("G0344.aa", holder="G0344"), pole("P0027.aa", holder="P0027")))
    assert report.warning_counts == {"other_municipality": 1}


def test_same_record_twice_is_read_once(registry: Registry, import_file: Import) -> None:
    report = import_file("bgt", gml(pole(), pole()))
    assert (report.assets, report.warning_counts, report.committed) == (1, {"duplicate_record": 1}, True)
    assert len(registry.versions_of(registry.things()[0].id)) == 1


BOMB = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;">]>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY passwd SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("delivery", "reason", "row"),
    [
        pytest.param(BOMB + gml(pole("&c;")), "forbidden_xml", None, id="entity bomb"),
        pytest.param(OUTSIDE + gml(pole("&passwd;")), "forbidden_xml", None, id="external entity"),
        pytest.param('<!DOCTYPE x SYSTEM "http://[::1]/x.dtd">' + gml(pole()), "forbidden_xml", None, id="dtd"),
        pytest.param(gml(pole("&unknown;")), "malformed", 1, id="undeclared entity"),
        pytest.param(gml(pole(), pole())[:-300], "truncated", 2, id="half file"),
        pytest.param(gml(pole()).removesuffix("</CityModel>"), "truncated", 2, id="last tag missing"),
        pytest.param(gml(pole()).replace("</imgeo:Paal>", "</imgeo:Pand>"), "malformed", 1, id="mismatched tag"),
        pytest.param(gml(pole()) + "<x/>", "malformed", 2, id="second root"),
        pytest.param('<?xml version="1.0" encoding="klingon"?>' + gml(pole()), "malformed", 1, id="encoding"),
        pytest.param("<html><body>404</body></html>", "wrong_kind", None, id="an error page"),
        pytest.param(HEAD + "<a>" * IMPORT_XML_DEPTH_MAX + "</a>" * IMPORT_XML_DEPTH_MAX, "too_large", 1, id="depth"),
        pytest.param(gml(pole("G0402." + "a" * 20_000)), "too_large", 1, id="huge text"),
        pytest.param(
            gml(pole().replace("<imgeo:bronhouder>", "<x/>" * 600 + "<imgeo:bronhouder>")),
            "too_large",
            1,
            id="huge record",
        ),
        pytest.param(gml(pole(""), pole("G0402.bb")), "missing_value", 1, id="no id"),
        pytest.param(gml(pole("../../etc")), "missing_value", 1, id="id that is a path"),
        pytest.param(gml(pole("G0402.bb"), pole(since="yesterday")), "bad_date", 2, id="registration time"),
        pytest.param(gml(pole(until="2019")), "bad_date", 1, id="end of registration"),
        pytest.param(gml(pole(ended="2019-02-30")), "bad_date", 1, id="day that is not"),
        pytest.param(gml(pole(crs="urn:ogc:def:crs:EPSG::4326")), "unknown_crs", 1, id="crs"),
        pytest.param(gml(pole(pos="140124.785")), "not_a_point", 1, id="one number"),
        pytest.param(gml(pole(pos="x y")), "bad_coordinate", 1, id="no numbers"),
        pytest.param(gml(pole(pos="0 0")), "zero_coordinate", 1, id="zero"),
        pytest.param(gml(pole(pos="466656.918 140124.785")), "swapped_axes", 1, id="axes"),
        pytest.param(gml(pole(pos="5.169679 52.187841")), "outside_netherlands", 1, id="degrees"),
        pytest.param(gml(pole(pos="nan inf")), "bad_coordinate", 1, id="nan"),
        pytest.param(gml(pole(), pole(pos="140125.000 466656.918")), "duplicate_id", 2, id="contradicting records"),
    ],
)
def test_bad_delivery_is_refused_as_a_whole_with_its_row(
    registry: Registry, import_file: Import, delivery: str, reason: str, row: int | None
) -> None:
    before = registry.counts()
    report = import_file("bgt", delivery)
    assert [(problem.reason, problem.row) for problem in report.errors] == [(reason, row)]
    assert not report.committed
    assert registry.counts() == before


def test_deepest_allowed_nesting_is_read(import_file: Import) -> None:
    depth = IMPORT_XML_DEPTH_MAX - 1
    assert import_file("bgt", HEAD + "<a>" * depth + "</a>" * depth + pole() + "</CityModel>").committed


@pytest.mark.parametrize("name", ["bgt_pand", "bgt_wegdeel", "bgt_waterdeel", "bgt_openbareruimtelabel"])
def test_other_layers_of_the_base_map_hold_no_lampposts(
    registry: Registry, shared_file: Callable[[str], Path], name: str
) -> None:
    source = import_source("bgt", shared_file(f"hilversum_bgt/{name}.gml"))
    report = registry.import_assets("gm0402", source, dry_run=False)
    assert (report.assets, report.warning_counts, report.error_counts) == (0, {"no_lampposts": 1}, {})
