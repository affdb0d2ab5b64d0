"""`lichtmast sim` against a real Lichtmast: the town lives, its devices are known, and the books balance."""

import json
import subprocess
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from running_lichtmast import Running, lichtmast
from typer.testing import CliRunner

from lichtmast.suite.__main__ import app, expected
from lichtmast.suite.commands.sim_target import assets_of
from lichtmast.suite.errors import SuiteError
from lichtmast.suite.folder import Folder
from lichtmast.wire import senml

SCENARIO = """
[town]
seed = 7
devices = 24
interval_s = 1
assets = "poles.geojson"

[[device]]
profile = "noise"
share = 0.5

[[device]]
profile = "lamp-controller"
share = 0.5

[[fault]]
kind = "duplicate"
devices = ["noise-00001"]

[[fault]]
kind = "drift"
devices = ["noise-00002"]
channel = "level"
range_share_per_h = 10
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    places = [{"type": "Point", "coordinates": [5.17 + n / 1_000, 52.22]} for n in range(6)]
    features = [{"type": "Feature", "geometry": place} for place in places]
    told = json.dumps({"type": "FeatureCollection", "features": features})
    (tmp_path / "poles.geojson").write_text(told, encoding="utf-8")
    file = tmp_path / "town.toml"
    file.write_text(SCENARIO, encoding="utf-8")
    return file


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    one = Running(Folder.choose(tmp_path / "data"), tmp_path / "output.log")
    one.start()
    yield one
    one.stop()


def told_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.slow
def test_a_town_and_a_flood_end_with_balanced_books(running: Running, scenario: Path, tmp_path: Path) -> None:
    """The town lived yesterday, three hours in three seconds."""
    labels, history = tmp_path / "labels.jsonl", tmp_path / "history.jsonl"
    began = datetime.now(UTC) - timedelta(days=1)
    hourly = SCENARIO.replace("interval_s = 1", "interval_s = 3600")
    scenario.write_text(f"{hourly}\n[time]\nfrom = {began.isoformat()}\nspeed = 3600\n", encoding="utf-8")
    words = ["sim", "town", str(scenario), "--seconds", "10800", "--json"]
    done = lichtmast(*words, "--labels", str(labels), "--history", str(history), data=running.folder.path)
    town = told_of(done)
    assert (town["devices"], town["sent"], town["acknowledged"], town["outstanding"]) == (24, 72, 72, 0)
    assert town["attempts"] >= 75, "three packs went twice"
    lines = [json.loads(line) for line in labels.read_text().splitlines()]
    assert Counter(one["type"] for one in lines) == {"fault": 2, "pack": 3, "reading": town["labels"] - 3}
    assert {one["suffix"] for one in lines if one["type"] == "reading"} <= {"/noise/0/level"}
    times = [one["true_us"] / 1e6 - began.timestamp() for one in lines if "true_us" in one]
    assert 0 <= min(times) < 3_600 < max(times) < 20_000
    attempts = [json.loads(line) for line in history.read_text().splitlines()]
    assert sum(one["op"] == "ack" for one in attempts) == 72
    for transport in ("mqtt", "coap"):
        words = ["sim", "flood", "--devices", "20", "--rate", "200", "--seconds", "2", "--transport", transport]
        flood = told_of(lichtmast(*words, "--json", data=running.folder.path))
        assert (flood["sent"], flood["acknowledged"]) == (400, 400)
    audit = running.audit()
    assert audit["balanced"]
    assert audit["stored"] == 72 + 800
    assert audit["duplicates"] >= 3


@pytest.mark.slow
def test_packs_are_written_without_a_server_and_the_same_each_time(scenario: Path, tmp_path: Path) -> None:
    scenario.write_text(SCENARIO + "[time]\nfrom = 2026-11-18T06:00:00Z\n", encoding="utf-8")
    written = []
    for run in ("one", "two"):
        packs, labels = tmp_path / f"{run}.jsonl", tmp_path / f"{run}.labels"
        words = ["sim", "town", str(scenario), "--seconds", "60", "--packs", str(packs), "--labels", str(labels)]
        told = told_of(lichtmast(*words, "--json", data=tmp_path / "data"))
        assert told["packs"] == 24 * 60 + 60
        written.append((packs.read_bytes(), labels.read_bytes()))
    same = written[0] == written[1]
    assert same
    first = json.loads(written[0][0].splitlines()[0])
    pack = senml.decode(b64decode(first["payload"]), first["content_format"], first["t_us"])
    assert (str(pack.device), pack.seq) == (first["device"], 1)
    assert pack.records[0].time_us == first["t_us"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["town", "FILE"], 1, "no Lichtmast runs on"),
        (["town", "missing.toml", "--mqtt", "[::1]:1883"], 1, "missing.toml: No such file"),
        (["town", "FILE", "--mqtt", "[2001:db8::1]:1883"], 1, "is another machine"),
        (["town", "FILE", "--coap", "broker.example:5683"], 1, "add --target-is-mine"),
        (["town", "FILE", "--mqtt", "::1"], 1, "is not [HOST]:PORT"),
        (["flood", "--mqtt", "192.0.2.1:1883"], 1, "is no IPv6 address, and Lichtmast speaks IPv6 only; write [::1]:"),
        (["town", "FILE", "--mqtt", "[::1]:1883"], 1, "devices speak coap, but coap= is None"),
        (["town", "FILE", "--packs", "packs.jsonl"], 2, "--packs needs --seconds"),
        (["flood", "--transport", "smoke"], 2, "choose mqtt or coap"),
        (["flood", "--addresses", "10", "--mqtt", "[::1]:1883"], 2, "is no IPv6 prefix"),
    ],
)
def test_what_cannot_be_done_is_said(words: list[str], code: int, message: str, scenario: Path, tmp_path: Path) -> None:
    words = [str(scenario) if one == "FILE" else one for one in words]
    done = CliRunner().invoke(app, ["sim", *words], env={"LICHTMAST_DATA": str(tmp_path / "data"), "TERM": "dumb"})
    assert done.exit_code == code
    said = done.output if code == 2 else str(done.exception)
    assert message in " ".join(said.replace("│", " ").split())
    assert code == 2 or isinstance(done.exception, expected()), "the command tells it in one line"


def test_a_register_without_lampposts_is_answered_with_the_command_that_brings_them(tmp_path: Path) -> None:
    folder = Folder.choose(tmp_path)
    with pytest.raises(
        SuiteError, match=f"lichtmast import geojson FILE --tenant gm0402 --data {folder.path}, or name"
    ):
        assets_of(folder, "gm0402")


@pytest.mark.slow
def test_real_agents_live_in_the_same_town(running: Running, scenario: Path) -> None:
    mix = """
[[device]]
profile = "weather"
share = 0.5
fidelity = "agent"

[[device]]
profile = "weather"
share = 0.5

[[event]]
kind = "flood"
duration_s = 600
"""
    town = SCENARIO.partition("[[device]]")[0].replace("devices = 24", "devices = 4")
    scenario.write_text(town + mix, encoding="utf-8")
    words = ["sim", "town", str(scenario), "--seconds", "8", "--json"]
    told = told_of(lichtmast(*words, data=running.folder.path))
    assert (told["devices"], told["agents"], told["agents_ended"]) == (2, 2, 0)
    audit = running.audit()
    stored = Counter[str]()
    for account in audit["accounts"]:
        stored[account["device"]] += account["stored"]
    assert set(stored) == {f"gm0402/weather-{number:05d}" for number in range(1, 5)}
    assert all(stored[f"gm0402/weather-{number:05d}"] >= 2 for number in (1, 2)), "both transports"
    assert audit["faults"] == []


def test_an_agent_in_another_time_is_refused(scenario: Path, tmp_path: Path) -> None:
    past = '[time]\nfrom = 2026-11-18T06:00:00Z\n[[device]]\nprofile = "noise"\nshare = 1\nfidelity = "agent"\n'
    scenario.write_text(SCENARIO.partition("[[device]]")[0] + past, encoding="utf-8")
    words = ["sim", "town", str(scenario), "--mqtt", "[::1]:1", "--coap", "[::1]:1"]
    done = CliRunner().invoke(app, words, env={"LICHTMAST_DATA": str(tmp_path / "data")})
    assert "real agents live now" in str(done.exception)
