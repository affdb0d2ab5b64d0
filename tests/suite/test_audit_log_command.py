"""`lichtmast audit --log`: says whether the log of changes is whole, by words, JSON and exit code."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from shutil import copytree

import pytest
from typer.testing import CliRunner, Result

from lichtmast.registry import Registry
from lichtmast.suite.__main__ import app
from lichtmast.suite.folder import Folder

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Folder.choose(tmp_path_factory.mktemp("template") / "data")
    with Registry.open(made.registry) as registry:
        registry.ensure_tenant("gm0402", "Hilversum", at_us=1_700_000_000_000_000)
        registry.ensure_tenant("gm0344", "Utrecht", at_us=1_790_000_000_000_000)
    return made.path


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Folder:
    return Folder(copytree(template, tmp_path / "data"))


@pytest.fixture
def run(folder: Folder) -> Run:
    return lambda *words: CliRunner().invoke(app, ["audit", "--log", "--data", str(folder.path), *words])


def break_log(folder: Folder) -> None:
    with closing(sqlite3.connect(folder.registry)) as connection, connection:
        connection.execute("DROP TRIGGER audit_event_update")
        connection.execute("UPDATE audit_event SET subject = 'gm0999' WHERE seq = 2")


def test_a_whole_log_is_shown_with_the_head_to_keep(run: Run) -> None:
    done = run()
    assert done.exit_code == 0
    assert "tenant.added gm0402" in done.stdout
    assert "The log is whole: 3 events" in done.stdout
    head = done.stdout.split()[-1]
    assert run("--expect", head.upper()).exit_code == 0
    told = json.loads(run("--json").stdout)
    assert (told["whole"], told["events"], told["head"]["hash"]) == (True, 3, head)


def test_a_broken_log_is_told_by_exit_code_and_words(folder: Folder, run: Run) -> None:
    break_log(folder)
    done = run()
    assert done.exit_code == 1
    assert "The log is broken at event 2: this event is not as it was written." in done.stdout
    told = json.loads(run("--json").stdout)
    assert told["first_bad"] == {"seq": 2, "fault": "this event is not as it was written"}


def test_a_head_that_is_not_in_the_log_is_told(run: Run) -> None:
    done = run("--expect", "ab" * 32)
    assert done.exit_code == 1
    assert "no event has the hash that was kept elsewhere" in done.stdout


def test_since_shows_what_came_then(run: Run) -> None:
    shown = json.loads(run("--since", "2026-01-01", "--json").stdout)["shown"]
    assert [one["subject"] for one in shown if one["action"] == "tenant.added"] == ["gm0344"]


def test_an_export_is_written_whole(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "log.jsonl"
    assert run("--export", str(target)).exit_code == 0
    assert [json.loads(line)["seq"] for line in target.read_text().splitlines()] == [1, 2, 3]


@pytest.mark.parametrize("words", [["--expect", "abc"], ["--expect", "é" * 64], ["--since", "yesterday"]])
def test_what_is_no_hash_and_no_moment_is_refused(run: Run, words: list[str]) -> None:
    assert run(*words).exit_code == 2


@pytest.mark.parametrize("words", [["--since", "2026-01-01"], ["--export", "x"], ["--expect", "ab" * 32]])
def test_options_of_the_log_need_it(folder: Folder, words: list[str]) -> None:
    done = CliRunner().invoke(app, ["audit", "--data", str(folder.path), *words])
    assert done.exit_code == 2
    assert "--log" in done.output


def test_a_folder_without_a_register_is_told_and_gets_none(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["audit", "--log", "--data", str(tmp_path / "empty")])
    assert done.exit_code == 1
    assert "there is no register" in str(done.exception)
    assert not (tmp_path / "empty" / "registry.sqlite").exists()
