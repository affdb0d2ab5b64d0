"""How the ladder is told: by the command with the address, by the API without it and only to who may send probes."""

import json
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
import typer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from typer.testing import CliRunner

from lichtmast.api.access import Caller
from lichtmast.api.catalogue import read_catalogue
from lichtmast.api.problem import Problem, problem_response
from lichtmast.api.v1 import Ground
from lichtmast.api.v1.silence import NEEDS, Silence
from lichtmast.api.workers import Workers
from lichtmast.registry import DeviceStatus, Registry
from lichtmast.registry.auditing import Actor, ActorKind
from lichtmast.registry.contacts import Bearer, Contact
from lichtmast.registry.people import Grant, Role
from lichtmast.store.memory import MemoryStore
from lichtmast.suite.commands import device_why
from lichtmast.suite.remote import Remote
from lichtmast.suite.silence import Answer
from lichtmast.suite.silence.facts import Facts
from lichtmast.suite.silence.ladder import climb, verdict
from lichtmast.wire import DeviceId

NODE = DeviceId("gm0402", "lm-1")
NOW_US = 1_800_000_000_000_000
HEARD = Contact(NODE, Bearer.MQTT, IPv6Address("2001:db8::7"), NOW_US)
FACTS = Facts(NOW_US, status=DeviceStatus.SUSPENDED, contact=HEARD)
SENTENCE = {"en": "It is suspended: every door is shut to it.", "nl": "Het is geschorst: elke deur is ervoor dicht."}


def answer(facts: Facts) -> Answer:
    findings = tuple(climb(facts))
    return Answer(NODE, facts, findings, verdict(findings, facts))


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, told: dict[str, Any] | None, *words: str) -> tuple[int, str]:
    """The command beside a Lichtmast that tells this, or beside none."""

    class Told:
        def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
            assert path == f"/silence/{NODE}"
            return told

    monkeypatch.setattr(Remote, "find", lambda _: told and Told())
    app = typer.Typer()
    app.command()(device_why.why)
    done = CliRunner().invoke(app, [str(NODE), "--data", str(folder), *words])
    return done.exit_code, done.output if isinstance(done.exception, SystemExit | None) else str(done.exception)


@pytest.mark.parametrize("language", ["en", "nl"])
def test_the_command_shows_the_ladder_and_ends_with_the_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, language: str
) -> None:
    told = answer(FACTS).with_contact()
    code, output = run(monkeypatch, tmp_path, told, "--language", language)
    lines = output.splitlines()
    assert (code, lines[-2]) == (1, SENTENCE[language])
    assert lines[0].startswith("ours")
    assert "2001:db8::7" in lines[-3]


def test_json_holds_both_languages_and_a_device_that_speaks_ends_with_zero(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, output = run(monkeypatch, tmp_path, answer(FACTS).with_contact() | {"quiet": False, "rung": None}, "--json")
    assert (code, json.loads(output)["sentence"]) == (0, SENTENCE)


def test_without_a_running_lichtmast_that_is_the_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, output = run(monkeypatch, tmp_path, None)
    assert code == 1
    assert "so every device is quiet" in output


def test_the_api_tells_keepers_of_the_municipality_and_never_the_address(tmp_path: Path) -> None:
    asked = []

    async def why(device: DeviceId) -> dict[str, Any]:
        asked.append(device)
        return answer(replace(FACTS, now_us=NOW_US)).as_json()

    with Registry.open(tmp_path / "registry.sqlite") as registry:
        registry.ensure_tenant(NODE.tenant)
        registry.register_device(NODE, "air-quality", at_us=NOW_US)
        workers = Workers(threads=1, waiting_max=4)
        ground = Ground(registry, MemoryStore(), lambda: read_catalogue(registry), workers, lambda: NOW_US)

        async def on_problem(_: Request, error: Exception) -> Response:
            assert isinstance(error, Problem)
            return problem_response(error)

        def get(path: str, role: Role, tenant: str = NODE.tenant, *, has_desk: bool = True) -> Any:  # noqa: ANN401
            routes = Silence(ground, why if has_desk else None).routes()
            app = Starlette(
                routes=[Route(path, endpoint, methods=[method]) for method, path, endpoint in routes],
                exception_handlers={Problem: on_problem},
            )
            actor = Actor(ActorKind.USER, "iemand@example.nl", "2001:db8::7")
            who = Caller(actor, (Grant(tenant, role),), 1, "iemand", "Iemand", 1, recent=True, limited=False)

            async def signed(scope: Scope, receive: Receive, send: Send) -> None:
                scope["lichtmast.caller"] = who
                await app(scope, receive, send)

            return TestClient(signed).get(path)

        here = f"/v1/devices/{NODE}/silence"
        told = get(here, Role.ENGINEER)
        assert told.status_code == 200
        assert told.json()["sentence"] == SENTENCE
        assert "2001:db8" not in told.text
        assert get(here, Role.VIEWER).status_code == 403
        assert get(here, Role.MANAGER, "gm0363").status_code == 404
        assert get("/v1/devices/gm0402/lm-2/silence", Role.MANAGER).status_code == 404
        assert get(here, Role.MANAGER, has_desk=False).status_code == 501
        assert asked == [NODE]
    assert list(NEEDS) == [("GET", "/v1/devices/{tenant}/{name}/silence")]
