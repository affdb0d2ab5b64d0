"""`lichtmast validation`: rules are shown, set, compared and tried, on a folder and beside a running Lichtmast."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from lichtmast.ingest.validation import trial
from lichtmast.ingest.validation.trial import try_rules
from lichtmast.registry import DeviceStatus, NewDevice, Registry
from lichtmast.store import DuckStore
from lichtmast.store.memory import MemoryStore
from lichtmast.store.port import LEDGER_SCHEMA, OBSERVATION_SCHEMA, QUARANTINE_SCHEMA, Batch, ObservationStore
from lichtmast.suite import operator_validation
from lichtmast.suite.commands import validation
from lichtmast.suite.folder import Folder
from lichtmast.wire import DeviceId, Quality, load_profiles

pytestmark = pytest.mark.slow

NOW_US = 1_795_000_000_000_000
MOMENT = "2026-11-18T11:06:40Z"
MINUTE_US = 60_000_000
DEVICES = 6
RULES = """
[profile.weather.temperature]
maximum = 30
rate_per_s = false
[datastream.{series}]
stuck_after = 5
"""
Run = Callable[..., Any]


def _series(registry: Registry, capability: str = "temperature") -> list[int]:
    """The series of one capability, by device."""
    at = next(i for i, one in enumerate(load_profiles()["weather"].uplinks) if one.key == capability)
    return [entry.datastream_ids[at] for entry in registry.directory().entries.values()]


@pytest.fixture(scope="module")
def register(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("validation") / "registry.sqlite"
    with Registry.open(path) as registry:
        registry.ensure_tenant("gm0402", "Hilversum")
        registry.register_devices(
            [
                NewDevice(DeviceId("gm0402", f"lm-{number}"), "weather", None, DeviceStatus.ACTIVE)
                for number in range(DEVICES)
            ],
            at_us=1,
        )
    return path


@pytest.fixture
def folder(tmp_path: Path, register: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setattr(validation, "now_us", lambda: NOW_US)
    folder = Folder.choose(tmp_path / "data")
    folder.registry.write_bytes(register.read_bytes())
    return folder


@pytest.fixture
def run(folder: Folder) -> Run:
    def call(*words: str) -> dict[str, Any]:
        done = CliRunner().invoke(
            validation.app, [*words, "--data", str(folder.path), "--json"], catch_exceptions=False
        )
        assert done.exit_code == 0, done.output
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return call


@pytest.fixture
def rules(tmp_path: Path, register: Path) -> Path:
    path = tmp_path / "rules.toml"
    with Registry.open(register) as registry:
        path.write_text(RULES.format(series=_series(registry)[0]))
    return path


def _fill(store: ObservationStore, registry: Registry) -> None:
    """An hour of temperatures: they wander, but the first stands still from its tenth minute, and all see one 52."""
    rows: list[tuple[int, int, float | None, str | None, int, int]] = []
    for number, series in enumerate(_series(registry)):
        for minute in range(60):
            at_us = NOW_US - (60 - minute) * MINUTE_US
            value = 20 + 0.1 * (minute % 7) if number or minute < 10 else 20.0
            rows.append((series, at_us, 52.0 if minute == 40 else value, None, 0, at_us))
    columns = [
        pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), OBSERVATION_SCHEMA, strict=True)
    ]
    nothing = LEDGER_SCHEMA.empty_table(), QUARANTINE_SCHEMA.empty_table()
    store.commit(Batch(pa.table(columns, schema=OBSERVATION_SCHEMA), *nothing, "READINGS", 1))


def test_a_document_comes_back_as_the_file_that_was_set(folder: Folder, run: Run, rules: Path, tmp_path: Path) -> None:
    assert run("set", str(rules), "--note", "summer")["version"] == 1
    shown = CliRunner().invoke(validation.app, ["show", "--file", "--data", str(folder.path)], catch_exceptions=False)
    assert tomllib.loads(shown.stdout) == tomllib.loads(rules.read_text()) == run("show")["document"]
    (tmp_path / "again.toml").write_text(shown.stdout)
    assert run("set", str(tmp_path / "again.toml"), "--note", "again", "--based-on", "1")["version"] == 1


def test_what_holds_is_shown_with_a_mark_at_what_the_document_says(folder: Folder, run: Run, rules: Path) -> None:
    run("set", str(rules), "--note", "summer")
    shown = CliRunner().invoke(validation.app, ["show", "weather", "--data", str(folder.path)], catch_exceptions=False)
    line = next(one for one in shown.stdout.splitlines() if one.startswith("  temperature"))
    assert "minimum -40, maximum 30*" in line
    assert "rate_per_s off*" in shown.stdout.replace("\n" + " " * len(line.split("minimum")[0]), " ")
    assert run("show", "weather")["profiles"]["weather"]["temperature"]["rate_per_s"] is None


def test_nobody_overwrites_a_version_that_he_did_not_name(folder: Folder, run: Run, rules: Path) -> None:
    run("set", str(rules), "--note", "summer")
    for words in ((), ("--based-on", "0")):
        done = CliRunner().invoke(
            validation.app, ["set", str(rules), "--note", "x", *words, "--data", str(folder.path)]
        )
        assert done.exit_code == 1
        assert "at version 1" in str(done.exception)


def test_history_and_diff_tell_who_changed_which_field_and_why(run: Run, rules: Path) -> None:
    run("set", str(rules), "--note", "summer")
    rules.write_text("[profile.weather.temperature]\nmaximum = 35\n")
    run("set", str(rules), "--note", "hotter", "--based-on", "1")
    assert [(one["version"], one["note"], one["at"]) for one in run("history")["versions"]] == [
        (2, "hotter", MOMENT),
        (1, "summer", MOMENT),
    ]
    changes = run("diff", "1", "2")["changes"]
    assert changes["profile.weather.temperature.maximum"] == {"before": 30, "after": 35}
    assert changes["profile.weather.temperature.rate_per_s"] == {"before": False, "after": None}


def test_a_dry_run_on_a_folder_tells_what_would_be_flagged_and_changes_nothing(
    folder: Folder, run: Run, rules: Path
) -> None:
    store = DuckStore.open(folder.store, clock_us=lambda: NOW_US)
    with Registry.open(folder.registry) as registry:
        _fill(store, registry)
        first = _series(registry)[0]
    store.close()
    told = run("try", str(rules), "--days", "1")
    assert (told["readings"], told["series"]) == (60 * DEVICES, {"concerned": DEVICES, "tried": DEVICES})
    changes = {one["flag"]: one for one in told["changes"]}
    assert (changes["OUT_OF_RANGE"]["gained"], changes["OUT_OF_RANGE"]["now"]) == (DEVICES, 0)
    assert (changes["RATE"]["lost"], changes["RATE"]["tried"]) == (2 * DEVICES, 0)
    stuck = changes["STUCK"]
    assert {one["series"] for one in stuck["examples"]} == {first}
    assert (stuck["examples"][-1]["device"], stuck["examples"][-1]["result"]) == ("gm0402/lm-0", 20.0)
    assert run("show")["version"] == 0


def _tried(registry: Registry, store: ObservationStore, document: dict[str, Any]) -> dict[str, Any]:
    return try_rules(store, registry.directory(), registry.validation.draft(document), 0.05, NOW_US)


def test_late_readings_and_series_whose_rules_stay_are_left_out(folder: Folder) -> None:
    store = MemoryStore()
    with Registry.open(folder.registry) as registry:
        _fill(store, registry)
        first = _series(registry)[0]
        told = _tried(registry, store, {"datastream": {str(first): {"maximum": 30}}})
        assert (told["readings"], told["series"]["concerned"]) == (60, 1)
        assert [(one["flag"], one["gained"]) for one in told["changes"]] == [("OUT_OF_RANGE", 1)]
        late = pa.table(
            [[first], [NOW_US - MINUTE_US // 2], [31.0], [None], [int(Quality.LATE)], [NOW_US]],
            schema=OBSERVATION_SCHEMA,
        )
        nothing = LEDGER_SCHEMA.empty_table(), QUARANTINE_SCHEMA.empty_table()
        store.commit(Batch(late, *nothing, "READINGS", 2))
        assert _tried(registry, store, {"datastream": {str(first): {"maximum": 30}}}) == told


def test_a_dry_run_is_the_same_in_small_pages_and_reads_no_more_than_it_may(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, document = MemoryStore(), {"profile": {"weather": {"temperature": {"maximum": 30, "stuck_after": 5}}}}
    with Registry.open(folder.registry) as registry:
        _fill(store, registry)
        whole = _tried(registry, store, document)
        for most in (2, 7, 50):
            monkeypatch.setattr(trial, "PAGE_READINGS", most)
            assert _tried(registry, store, document) == whole
        monkeypatch.setattr(trial, "READINGS_MAX", 72 * DEVICES // 2)
        assert _tried(registry, store, document)["series"] == {"concerned": DEVICES, "tried": DEVICES // 2}


def test_a_running_lichtmast_tries_rules_for_the_command(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_validation, "now_us", lambda: NOW_US)
    store, app = MemoryStore(), FastAPI()
    with Registry.open(folder.registry) as registry:
        _fill(store, registry)
        running: Any = SimpleNamespace(registry=registry, store=store)
        app.include_router(operator_validation.validation_routes(running))
        document = {"profile": {"weather": {"temperature": {"maximum": 30}}}}
        with TestClient(app) as client:
            told = client.post("/validation/trials", json={"document": document, "days": 0.05})
            assert told.json() == _tried(registry, store, document)
            wrong = client.post("/validation/trials", json={"document": {"profile": {"wether": {}}}, "days": 1})
    assert wrong.status_code == 400
    assert wrong.json()["detail"].startswith("profile 'wether' is not known; known are air-quality")
