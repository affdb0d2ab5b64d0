"""/v1: claims, devices, lampposts, the log of changes and certificates, over a real register and store.

Who asks is put into the request here; finding that out is tested with `lichtmast.api.access`.
"""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa
import pytest
from est_client import Node
from est_town import OTHER_TENANT, TENANT, EstTown
from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from v1_examples import BESIDE, OF_NOBODY, v1_examples

from lichtmast.api import limits
from lichtmast.api.access import Caller
from lichtmast.api.catalogue import read_catalogue
from lichtmast.api.problem import Problem, problem_response
from lichtmast.api.v1 import V1_NEEDS, Ground, RefusalBook, v1_router
from lichtmast.api.workers import Workers
from lichtmast.registry import DeviceRecord, DeviceStatus
from lichtmast.registry.alerts import RefusedFor
from lichtmast.registry.auditing import Actor, ActorKind
from lichtmast.registry.identity import ClaimReason, ClaimState, RevocationReason
from lichtmast.registry.people import EVERY_TENANT, Area, Grant, Role
from lichtmast.registry.pki import read_csr
from lichtmast.store.memory import MemoryStore
from lichtmast.store.port import LEDGER_SCHEMA, OBSERVATION_SCHEMA, QUARANTINE_SCHEMA, Batch
from lichtmast.wire import DeviceId
from lichtmast.wire.topics import READINGS_STREAM

MANAGER = (Grant(TENANT, Role.MANAGER),)
Key = tuple[str, str]


def caller(*grants: Grant, login: str = "manager@example.nl") -> Caller:
    return Caller(
        Actor(ActorKind.USER, login, "2001:db8::7"), grants, 1, login, "Iemand", 1, recent=True, limited=False
    )


class Signed:
    """An ASGI layer that says who asks, as the gate does."""

    def __init__(self, app: ASGIApp, who: Caller) -> None:
        self._app = app
        self._who = who

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["lichtmast.caller"] = self._who
        await self._app(scope, receive, send)


class V1:
    """The routes on a town of their own."""

    def __init__(self, town: EstTown) -> None:
        self.town = town
        self.store = MemoryStore()
        self.refusals = RefusalBook()
        self.server_chain = town.authority.issue_server(["::1"], now_us=town.now_us()).chain_pem
        ground = Ground(
            town.registry,
            self.store,
            lambda: read_catalogue(town.registry),
            Workers(threads=4, waiting_max=64),
            town.now_us,
            lambda: town.authority,
            lambda: {"est": self.server_chain},
            self.refusals,
            **BESIDE,
        )
        self.app = FastAPI(openapi_url=None)
        self.app.include_router(v1_router(ground))

        async def on_problem(_: Request, error: Exception) -> Response:
            assert isinstance(error, Problem)
            return problem_response(error)

        self.app.add_exception_handler(Problem, on_problem)

    async def send(
        self,
        method: str,
        url: str,
        body: Any = None,  # noqa: ANN401 - any JSON
        *grants: Grant,
        login: str = "manager@example.nl",
        **more: Any,  # noqa: ANN401
    ) -> httpx2.Response:
        transport = httpx2.ASGITransport(app=Signed(self.app, caller(*(grants or MANAGER), login=login)))
        async with httpx2.AsyncClient(transport=transport, base_url="https://[::1]:8443", timeout=30) as client:
            return await client.request(method, url, json=body, **more)

    def ask(self, method: str, url: str, body: Any = None, *grants: Grant, **more: Any) -> httpx2.Response:  # noqa: ANN401
        return asyncio.run(self.send(method, url, body, *grants, **more))

    def scan(self, node: Node, asset: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of the body
        label = node.label(self.town.authority.root_pin).text
        return {"label": label, "assetId": self.town.assets[TENANT][asset].id, **more}

    def enrol(self, node: Node) -> None:
        """What EST does when the node comes."""
        self.town.registry.identity.enrol(read_csr(node.csr()), self.town.authority, at_us=self.town.now_us())

    def reading(self, node: Node) -> None:
        """What the pipeline does when the node speaks."""
        record = self.town.registry.device(node.device)
        assert record is not None
        assert record.asset_id is not None
        fed = self.town.registry.datastreams_of(record.asset_id)
        series = [one.id for one in fed if one.device_name == node.device.device]
        now_us = self.town.now_us()
        rows = pa.table([[series[0]], [now_us - 1_000_000], [21.5], [None], [0], [now_us]], schema=OBSERVATION_SCHEMA)
        offset = self.store.offset(READINGS_STREAM) + 1
        nothing = (LEDGER_SCHEMA.empty_table(), QUARANTINE_SCHEMA.empty_table())
        self.store.commit(Batch(rows, *nothing, READINGS_STREAM, offset))


@pytest.fixture(scope="module")
def v1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[V1]:
    with EstTown.open(tmp_path_factory.mktemp("v1")) as town:
        yield V1(town)


# Every route.


@pytest.fixture(scope="module")
def examples(v1: V1) -> dict[Key, Any]:
    town, now_us = v1.town, v1.town.now_us()
    pin = town.authority.root_pin
    return dict(v1_examples(town.registry, TENANT, town.assets[TENANT], root_pin=pin, now_us=now_us, store=v1.store))


def test_the_table_of_needs_and_the_routes_and_the_examples_are_the_same(v1: V1, examples: dict[Key, Any]) -> None:
    served = {
        (method, route.path)  # type: ignore[attr-defined]  # a Route of Starlette
        for route in v1_router(
            Ground(
                v1.town.registry,
                v1.store,
                lambda: read_catalogue(v1.town.registry),
                Workers(threads=1, waiting_max=1),
                v1.town.now_us,
            )
        ).routes
        for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
    }
    assert served == set(V1_NEEDS)
    assert set(examples) == set(V1_NEEDS)


@pytest.mark.parametrize("key", V1_NEEDS, ids=" ".join)
def test_nobody_without_the_role_gets_anything_out_of_a_route(v1: V1, examples: dict[Key, Any], key: Key) -> None:
    """The handler's own check, as if the gate in front of it were not there."""
    example = examples[key]
    for other in (OTHER_TENANT, "gm0518"):
        strangers = tuple(Grant(other, role) for role in Role)
        if key in OF_NOBODY:
            continue  # of the installation: any municipality's keeper may know when its certificates end
        response = v1.ask(key[0], example.url, example.body, *strangers)
        assert response.status_code == 404, response.text
        assert response.headers["content-type"] == "application/problem+json"
    missing = tuple(Grant(TENANT, role) for role in Role if role not in V1_NEEDS[key].roles)
    if missing:
        assert v1.ask(key[0], example.url, example.body, *missing).status_code == 403
    if example.place is not None and Role.ENGINEER in V1_NEEDS[key].roles:
        elsewhere = Area.box(6.0, 53.0, 6.1, 53.1)
        response = v1.ask(key[0], example.url, example.body, Grant(TENANT, Role.ENGINEER, elsewhere))
        assert response.status_code == 403, response.text


@pytest.mark.parametrize("key", V1_NEEDS, ids=" ".join)
def test_who_may_gets_an_answer(v1: V1, examples: dict[Key, Any], key: Key) -> None:
    example = examples[key]
    role = next(one for one in (Role.ENGINEER, Role.MANAGER, Role.AUDITOR, Role.ADMIN) if one in V1_NEEDS[key].roles)
    place = example.place
    around = place and Area.box(
        place.longitude - 0.01, place.latitude - 0.01, place.longitude + 0.01, place.latitude + 0.01
    )
    tenant = EVERY_TENANT if key in OF_NOBODY else TENANT
    response = v1.ask(key[0], example.url, example.body, Grant(tenant, role, around if role is Role.ENGINEER else None))
    assert response.status_code in {200, 201}, response.text
    assert response.headers["content-type"] == "application/json"


def test_a_stranger_cannot_tell_which_lampposts_and_devices_there_are(v1: V1, examples: dict[Key, Any]) -> None:
    stranger, scan = Grant(OTHER_TENANT, Role.MANAGER), examples["POST", "/v1/claims"].body
    there = v1.ask("POST", "/v1/claims", scan, stranger)
    nowhere = v1.ask("POST", "/v1/claims", scan | {"assetId": 99_999}, stranger)
    assert there.text == nowhere.text
    shown = v1.ask("GET", f"/v1/devices/{TENANT}/x-show", None, stranger)
    assert shown.text == v1.ask("GET", f"/v1/devices/{TENANT}/no-such", None, stranger).text


# Claiming.


@pytest.mark.slow
def test_a_claim_in_three_calls_from_scan_to_first_reading(v1: V1) -> None:
    node = v1.town.node("claim-1")
    here = v1.town.assets[TENANT][2]
    stood = {"longitude": here.longitude + 0.0001, "latitude": here.latitude, "accuracyM": 4.0}
    opened = v1.ask("POST", "/v1/claims", v1.scan(node, 2, position=stood))
    assert opened.status_code == 201
    claim = opened.json()
    assert opened.headers["location"] == f"/v1/claims/{claim['id']}"
    assert (claim["state"], claim["deviceStatus"], claim["firstReadingAt"]) == ("open", "claimed", None)
    assert claim["distanceM"] == pytest.approx(6.8, abs=0.1)
    assert claim["openedBy"] == "manager@example.nl"

    async def node_comes_to_life() -> httpx2.Response:
        waiting = asyncio.create_task(v1.send("GET", f"/v1/claims/{claim['id']}?wait=20"))
        await asyncio.to_thread(v1.enrol, node)
        await asyncio.sleep(0)
        assert not waiting.done()
        await asyncio.to_thread(v1.reading, node)
        async with asyncio.timeout(15):
            return await waiting

    told = asyncio.run(node_comes_to_life()).json()
    assert (told["state"], told["deviceStatus"]) == ("used", "active")
    assert told["firstReadingAt"] is not None
    assert told["certificateSerial"]


def test_the_same_claim_twice_is_one_window(v1: V1) -> None:
    node = v1.town.node("claim-2")
    first = v1.ask("POST", "/v1/claims", v1.scan(node, 3))
    again = v1.ask("POST", "/v1/claims", v1.scan(node, 3))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    other = v1.ask("POST", "/v1/claims", v1.scan(node, 3), login="colleague@example.nl")
    assert other.status_code == 409
    assert other.json()["reason"] == "window_open"


def test_a_lamppost_may_be_named_by_its_source(v1: V1) -> None:
    node = v1.town.node("claim-3")
    body = {"label": node.label(v1.town.authority.root_pin).text, "assetSourceId": "id:P0004"}
    assert v1.ask("POST", "/v1/claims", body).json()["assetId"] == v1.town.assets[TENANT][4].id


def test_a_device_that_the_workshop_has_not_staged_needs_its_profile(v1: V1) -> None:
    node = v1.town.node("claim-4", staged=False)
    refused = v1.ask("POST", "/v1/claims", v1.scan(node, 5))
    assert (refused.status_code, refused.json()["reason"]) == (409, "unknown_device")
    assert v1.ask("POST", "/v1/claims", v1.scan(node, 5, profile="no-such")).status_code == 400
    assert v1.ask("POST", "/v1/claims", v1.scan(node, 5, profile="noise")).status_code == 201


@pytest.mark.parametrize(
    "label",
    ["", "https://evil.example/", "javascript:alert(1)", "LM9:GM0402:LAMP-0001:A:B:00", "x" * 4_000, "LM1:GM0402:LAMP"],
)
def test_what_is_no_label_is_400_with_one_plain_sentence(v1: V1, label: str) -> None:
    response = v1.ask("POST", "/v1/claims", {"label": label, "assetId": 1})
    assert response.status_code == 400
    assert response.json()["reason"] == "label"
    assert response.json()["detail"].endswith(".")
    assert "location" not in response.headers


def test_a_swapped_label_claims_nothing(v1: V1) -> None:
    """Another node's key under this node's name: the check digits are right, the staged key is not."""
    node = v1.town.node("claim-5")
    response = v1.ask("POST", "/v1/claims", v1.scan(Node(node.device), 5))
    assert (response.status_code, response.json()["reason"]) == (409, "other_key")


def test_a_label_of_another_city_claims_nothing(v1: V1) -> None:
    node = v1.town.node("claim-6")
    body = v1.scan(node, 5) | {"label": node.label(bytes(16)).text}
    response = v1.ask("POST", "/v1/claims", body)
    assert (response.status_code, response.json()["reason"]) == (409, "other_city")


def test_a_lamppost_of_another_municipality_is_not_there(v1: V1) -> None:
    node = v1.town.node("claim-7")
    body = v1.scan(node, 5) | {"assetId": v1.town.assets[OTHER_TENANT][0].id}
    assert v1.ask("POST", "/v1/claims", body).status_code == 404
    body = v1.scan(v1.town.node("claim-7", tenant=OTHER_TENANT), 5)
    assert v1.ask("POST", "/v1/claims", body).status_code == 404


def test_an_engineer_claims_inside_the_area_and_not_outside_whatever_the_phone_says(v1: V1) -> None:
    node, (inside, outside) = v1.town.node("claim-8"), (v1.town.assets[TENANT][n] for n in (0, 7))
    area = Area.box(inside.longitude - 0.0002, 52.0, inside.longitude + 0.0002, 53.0)
    engineer = Grant(TENANT, Role.ENGINEER, area)
    lie = {"longitude": inside.longitude, "latitude": inside.latitude}
    refused = v1.ask("POST", "/v1/claims", v1.scan(node, 7, position=lie), engineer)
    assert refused.status_code == 403
    assert v1.ask("POST", "/v1/claims", v1.scan(node, 0), engineer).status_code == 201
    assert outside.longitude > inside.longitude


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"label": "LM1:X"},
        {"label": "LM1:X", "assetId": 1, "assetSourceId": "P1"},
        {"label": "LM1:X", "assetId": "1"},
        {"label": "LM1:X", "assetId": True},
        {"label": "LM1:X", "assetId": 0},
        {"label": 5, "assetId": 1},
        {"label": "LM1:X", "assetId": 1, "role": "admin"},
        {"label": "LM1:X", "asset_id": 1},
        {"label": "LM1:X", "assetId": 1, "position": {"longitude": "5", "latitude": 52}},
        [],
        "LM1:X",
    ],
)
def test_a_body_that_is_not_as_it_should_be_is_400_and_not_sent_back(v1: V1, body: Any) -> None:  # noqa: ANN401 - any JSON
    response = v1.ask("POST", "/v1/claims", body)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert "LM1:X" not in response.text


def test_all_flaws_of_a_body_are_told_at_once(v1: V1) -> None:
    detail = v1.ask("POST", "/v1/claims", {"assetId": "x", "role": "admin"}).json()["detail"]
    assert "label" in detail
    assert "assetId" in detail
    assert "role" in detail


def test_a_position_that_is_none_is_400(v1: V1) -> None:
    node = v1.town.node("claim-9")
    for position in ({"longitude": 181, "latitude": 52}, {"longitude": 5, "latitude": 52, "accuracyM": -1}):
        assert v1.ask("POST", "/v1/claims", v1.scan(node, 1, position=position)).status_code == 400
    label = node.label(v1.town.authority.root_pin).text
    text = f'{{"label":"{label}","assetId":1,"position":{{"longitude":NaN,"latitude":5}}}}'
    response = v1.ask("POST", "/v1/claims", content=text, headers={"content-type": "application/json"})
    assert response.status_code == 400


def test_a_body_is_json_and_no_longer_than_the_limit(v1: V1) -> None:
    plain = v1.ask(
        "POST", "/v1/claims", content="label=x", headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert plain.status_code == 415
    long = b" " * limits.V1_BODY_BYTES_MAX
    headers = {"content-type": "application/json"}
    assert v1.ask("POST", "/v1/claims", content=long, headers=headers).status_code == 400
    assert v1.ask("POST", "/v1/claims", content=long + b" ", headers=headers).status_code == 413


def test_a_claim_is_cancelled_once(v1: V1) -> None:
    node = v1.town.node("claim-10")
    claim = v1.ask("POST", "/v1/claims", v1.scan(node, 6)).json()
    assert v1.ask("DELETE", f"/v1/claims/{claim['id']}").json()["state"] == "cancelled"
    again = v1.ask("DELETE", f"/v1/claims/{claim['id']}")
    assert (again.status_code, again.json()["reason"]) == (409, "not_open")
    record = v1.town.registry.device(node.device)
    assert record is not None
    assert (record.status, record.asset_id) == (DeviceStatus.REGISTERED, None)


@pytest.mark.parametrize("claim", ["0", "99999", "-1", "1e3", "x", "9" * 30, "%31"])
def test_a_claim_that_is_not_there_is_404(v1: V1, claim: str) -> None:
    assert v1.ask("GET", f"/v1/claims/{claim}").status_code in ({404, 200} if claim == "%31" else {404})


# Waiting.


def test_a_claim_is_shown_as_of_one_moment(v1: V1, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else whoever waits is told of a change that says that nothing changed."""
    node = v1.town.node("torn-1")
    claim = v1.ask("POST", "/v1/claims", v1.scan(node, 1)).json()
    look_up = v1.town.registry.device
    came: list[DeviceId] = []

    def enrolled_meanwhile(device: DeviceId) -> DeviceRecord | None:
        if not came:
            came.append(device)
            v1.enrol(node)
        return look_up(device)

    monkeypatch.setattr(v1.town.registry, "device", enrolled_meanwhile)
    told = v1.ask("GET", f"/v1/claims/{claim['id']}").json()
    assert came
    assert (told["state"], told["deviceStatus"]) == ("used", "active")


@pytest.mark.slow
def test_waiting_ends_with_any_change_after_what_the_client_has_seen(v1: V1) -> None:
    node = v1.town.node("wait-1")
    claim = v1.ask("POST", "/v1/claims", v1.scan(node, 1)).json()
    url = f"/v1/claims/{claim['id']}"
    seen = v1.ask("GET", url).headers["etag"]
    assert v1.ask("GET", url, headers={"If-None-Match": seen}).status_code == 304

    async def run() -> httpx2.Response:
        waiting = asyncio.create_task(v1.send("GET", f"{url}?wait=20", headers={"If-None-Match": seen}))
        await asyncio.to_thread(v1.enrol, node)
        async with asyncio.timeout(15):
            return await waiting

    told = asyncio.run(run())
    assert told.json()["state"] == "used"
    assert told.headers["etag"] != seen


@pytest.mark.slow
def test_waiting_for_nothing_ends_with_what_there_is(v1: V1) -> None:
    claim = v1.ask("POST", "/v1/claims", v1.scan(v1.town.node("wait-2"), 1)).json()
    told = v1.ask("GET", f"/v1/claims/{claim['id']}?wait=1")
    assert (told.status_code, told.json()["state"]) == (200, "open")
    seen = {"If-None-Match": told.headers["etag"]}
    assert v1.ask("GET", f"/v1/claims/{claim['id']}?wait=1", headers=seen).status_code == 304


def test_one_more_than_may_wait_is_answered_at_once(v1: V1, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CLAIM_WAITERS_MAX", 1)
    claim = v1.ask("POST", "/v1/claims", v1.scan(v1.town.node("wait-3"), 1)).json()
    url = f"/v1/claims/{claim['id']}?wait=60"

    async def run() -> None:
        begun = asyncio.Event()

        async def first() -> None:
            begun.set()
            await v1.send("GET", url)

        held = [asyncio.create_task(first()) for _ in range(2)]
        async with asyncio.timeout(15):
            done, waiting = await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == len(waiting) == 1
        for one in waiting:
            one.cancel()

    asyncio.run(run())


@pytest.mark.parametrize("query", ["wait=61", "wait=-1", "wait=x", "wait=1&wait=2", "wiat=1"])
def test_a_query_that_is_not_as_it_should_be_is_400(v1: V1, query: str) -> None:
    assert v1.ask("GET", f"/v1/claims/1?{query}").status_code == 400


# Devices.


def test_a_device_shows_its_certificates_its_refusals_and_its_last_reading(v1: V1) -> None:
    node = v1.town.node("device-1")
    v1.town.claim(node, 6)
    v1.enrol(node)
    v1.reading(node)
    now_us = v1.town.now_us()
    v1.refusals.note(node.device, "mqtt", "revoked", now_us - 5_000_000)
    v1.refusals.note(node.device, "mqtt", "revoked", now_us)
    told = v1.ask("GET", f"/v1/devices/{TENANT}/device-1").json()
    assert told["urn"] == node.device.urn
    assert told["status"] == "active"
    assert told["lastReadingAt"] is not None
    (certificate,) = told["certificates"]
    assert certificate["revokedAt"] is None
    (refusal,) = told["refusals"]
    assert (refusal["door"], refusal["reason"], refusal["count"]) == ("mqtt", "revoked", 2)


def test_suspending_resuming_and_retiring_go_through_the_register_with_who_and_why(v1: V1) -> None:
    node = v1.town.node("device-2")
    v1.town.claim(node, 6)
    v1.enrol(node)
    url = f"/v1/devices/{TENANT}/device-2"
    revision = v1.town.registry.revision()
    assert v1.ask("POST", f"{url}/suspension", {"why": "gestolen"}).json()["status"] == "suspended"
    assert v1.town.registry.revision() > revision, "the doors look at the revision"
    assert v1.ask("DELETE", f"{url}/suspension").json()["status"] == "active"
    retired = v1.ask("POST", f"{url}/retirement", {"reason": "keyCompromise"}).json()
    assert (retired["status"], retired["assetId"]) == ("retired", None)
    assert retired["certificates"][0]["revokedFor"] == "keyCompromise"
    again = v1.ask("DELETE", f"{url}/suspension")
    assert (again.status_code, again.json()["reason"]) == (409, "conflict")
    events = v1.town.registry.audit_log.read(subject=f"{TENANT}/device-2", limit=100)
    assert {one.actor for one in events if one.action == "device.status"} == {"manager@example.nl"}
    assert any("gestolen" in (one.after or "") for one in events)


def test_a_replacement_keeps_the_lamppost_and_opens_a_claim(v1: V1) -> None:
    old, new = v1.town.node("device-3"), v1.town.node("device-4")
    v1.town.claim(old, 7)
    v1.enrol(old)
    body = {"label": new.label(v1.town.authority.root_pin).text}
    response = v1.ask("POST", f"/v1/devices/{TENANT}/device-3/replacement", body)
    assert response.status_code == 201
    claim = response.json()
    assert (claim["device"], claim["assetId"]) == (f"{TENANT}/device-4", v1.town.assets[TENANT][7].id)
    v1.enrol(new)
    assert v1.ask("GET", response.headers["location"]).json()["state"] == "used"
    assert v1.ask("GET", f"/v1/devices/{TENANT}/device-3").json()["status"] == "retired"


def test_a_device_moves_only_to_where_the_engineer_may_hang_it(v1: V1) -> None:
    node = v1.town.node("device-5")
    v1.town.claim(node, 0)
    v1.enrol(node)
    here = v1.town.assets[TENANT][0]
    engineer = Grant(TENANT, Role.ENGINEER, Area.box(here.longitude - 0.001, 52.0, here.longitude + 0.001, 53.0))
    url = f"/v1/devices/{TENANT}/device-5/move"
    far, near = v1.town.assets[TENANT][7].id, v1.town.assets[TENANT][1].id
    assert v1.ask("POST", url, {"assetId": far}, engineer).status_code == 403
    assert v1.ask("POST", url, {"assetId": near}, engineer).json()["assetId"] == near
    assert v1.ask("POST", url, {"assetId": v1.town.assets[OTHER_TENANT][0].id}).status_code == 404


def test_a_device_that_hangs_nowhere_is_in_no_engineers_area(v1: V1) -> None:
    v1.town.node("device-6")
    everywhere = Grant(TENANT, Role.ENGINEER, Area.box(3, 50, 8, 54))
    url = f"/v1/devices/{TENANT}/device-6/suspension"
    assert v1.ask("POST", url, {}, everywhere).status_code == 403
    assert v1.ask("GET", f"/v1/devices/{TENANT}/device-6", None, everywhere).status_code == 200


def test_revoking_leaves_the_device_to_be_claimed_again(v1: V1) -> None:
    node = v1.town.node("device-7")
    v1.town.claim(node, 4)
    v1.enrol(node)
    url = f"/v1/devices/{TENANT}/device-7/certificate-revocations"
    assert v1.ask("POST", url, {}).status_code == 400
    assert v1.ask("POST", url, {"reason": "aACompromise"}).status_code == 400
    told = v1.ask("POST", url, {"reason": "superseded"}).json()
    assert told["certificates"][0]["revokedFor"] == "superseded"
    assert v1.ask("POST", "/v1/claims", v1.scan(node, 4)).status_code == 201


def test_devices_are_listed_in_pages_by_status(v1: V1) -> None:
    url = f"/v1/devices?tenant={TENANT}&limit=2"
    first = v1.ask("GET", url).json()
    second = v1.ask("GET", f"{url}&after={first['nextAfter']}").json()
    assert len(first["items"]) == len(second["items"]) == 2
    assert {one["device"] for one in first["items"]}.isdisjoint(one["device"] for one in second["items"])
    retired = v1.ask("GET", f"/v1/devices?tenant={TENANT}&status=retired").json()
    assert {one["status"] for one in retired["items"]} == {"retired"}
    assert retired["nextAfter"] is None
    for bad in ("", "?tenant=x", f"?tenant={TENANT}&limit=1001", f"?tenant={TENANT}&status=broken", "?tenant[]=1"):
        assert v1.ask("GET", f"/v1/devices{bad}").status_code in {400, 404}, bad


def test_open_claims_and_those_of_a_device_are_listed(v1: V1) -> None:
    node = v1.town.node("claim-11")
    claim = v1.ask("POST", "/v1/claims", v1.scan(node, 6)).json()
    for query in ("device=claim-11", "open=true&limit=1000"):
        listed = v1.ask("GET", f"/v1/claims?tenant={TENANT}&{query}").json()["items"]
        assert claim["id"] in {one["id"] for one in listed}
        assert query.startswith("device") or {one["state"] for one in listed} == {"open"}
    assert v1.ask("GET", f"/v1/claims?tenant={TENANT}&device=X").status_code == 400


# Oversight.


def test_the_nearest_lampposts_come_first(v1: V1) -> None:
    wanted = v1.town.assets[TENANT][3]
    told = v1.ask("GET", f"/v1/assets?tenant={TENANT}&near={wanted.longitude},{wanted.latitude}&limit=3").json()
    assert told["items"][0]["id"] == wanted.id
    distances = [one["distanceM"] for one in told["items"]]
    assert distances == sorted(distances)
    assert distances[0] == 0
    assert distances[1] == pytest.approx(47.7, abs=0.5)
    for near in ("5.1", "x,y", "5.1,NaN", "181,52", "5.1,52.2,3"):
        assert v1.ask("GET", f"/v1/assets?tenant={TENANT}&near={near}").status_code == 400


def test_the_log_is_read_in_pages_by_who_may(v1: V1) -> None:
    auditor = Grant(TENANT, Role.AUDITOR)
    page = v1.ask("GET", f"/v1/audit-events?tenant={TENANT}&limit=2", None, auditor).json()
    assert len(page["items"]) == 2
    assert {one["tenant"] for one in page["items"]} == {TENANT}
    more = v1.ask("GET", f"/v1/audit-events?tenant={TENANT}&after={page['nextAfter']}", None, auditor).json()
    assert more["items"][0]["seq"] > page["items"][-1]["seq"]
    assert page["head"]["hash"] == v1.town.registry.audit_log.head().hash
    assert v1.ask("GET", "/v1/audit-events", None, auditor).status_code == 400
    everybody = v1.ask("GET", "/v1/audit-events?limit=1000", None, Grant(EVERY_TENANT, Role.AUDITOR)).json()
    assert {TENANT, OTHER_TENANT} <= {one["tenant"] for one in everybody["items"]}


def test_where_an_engineer_stood_is_not_in_the_log_that_is_read_here(v1: V1) -> None:
    node = v1.town.node("claim-12")
    v1.ask("POST", "/v1/claims", v1.scan(node, 6, position={"longitude": 5.123456, "latitude": 52.1}))
    text = v1.ask("GET", f"/v1/audit-events?tenant={TENANT}&limit=1000", None, Grant(TENANT, Role.AUDITOR)).text
    assert "claim-12" in text
    assert "5.123456" not in text


def test_certificates_say_when_the_authority_and_the_doors_end(v1: V1) -> None:
    told = v1.ask("GET", "/v1/certificates").json()
    assert {one["role"] for one in told["authority"]} == {"root", "devices", "servers"}
    (door,) = told["server"]
    assert door["door"] == "est"
    assert door["notAfter"] > door["notBefore"]
    assert v1.ask("GET", "/v1/certificates", None, Grant(TENANT, Role.VIEWER)).status_code == 403


def test_the_book_of_refusals_forgets_the_longest_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REFUSED_DEVICES_KEPT_MAX", 2)
    book = RefusalBook()
    one, two, three = (DeviceId(TENANT, f"lm-{n}") for n in range(3))
    for at_us, device in enumerate((one, two, one, three)):
        book.note(device, "mqtt", "expired", at_us)
    assert book.of(two) == []
    assert [seen.count for seen in book.of(one)] == [2]
    book.note(None, "mqtt", "not_a_device_certificate", 9)
    assert [seen.reason for seen in book.of(None)] == ["not_a_device_certificate"]


def test_every_route_and_every_reason_stands_in_the_reference() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/reference/management-api.md").read_text()
    routes = [re.sub(r"\{\w+_id\}", "{id}", f"{method} {path}") for method, path in V1_NEEDS]
    assert [one for one in routes if not re.search(rf"`{re.escape(one)}[`?]", page)] == []
    assert [one for one in (*ClaimReason, *RevocationReason, *ClaimState, *RefusedFor) if f"`{one}`" not in page] == []
