"""`lichtmast quarantine` on a stopped Lichtmast: what it tells, and what it refuses to do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from lichtmast.store import Batch, DuckStore, Outcome
from lichtmast.store.port import LEDGER_SCHEMA, OBSERVATION_SCHEMA, QUARANTINE_SCHEMA, RELEASED_SCHEMA
from lichtmast.suite.commands.quarantine import app
from lichtmast.suite.errors import OperatorError
from lichtmast.suite.folder import Folder

pytestmark = pytest.mark.slow  # opens databases

NOON_US = 1_795_000_000_000_000
Run = Callable[..., Result]


def entry(log_seq: int, device: str = "gm0402/lm-1", **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """A refused pack."""
    return {
        "log_seq": log_seq,
        "part": 0,
        "device": device,
        "received_at": NOON_US + log_seq * 1_000_000,
        "transport": 0,
        "reason": "wrong_unit",
        "detail": "/lamp/0/level is in /, not in %",
        "content_format": 110,
        "payload": b"[1]",
        **changes,
    }


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The command on a folder with three entries, and a fourth that was discarded."""
    store = DuckStore.open(Folder.choose(tmp_path).store, clock_us=lambda: NOON_US)
    entries = [
        entry(1),
        entry(2, detail="now in \x1b[2Jppm"),
        entry(3, "gm0402/lm-2", reason="undecodable", detail="no JSON", payload=b"\xff\x00"),
        entry(4),
    ]
    closed = {"log_seq": 4, "part": 0, "received_at": NOON_US + 4_000_000, "released_at": NOON_US + 9_000_000}
    store.commit(
        Batch(
            OBSERVATION_SCHEMA.empty_table(),
            LEDGER_SCHEMA.empty_table(),
            pa.Table.from_pylist(entries, QUARANTINE_SCHEMA),
            "READINGS",
            4,
            released=pa.Table.from_pylist([closed | {"outcome": int(Outcome.DISCARDED)}], RELEASED_SCHEMA),
        )
    )
    store.close()

    def running(*words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--data", str(tmp_path)])

    return running


def test_groups_are_listed_by_reason_and_device_and_folded(run: Run) -> None:
    told = json.loads(run("list", "--json").stdout)
    assert told["packs"] == 3
    assert [(one["reason"], one["device"], one["packs"]) for one in told["groups"]] == [
        ("wrong_unit", "gm0402/lm-1", 2),
        ("undecodable", "gm0402/lm-2", 1),
    ]
    assert told["groups"][0]["last"] == "2026-11-18T11:06:42.000Z"
    [one] = json.loads(run("list", "--by", "device", "--device", "gm0402/lm-1", "--json").stdout)["groups"]
    assert (one["device"], one["reasons"], one["packs"]) == ("gm0402/lm-1", 1, 2)
    words = run("list").stdout
    assert words.startswith("3 packs are in quarantine")
    assert "\x1b" not in words


def test_entries_are_listed_by_the_name_that_show_takes(run: Run) -> None:
    told = json.loads(run("list", "--entries", "--reason", "wrong_unit", "--json").stdout)
    assert [one["entry"] for one in told["entries"]] == ["1/0", "2/0"], "the oldest first; 4/0 was discarded"
    assert told["is_whole"]
    for one in told["entries"]:
        assert json.loads(run("show", one["entry"], "--json").stdout)["state"] == "open"
    words = run("list", "--entries", "--limit", "2").stdout
    assert [line.partition(" ")[0] for line in words.splitlines()] == ["1/0", "2/0", "and"]
    assert "\x1b" not in words
    assert "No such pack" in run("list", "--entries", "--reason", "unknown_name").stdout


def test_an_entry_is_shown_with_its_bytes_and_a_closed_one_with_its_fate(run: Run) -> None:
    told = json.loads(run("show", "1/0", "--json").stdout)
    assert (told["state"], told["text"], told["payload"], told["transport"]) == ("open", "[1]", "WzFd", "mqtt")
    assert json.loads(run("show", "3/0", "--json").stdout)["text"] is None
    assert "base64 /wA=" in run("show", "3/0").stdout
    assert "state discarded" in run("show", "4/0").stdout
    assert isinstance(run("show", "9/0").exception, OperatorError)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["replay"], "--all"),
        (["replay", "--all", "--reason", "wrong_unit"], "--all"),
        (["replay", "1-0"], "1234/0"),
        (["replay", "--reason", "wrong_units"], "no reason"),
        (["discard", "--all"], "--because"),
        (["list", "--entries", "--by", "device"], "--entries"),
        (["list", "--limit", "3"], "--entries"),
    ],
)
def test_a_slip_of_the_hand_is_told_what_to_say(run: Run, words: list[str], said: str) -> None:
    done = run(*words)
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())


def test_nothing_is_replayed_where_no_pipeline_runs(run: Run) -> None:
    done = run("replay", "--all")
    assert isinstance(done.exception, OperatorError)
    assert "lichtmast up" in str(done.exception)
