"""/v1 for alerts: the inbox, what people do with an alert, rules and their versions, windows, channels, deliveries."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from alert_shelf import RULE, begin_alert, failed_delivery
from people_town import HERE, THERE
from v1_examples import BESIDE
from v1_town import V1Town, v1_town

from lichtmast.registry.people import Area, Grant, Role

pytestmark = pytest.mark.slow  # a register, and lampposts in it

MANAGER: Final = Grant(HERE, Role.MANAGER)
ADMIN: Final = Grant(HERE, Role.ADMIN)
ENGINEER: Final = Grant(HERE, Role.ENGINEER)
VIEWER: Final = Grant(HERE, Role.VIEWER)
HOUR_US: Final = 3_600_000_000


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[V1Town]:
    with v1_town(tmp_path_factory.mktemp("alerts"), **BESIDE) as opened:
        yield opened


@pytest.fixture
def alert(town: V1Town) -> int:
    return new_alert(town)


def new_alert(town: V1Town, place: int | None = 0) -> int:
    at = None if place is None else town.assets[place]
    return begin_alert(town.registry, HERE, at, next(town.numbers), town.now_us)


def listed(town: V1Town, query: str = "", *grants: Grant, login: str = "manager@example.nl") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = town.told("GET", f"/v1/alerts?tenant={HERE}{query}", None, *grants, login=login)[
        "items"
    ]
    return items


def assert_refused(response: httpx2.Response, status: int, reason: str) -> str:
    told = response.json()
    assert (response.status_code, told.get("reason")) == (status, reason), told
    return str(told["detail"])


# The inbox.


def test_the_inbox_shows_the_newest_first_and_goes_on_where_a_page_ended(town: V1Town) -> None:
    made = [new_alert(town) for _ in range(3)]
    page = town.told("GET", f"/v1/alerts?tenant={HERE}&limit=2", None, VIEWER)
    assert [one["id"] for one in page["items"]] == made[:0:-1]
    assert page["nextBefore"] == made[1]
    more = town.told("GET", f"/v1/alerts?tenant={HERE}&limit=2&before={made[1]}", None, VIEWER)
    assert more["items"][0]["id"] == made[0]
    assert page["counts"]["new"] >= 3


def test_the_inbox_narrows_by_state_severity_rule_lamppost_area_and_owner(town: V1Town) -> None:
    near, far = new_alert(town, 0), new_alert(town, 5)
    at = town.assets[0]
    box = f"{at.longitude - 1e-5},{at.latitude - 1e-5},{at.longitude + 1e-5},{at.latitude + 1e-5}"
    rule = town.told("GET", f"/v1/alerts/{near}")["ruleId"]
    assert town.ask("PUT", f"/v1/alerts/{far}/owner", {"owner": "anna@example.nl"}).status_code == 200
    expected = {
        f"&area={box}": (True, False),
        f"&asset={town.assets[5].id}": (False, True),
        "&owner=anna@example.nl": (False, True),
        "&severity=critical": (False, False),
        "&severity=warning": (True, True),
        "&state=cleared": (False, False),
        "&state=all": (True, True),
        f"&rule={rule}": (True, True),
        f"&rule={rule + 999}": (False, False),
    }
    for query, (has_near, has_far) in expected.items():
        ids = {one["id"] for one in listed(town, query)}
        assert (near in ids, far in ids) == (has_near, has_far), query
    assert {one["id"] for one in listed(town, "&mine=true", VIEWER, login="anna@example.nl")} == {far}
    for bad in ("&area=5,52,4,53", "&area=NaN,1,2,3", "&state=broken", "&mine=true&owner=x", "&limit=1001"):
        assert town.ask("GET", f"/v1/alerts?tenant={HERE}{bad}").status_code == 400, bad


# One alert.


def test_an_alert_goes_its_way_and_its_history_says_who_did_what(town: V1Town, alert: int) -> None:
    url = f"/v1/alerts/{alert}"
    first = town.told("POST", f"{url}/acknowledgement", {"version": 1}, ENGINEER, login="anna@example.nl")
    assert (first["state"], first["acknowledgedBy"], first["version"]) == ("acknowledged", "anna@example.nl", 2)
    town.told("POST", f"{url}/comments", {"words": "the door is open"}, ENGINEER, login="anna@example.nl")
    shelf = {"until": "2026-11-22T06:00:00+01:00", "reason": "a crew comes tomorrow"}
    shelved = town.told("POST", f"{url}/shelf", shelf)
    assert (shelved["state"], shelved["shelvedUntil"]) == ("shelved", "2026-11-22T05:00:00Z")
    assert town.told("DELETE", f"{url}/shelf?version={shelved['version']}")["state"] == "new"
    over = town.told("POST", f"{url}/clearing", {"evidence": "it burns again"})
    assert (over["state"], over["endedBecause"]) == ("cleared", "it burns again")
    shown = town.told("GET", url, None, VIEWER)
    assert [one["what"] for one in shown["history"]] == [
        "raised", "acknowledged", "commented", "shelved", "unshelved", "cleared",
    ]  # fmt: skip
    assert shown["history"][2] | {"at": ""} == {
        "at": "", "what": "commented", "by": "anna@example.nl", "words": "the door is open",
    }  # fmt: skip
    assert shown["raisedBy"]["sentence"].startswith("Warns when")
    logged = [one.action for one in town.registry.audit_log.read(subject=str(alert), limit=100)]
    assert logged == ["alert.acknowledged", "alert.commented", "alert.shelved", "alert.unshelved", "alert.cleared"]


def test_of_two_people_the_second_is_told_what_the_first_one_did(town: V1Town, alert: int) -> None:
    url = f"/v1/alerts/{alert}"
    town.told("POST", f"{url}/acknowledgement", {"version": 1}, ENGINEER, login="anna@example.nl")
    late = town.ask("POST", f"{url}/clearing", {"evidence": "seen", "version": 1})
    assert "acknowledged by anna@example.nl" in assert_refused(late, 409, "changed")
    again = town.ask("POST", f"{url}/acknowledgement", {}, ENGINEER)
    assert "anna@example.nl has acknowledged it already" in assert_refused(again, 409, "acknowledged").lower()
    assert town.told("GET", url)["state"] == "acknowledged"


def test_what_cannot_be_is_refused_with_the_next_step(town: V1Town, alert: int) -> None:
    url = f"/v1/alerts/{alert}"
    past = {"until": "2020-01-01T00:00:00Z", "reason": "x"}
    assert "give another end" in assert_refused(town.ask("POST", f"{url}/shelf", past), 400, "bad_time")
    assert_refused(town.ask("DELETE", f"{url}/shelf"), 409, "not_shelved")
    assert_refused(town.ask("POST", f"{url}/comments", {"words": "  "}), 400, "bad_text")
    assert_refused(town.ask("POST", f"{url}/comments", {"words": "a\x1b[2Jb"}), 400, "bad_text")
    for body in ({}, {"until": "tomorrow", "reason": "x"}, {"until": 5, "reason": "x"}, past | {"why": "y"}):
        assert town.ask("POST", f"{url}/shelf", body).status_code == 400, body
    assert town.ask("GET", "/v1/alerts/999999999").status_code == 404
    assert town.ask("GET", "/v1/alerts/x").status_code == 404


# Who may.


def test_an_engineer_acts_inside_the_area_of_the_grant_alone(town: V1Town) -> None:
    here, group = new_alert(town, 0), new_alert(town, None)
    at = town.assets[0]
    inside = Grant(HERE, Role.ENGINEER, Area.box(at.longitude - 0.01, 52, at.longitude + 0.01, 53))
    outside = Grant(HERE, Role.ENGINEER, Area.box(6, 53, 6.1, 53.1))
    for route, body in (("acknowledgement", {}), ("comments", {"words": "seen"})):
        assert town.ask("POST", f"/v1/alerts/{here}/{route}", body, outside).status_code == 403
        assert town.ask("POST", f"/v1/alerts/{here}/{route}", body, inside).status_code == 200
        assert town.ask("POST", f"/v1/alerts/{group}/{route}", body, inside).status_code == 403, "at no place"
        assert town.ask("POST", f"/v1/alerts/{group}/{route}", body, ENGINEER).status_code == 200


def test_an_engineer_takes_an_alert_but_gives_it_to_nobody_and_shelves_nothing(town: V1Town, alert: int) -> None:
    url, anna = f"/v1/alerts/{alert}", "anna@example.nl"
    assert town.ask("PUT", f"{url}/owner", {"owner": "piet@example.nl"}, ENGINEER, login=anna).status_code == 403
    assert town.told("PUT", f"{url}/owner", {"owner": anna}, ENGINEER, login=anna)["owner"] == anna
    assert town.told("PUT", f"{url}/owner", {"owner": None})["owner"] is None
    shelf = {"until": "2026-11-22T06:00:00Z", "reason": "x"}
    assert town.ask("POST", f"{url}/shelf", shelf, ENGINEER).status_code == 403
    assert town.ask("POST", f"{url}/clearing", {"evidence": "x"}, ENGINEER).status_code == 403
    for role in (Role.VIEWER, Role.AUDITOR, Role.ADMIN):
        assert town.ask("GET", url, None, Grant(HERE, role)).status_code == 200
        assert town.ask("POST", f"{url}/acknowledgement", {}, Grant(HERE, role)).status_code == 403


# Rules.


def test_a_rule_is_added_changed_on_top_of_what_was_seen_and_keeps_its_versions(town: V1Town) -> None:
    document = RULE | {"tenant": HERE, "name": "too hot"}
    made = town.ask("POST", "/v1/alert-rules", {"document": document})
    assert made.status_code == 201
    url, rule = made.headers["location"], made.json()
    assert (rule["version"], rule["enabled"]) == (1, True)
    assert "above 1e+09 for 5 minutes" in rule["sentence"]
    assert_refused(town.ask("POST", "/v1/alert-rules", {"document": document}), 409, "conflict")
    change = {"document": document | {"severity": "critical"}, "basedOn": 1}
    assert town.told("PUT", url, change)["version"] == 2
    assert "read it again" in assert_refused(town.ask("PUT", url, change), 409, "conflict")
    renamed = {"document": document | {"name": "other"}, "basedOn": 2}
    assert town.ask("PUT", url, renamed).status_code == 400
    assert town.told("DELETE", f"{url}/activation")["enabled"] is False
    assert town.told("POST", f"{url}/activation")["enabled"] is True
    shown = town.told("GET", url, None, VIEWER)
    assert [(one["version"], one["by"]) for one in shown["versions"]] == [
        (number, "manager@example.nl") for number in (4, 3, 2, 1)
    ]
    assert town.ask("DELETE", url).status_code == 200
    assert town.ask("GET", url).status_code == 404


def test_a_mistake_in_a_rule_is_told_with_its_field(town: V1Town) -> None:
    document = RULE | {"tenant": HERE, "name": "wrong"}
    wrong = {
        "condition.above": document | {"condition": {"kind": "threshold"}},
        "colour": document | {"colour": "red"},
        "severity": document | {"severity": "loud"},
    }
    for field, bad in wrong.items():
        for url in ("/v1/alert-rules", "/v1/alert-rules/trials"):
            detail = assert_refused(town.ask("POST", url, {"document": bad}), 400, "document")
            assert detail.lower().startswith(field), detail


def test_a_rule_is_tried_before_it_is_there(town: V1Town) -> None:
    document = RULE | {"tenant": HERE, "name": "tried"}
    told = town.told("POST", "/v1/alert-rules/trials", {"document": document, "days": 7})
    assert (told["fired"], told["days"]) == (3, 7)
    assert "tried" not in {one["name"] for one in town.told("GET", f"/v1/alert-rules?tenant={HERE}")["items"]}
    elsewhere = document | {"tenant": THERE}
    assert town.ask("POST", "/v1/alert-rules/trials", {"document": elsewhere}).status_code == 404


def test_a_rule_of_another_municipality_cannot_be_put_by_its_document(town: V1Town) -> None:
    town.registry.ensure_tenant(THERE, "Elders")
    document = RULE | {"tenant": THERE, "name": "theirs"}
    assert town.ask("POST", "/v1/alert-rules", {"document": document}).status_code == 404
    assert town.registry.alerts.rules(THERE) == []


# Maintenance windows.


def test_a_window_is_planned_shown_and_ended(town: V1Town, alert: int) -> None:
    order = {"tenant": HERE, "scope": {}, "from": "2026-11-21T20:00:00Z", "until": "2026-12-01T00:00:00Z"}
    made = town.ask("POST", "/v1/maintenance-windows", order | {"workOrder": "WO-7", "note": "cables"})
    assert made.status_code == 201, made.text
    url = made.headers["location"]
    assert town.told("GET", f"/v1/alerts/{alert}")["inMaintenance"] is True
    assert alert not in {one["id"] for one in listed(town, "&maintenance=false")}
    live = f"/v1/maintenance-windows?tenant={HERE}&live=true"
    assert [one["workOrder"] for one in town.told("GET", live, None, VIEWER)["items"]] == ["WO-7"]
    assert town.told("DELETE", url)["state"] == "ended"
    assert town.told("GET", live)["items"] == []
    assert town.told("GET", f"/v1/alerts/{alert}")["inMaintenance"] is False
    backwards = order | {"workOrder": "WO-8", "until": "2026-11-20T00:00:00Z"}
    assert "until" in assert_refused(town.ask("POST", "/v1/maintenance-windows", backwards), 400, "document").lower()
    assert town.ask("POST", "/v1/maintenance-windows", order).status_code == 400, "without a work order"


# Channels and deliveries.


def test_a_webhooks_secret_is_told_once_and_where_it_leads_to_those_who_look_after_it(town: V1Town) -> None:
    target = "https://hooks.example.nl/in/9f2c?key=secret"
    body = {"tenant": HERE, "document": {"name": "on-call", "kind": "webhook", "target": target}}
    made = town.ask("POST", "/v1/notification-channels", body, ADMIN)
    assert made.status_code == 201
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", made.json()["secret"])
    again = town.ask("POST", "/v1/notification-channels", body, ADMIN)
    assert (again.status_code, "secret" in again.json()) == (200, False)
    url = made.headers["location"]
    assert town.told("GET", url, None, ADMIN)["target"] == target
    seen = town.told("GET", f"/v1/notification-channels?tenant={HERE}", None, Grant(HERE, Role.AUDITOR))
    assert [(one["target"], "secret" in one) for one in seen["items"]] == [("hooks.example.nl", False)]
    assert town.ask("GET", url, None, ENGINEER).status_code == 403
    assert town.ask("POST", "/v1/notification-channels", body, MANAGER).status_code == 403
    plain = body | {"document": {"name": "x", "kind": "webhook", "target": "http://hooks.example.nl/"}}
    assert "https" in assert_refused(town.ask("POST", "/v1/notification-channels", plain, ADMIN), 400, "document")
    assert town.ask("DELETE", url, None, ADMIN).status_code == 200
    assert town.ask("GET", url, None, ADMIN).status_code == 404


def test_the_test_button_gives_the_other_sides_words(town: V1Town) -> None:
    body = {"tenant": HERE, "document": {"name": "desk", "kind": "mqtt"}}
    url = town.ask("POST", "/v1/notification-channels", body, ADMIN).headers["location"]
    assert town.told("POST", f"{url}/tests", None, ADMIN) == {
        "accepted": True, "words": f"channel {url.rsplit('/', 1)[1]} said yes",
    }  # fmt: skip


def test_a_delivery_that_was_given_up_is_seen_and_sent_again(town: V1Town) -> None:
    body = {"tenant": HERE, "document": {"name": "lost", "kind": "mqtt"}}
    channel = town.ask("POST", "/v1/notification-channels", body, ADMIN).json()["id"]
    delivery = failed_delivery(town.registry, HERE, town.assets[0], channel, town.now_us)
    failed = f"/v1/notification-deliveries?tenant={HERE}&state=failed"
    assert [(one["id"], one["answer"]) for one in town.told("GET", failed)["items"]] == [(delivery, "nobody there")]
    retry = f"/v1/notification-deliveries/{delivery}/attempts"
    assert town.ask("POST", retry, None, ENGINEER).status_code == 403
    assert town.told("POST", retry)["state"] == "waiting"
    assert town.told("GET", failed)["items"] == []
    assert_refused(town.ask("POST", retry), 409, "conflict")


def test_where_nothing_runs_beside_it_says_so(tmp_path: Path) -> None:
    with v1_town(tmp_path) as bare:
        document = RULE | {"tenant": HERE, "name": "tried"}
        assert bare.ask("POST", "/v1/alert-rules/trials", {"document": document}).status_code == 501
        body = {"tenant": HERE, "document": {"name": "desk", "kind": "mqtt"}}
        assert bare.ask("POST", "/v1/notification-channels", body, ADMIN).status_code == 501
