"""SensorThings 1.1 (18-088): what a client that reads may rely on."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import httpx2
import pytest

from lichtmast.api import limits

ROOT = "http://[::1]:8080/v1.1"
NOW_US = 1_795_293_000_000_000
Get = Callable[..., httpx2.Response]


class Town(Protocol):
    """The part of the fixture that these tests read."""

    things: Sequence[int]
    series: dict[int, tuple[int, ...]]


def json_of(response: httpx2.Response) -> Any:  # noqa: ANN401 - whatever the JSON holds
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


def walk(get: Get, address: str) -> list[dict[str, Any]]:
    """All entities of a set, page after page."""
    found: list[dict[str, Any]] = []
    for _ in range(200):
        page = json_of(get(address.removeprefix("http://[::1]:8080")))
        found += page["value"]
        if "@iot.nextLink" not in page:
            return found
        address = page["@iot.nextLink"]
    raise AssertionError("the pages do not end")


def test_landing_page_names_the_eight_sets_with_absolute_addresses_and_each_answers(get: Get) -> None:
    page = json_of(get("/v1.1"))
    assert [one["name"] for one in page["value"]] == [
        "Things",
        "Locations",
        "HistoricalLocations",
        "Datastreams",
        "Sensors",
        "ObservedProperties",
        "Observations",
        "FeaturesOfInterest",
    ]
    for one in page["value"]:
        assert one["url"] == f"{ROOT}/{one['name']}"
        assert json_of(get(f"/v1.1/{one['name']}"))["value"]


def test_conformance_leaves_out_what_is_served_in_part_or_not_at_all(get: Get) -> None:
    conformance = json_of(get("/v1.1"))["serverSettings"]["conformance"]
    assert "http://www.opengis.net/spec/iot_sensing/1.1/req/request-data/expand" in conformance
    for name in (
        "request-data/filter",
        "request-data/orderby",
        "create-update-delete",
        "multi-datastream",
        "data-array",
    ):
        assert not [one for one in conformance if one.endswith(name)]


def test_a_client_walks_from_a_lamppost_to_its_readings_by_links_alone(get: Get, town: Town) -> None:
    thing = json_of(get("/v1.1/Things"))["value"][0]
    datastreams = walk(get, thing["Datastreams@iot.navigationLink"])
    assert tuple(one["@iot.id"] for one in datastreams) == town.series[thing["@iot.id"]]
    observations = walk(get, datastreams[0]["Observations@iot.navigationLink"] + "?$top=7")
    assert len(observations) == 30
    assert observations[0]["phenomenonTime"] == "2026-11-21T19:03:00Z"
    assert observations[-1]["phenomenonTime"] == "2026-11-21T20:30:00Z"
    assert observations[-1]["resultTime"] == "2026-11-21T20:30:00.25Z"
    assert "resultQuality" not in observations[-1]
    back = json_of(get(observations[0]["Datastream@iot.navigationLink"].removeprefix("http://[::1]:8080")))
    assert back["@iot.id"] == datastreams[0]["@iot.id"]


def test_every_link_on_every_entity_answers(get: Get) -> None:
    for one in json_of(get("/v1.1"))["value"]:
        entity = json_of(get(f"/v1.1/{one['name']}?$top=1"))["value"][0]
        links = [value for name, value in entity.items() if name.endswith("Link")]
        assert len(links) >= 2
        for link in links:
            assert link.startswith(ROOT)
            json_of(get(link.removeprefix("http://[::1]:8080")))


@pytest.mark.parametrize(
    "path",
    [
        "Things(1)/Locations/$ref",
        "Things(1)/Datastreams(1)/Observations",
        "Datastreams(1)/Thing/Locations(1)/HistoricalLocations",
        "Datastreams(1)/Sensor/Datastreams",
        "ObservedProperties(1)/name",
        "Things(1)/properties",
        "FeaturesOfInterest(1)/Observations?$top=2",
        "HistoricalLocations(1)/Thing",
        "Locations(1)/Things",
    ],
)
def test_nested_paths_answer(get: Get, path: str) -> None:
    json_of(get(f"/v1.1/{path}"))


def test_references_hold_self_links_only(get: Get) -> None:
    assert json_of(get("/v1.1/Things/$ref"))["value"][0] == {"@iot.selfLink": f"{ROOT}/Things(1)"}


def test_a_property_is_one_key_and_its_value_is_plain_text(get: Get) -> None:
    assert json_of(get("/v1.1/Things(1)/name")) == {"name": "Kerkstraat 1"}
    raw = get("/v1.1/Things(1)/name/$value")
    assert (raw.text, raw.headers["content-type"]) == ("Kerkstraat 1", "text/plain; charset=utf-8")
    place = get("/v1.1/Locations(1)/location/$value")
    assert place.json()["type"] == "Point"
    key = json_of(get("/v1.1/Datastreams(1)/Observations?$top=1"))["value"][0]["@iot.id"]
    assert get(f"/v1.1/Observations('{key}')/resultQuality").status_code == 204


def test_an_observation_is_found_again_by_its_id(get: Get) -> None:
    observation = json_of(get("/v1.1/Datastreams(2)/Observations?$top=1&$skip=3"))["value"][0]
    assert observation["@iot.id"] == "2-1795288320000000"
    assert json_of(get("/v1.1/Observations('2-1795288320000000')")) == observation
    assert json_of(get("/v1.1/Observations(%272-1795288320000000%27)")) == observation
    assert json_of(get("/v1.1/Observations('2-1795288320000000')/FeatureOfInterest"))["@iot.id"] == 1


@pytest.mark.parametrize(
    "path",
    [
        "Things(9223372036854775807)",
        "Things(99999999999999999999999)",
        "Things(0)",
        "Things(-1)",
        "Things('1')",
        "Nothings",
        "things",
        "Things(1)/Observations",
        "Things(2)/Datastreams(1)",
        "Things/name",
        "Things(1)/name/first",
        "Datastreams(2)/Observations('1-1795289580000000')",
        "Observations('1-0')",
        "Observations('1-001')",
        "Observations('99999999999-1')",
        "Observations(1)",
    ],
)
def test_what_is_not_there_is_404(get: Get, path: str) -> None:
    response = get(f"/v1.1/{path}")
    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")
    assert response.json()["status"] == 404


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("$top=-1", 400),
        ("$top=1.5", 400),
        ("$top=", 400),
        ("$top=1&$top=2", 400),
        ("$skip=a", 400),
        ("$count=yes", 400),
        ("$orderby=name up", 400),
        ("$orderby=nothing", 400),
        ("$select=nothing", 400),
        ("$expand=Observations", 400),
        ("$expand=Datastreams($top=1", 400),
        ("$expand=Datastreams)", 400),
        ("$expand=Datastreams,Datastreams", 400),
        ("$expand=Datastreams($skiptoken=1_1)", 400),
        ("$skiptoken=1_1", 400),
        ("$filter=", 400),
        ("$filter=name eq", 400),
        ("$filter=name eq 'a", 400),
        ("$filter=(name eq 'a'", 400),
        ("$filter=name 'a'", 400),
        ("$filter=nothing eq 1", 400),
        ("$filter=startswith(name)", 400),
        ("$filter=" + "(" * 30 + "id eq 1" + ")" * 30, 400),
        ("$filter=" + "not " * 60 + "id eq 1", 400),
        ("$filter=" + " or ".join(["id eq 1"] * 60), 400),
        ("$filter=id eq 2026-13-45T00:00:00Z", 400),
        ("$filter=id eq 2026-01-01T00:00:00", 400),
        ("%24filter=name eq '%ff'", 400),
        ("$filter=name eq 'a%00'", 400),
        ("$format=xml", 501),
        ("$resultFormat=dataArray", 501),
        ("$filter=id add 1 eq 2", 501),
        ("$filter=year(id) eq 2026", 501),
        ("$filter=Datastreams/name eq 'a'", 501),
        ("$orderby=Datastreams/name", 501),
        ("$select=properties/height", 501),
        ("$expand=Datastreams/Thing/Datastreams/Thing", 501),
    ],
)
def test_broken_options_are_400_and_unserved_ones_501(get: Get, query: str, status: int) -> None:
    response = get(f"/v1.1/Things?{query}")
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert response.json()["detail"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("$filter=result gt 3", 501),
        ("$filter=phenomenonTime ne 2026-11-21T20:00:00Z", 501),
        ("$filter=phenomenonTime gt 2026-11-21T20:00:00Z or phenomenonTime lt 2026-11-21T19:00:00Z", 501),
        ("$filter=phenomenonTime gt 2026-11-21T20:00:00Z/2026-11-21T21:00:00Z", 501),
        ("$orderby=result", 501),
        ("$orderby=phenomenonTime,id", 501),
        ("$skip=100001", 400),
        ("$skiptoken=x", 400),
    ],
)
def test_observations_refuse_what_they_cannot_do_rather_than_ignore_it(get: Get, query: str, status: int) -> None:
    assert get(f"/v1.1/Datastreams(1)/Observations?{query}").status_code == status


@pytest.mark.slow
def test_a_huge_top_is_capped_and_continues_by_next_link(get: Get, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    total = 30 * sum(len(town.series[thing]) for thing in town.things[:6]) + 1
    page = json_of(get("/v1.1/Observations?$top=1000000000&$count=true"))
    assert (page["@iot.count"], len(page["value"])) == (total, total)
    monkeypatch.setattr(limits, "OBSERVATIONS_MAX", 500)
    monkeypatch.setattr(limits, "ENTITIES_MAX", 5)
    assert len(json_of(get("/v1.1/Observations?$top=1000000000"))["value"]) == 500
    assert len(walk(get, f"{ROOT}/Observations?$top=1000000000&$select=id")) == total
    assert len(json_of(get("/v1.1/Things?$top=1000000000"))["value"]) == 5


def test_next_link_is_there_exactly_while_there_is_more(get: Get) -> None:
    assert "@iot.nextLink" not in json_of(get("/v1.1/Things?$top=8"))
    page = json_of(get("/v1.1/Things?$top=7&$select=id&$count=true"))
    assert page["@iot.nextLink"] == f"{ROOT}/Things?$top=7&$select=id&$count=true&$skip=7"
    assert page["@iot.count"] == 8
    last = json_of(get(page["@iot.nextLink"].removeprefix("http://[::1]:8080")))
    assert last["value"] == [{"@iot.id": 8}]
    assert "@iot.nextLink" not in last
    assert "@iot.nextLink" not in json_of(get("/v1.1/Datastreams(1)/Observations?$top=30"))
    assert "@iot.nextLink" in json_of(get("/v1.1/Datastreams(1)/Observations?$top=29"))
    assert json_of(get("/v1.1/Things?$top=0&$count=true")) == {"@iot.count": 8, "value": []}


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("top", [7, 50, 1000])
def test_pages_over_all_series_miss_nothing_and_repeat_nothing(get: Get, direction: str, top: int) -> None:
    whole = walk(get, f"{ROOT}/FeaturesOfInterest(1)/Observations?$top={top}&$orderby=phenomenonTime {direction}")
    keys = [one["@iot.id"] for one in whole]
    assert len(keys) == len(set(keys)) == 30 * 7
    times = [one["phenomenonTime"] for one in whole]
    assert times == sorted(times, reverse=direction == "desc")


@pytest.mark.slow
def test_over_many_series_observations_come_series_by_series_and_none_is_missed(
    get: Get, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = {one["@iot.id"] for one in walk(get, f"{ROOT}/Observations?$top=1000")}
    monkeypatch.setattr(limits, "ORDERED_SERIES_MAX", len([one for of in town.series.values() for one in of]) - 1)
    found = [one["@iot.id"] for one in walk(get, f"{ROOT}/Observations?$top=100")]
    assert len(found) == len(set(found))
    assert set(found) == every
    assert found == sorted(found, key=lambda key: [int(part) for part in key.split("-")])
    assert get("/v1.1/Observations?$orderby=phenomenonTime desc").status_code == 501
    assert get("/v1.1/Datastreams(1)/Observations?$orderby=phenomenonTime desc").status_code == 200


@pytest.mark.parametrize(
    ("expression", "count"),
    [
        ("phenomenonTime ge 2026-11-21T20:27:00Z", 2),
        ("phenomenonTime gt 2026-11-21T20:27:00Z", 1),
        ("phenomenonTime lt 2026-11-21T19:06:00Z", 1),
        ("phenomenonTime le 2026-11-21T19:06:00Z", 2),
        ("phenomenonTime eq 2026-11-21T21:30:00%2B01:00", 1),
        ("2026-11-21T20:27:00.000Z le phenomenonTime", 2),
        ("phenomenonTime ge 2026-11-21T19:00:00Z and phenomenonTime lt 2026-11-21T19:30:00Z", 9),
        ("phenomenonTime gt 2026-11-21T20:00:00Z and phenomenonTime lt 2026-11-21T19:00:00Z", 0),
    ],
)
def test_observations_are_filtered_by_time_as_instants(get: Get, expression: str, count: int) -> None:
    page = json_of(get(f"/v1.1/Datastreams(1)/Observations?$count=true&$filter={expression}"))
    assert page["@iot.count"] == len(page["value"]) == count


@pytest.mark.parametrize(
    ("expression", "ids"),
    [
        ("name eq 'Kerkstraat 3'", [3]),
        ("'Kerkstraat 3' eq name", [3]),
        ("id gt 6", [7, 8]),
        ("@iot.id le 2 or id eq 8", [1, 2, 8]),
        ("not (id lt 8)", [8]),
        ("startswith(name,'Kerk') and endswith(name,' 4')", [4]),
        ("substringof('STRAAT 5',toupper(name))", [5]),
        ("length(name) ne 12", [2]),
        ("properties/status eq 'active' and id lt 2", [1]),
        ("properties/nothing eq 'a'", []),
        ("not (properties/nothing eq 'a')", []),
        ("name gt 3", []),
        ("name eq ''' or 1 eq 1 --'", []),
    ],
)
def test_things_are_filtered_by_what_they_are(get: Get, expression: str, ids: list[int]) -> None:
    found = json_of(get(f"/v1.1/Things?$select=id&$filter={expression.replace(' ', '%20')}"))["value"]
    assert [one["@iot.id"] for one in found] == ids


def test_order_by_takes_several_keys_and_breaks_ties_by_id(get: Get) -> None:
    found = json_of(get("/v1.1/Things?$select=id&$orderby=properties/status,name desc"))["value"]
    assert [one["@iot.id"] for one in found] == [8, 7, 6, 5, 4, 3, 1, 2]
    assert [one["@iot.id"] for one in json_of(get("/v1.1/Things?$select=id&$orderby=id desc&$top=2"))["value"]] == [
        8,
        7,
    ]


def test_select_drops_everything_else_links_too(get: Get) -> None:
    assert json_of(get("/v1.1/Things(3)?$select=name")) == {"name": "Kerkstraat 3"}
    assert json_of(get("/v1.1/Things(3)?$select=@iot.id,Datastreams")) == {
        "@iot.id": 3,
        "Datastreams@iot.navigationLink": f"{ROOT}/Things(3)/Datastreams",
    }


def test_dashboards_get_the_latest_of_every_series_in_one_question(get: Get, town: Town) -> None:
    query = "$expand=Datastreams($expand=Observations($orderby=phenomenonTime desc;$top=1);$select=id),Locations"
    things = json_of(get(f"/v1.1/Things?{query}"))["value"]
    assert [len(one["Datastreams"]) for one in things] == [len(town.series[one["@iot.id"]]) for one in things]
    assert things[0]["Datastreams"][0]["Observations"][0]["phenomenonTime"] == "2026-11-21T20:30:00Z"
    assert things[4]["Datastreams"][0]["Observations"][0]["phenomenonTime"] == "2026-11-21T19:30:00Z"
    assert things[5]["Datastreams"][0]["Observations"][0]["resultQuality"] == ["out_of_range"]
    assert things[6]["Datastreams"][0]["Observations"] == []
    assert things[0]["Locations"][0]["location"]["coordinates"] == [5.17, 52.22]
    link = things[0]["Datastreams"][0]["Observations@iot.nextLink"].removeprefix("http://[::1]:8080")
    assert json_of(get(link))["value"][0]["phenomenonTime"] == "2026-11-21T20:27:00Z"


def test_expand_goes_to_one_and_to_many_by_slash_and_by_parentheses(get: Get) -> None:
    observation = json_of(get("/v1.1/Observations?$top=1&$expand=Datastream/Thing,FeatureOfInterest"))["value"][0]
    assert observation["Datastream"]["Thing"]["@iot.id"] == observation["FeatureOfInterest"]["@iot.id"]
    query = "$expand=Datastreams($top=2;$count=true;$orderby=id desc;$expand=Observations($top=3;$count=true))"
    thing = json_of(get(f"/v1.1/Things(1)?{query}"))
    assert [one["@iot.id"] for one in thing["Datastreams"]] == [7, 6]
    assert thing["Datastreams@iot.count"] == 7
    assert len(thing["Datastreams"][0]["Observations"]) == 3
    assert thing["Datastreams"][0]["Observations@iot.count"] == 30
    link = thing["Datastreams"][0]["Observations@iot.nextLink"].removeprefix("http://[::1]:8080")
    assert len(json_of(get(link))["value"]) == 3


def test_truth_values_are_true_and_false_and_kinds_are_named(get: Get) -> None:
    occupied = json_of(get("/v1.1/Datastreams?$filter=properties/capability eq 'occupied'"))["value"][0]
    assert occupied["observationType"].endswith("OM_TruthObservation")
    assert occupied["unitOfMeasurement"] == {"name": None, "symbol": None, "definition": None}
    found = json_of(get(f"/v1.1/Datastreams({occupied['@iot.id']})/Observations?$top=1"))["value"][0]
    assert found["result"] is True


def test_nothing_tells_which_device_hangs_on_a_lamppost(get: Get) -> None:
    for name in ("Things", "Locations", "Datastreams", "Sensors", "FeaturesOfInterest"):
        assert not re.search(r"lm-000\d", get(f"/v1.1/{name}").text)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_writing_is_405_and_says_what_works(get: Get, method: str) -> None:
    response = get("/v1.1/Things(1)", method=method)
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")


def test_a_question_with_a_content_type_and_no_body_is_answered(get: Get) -> None:
    json_of(get("/v1.1/Things(1)", headers={"Content-Type": "application/json"}))


def test_links_begin_with_the_public_address_where_there_is_one(get_with: Callable[..., Get]) -> None:
    page = get_with(public_url="https://lichtmast.example/")("/v1.1/Things(1)")
    assert page.json()["@iot.selfLink"] == "https://lichtmast.example/v1.1/Things(1)"
    assert page.headers["strict-transport-security"].startswith("max-age=")
