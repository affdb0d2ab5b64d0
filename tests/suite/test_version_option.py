"""The command itself: its version, its list of commands, and that asking for them loads no room."""

import subprocess
import sys
from importlib.metadata import version
from typing import Final

import pytest
from typer.testing import CliRunner

from lichtmast.suite.__main__ import app
from lichtmast.suite.commands.offered import OFFERED, loaded

ROOMS: Final = ("lichtmast.api", "lichtmast.ingest", "lichtmast.store", "lichtmast.firmware_sim", "fastapi", "pyarrow")


def modules_after(work: str) -> set[str]:
    """What a new interpreter has imported after this."""
    script = f"import sys\n{work}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stderr.split())


def test_the_version_is_that_of_the_distribution() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"lichtmast {version('lichtmast')}\n")


@pytest.mark.slow
def test_help_loads_no_room() -> None:
    work = "from lichtmast.suite.__main__ import app\ntry: app(['--help'])\nexcept SystemExit: pass"
    after = modules_after(work)
    assert "lichtmast.suite.commands.offered" in after
    assert after & {*ROOMS, "lichtmast.registry", "lichtmast.wire", "sqlalchemy"} == set()


@pytest.mark.slow
def test_commands_that_need_the_register_alone_load_nothing_else() -> None:
    commands = ("user", "device", "alert", "rule", "channel")
    after = modules_after(f"from lichtmast.suite.commands.offered import loaded\nfor one in {commands}: loaded(one)")
    assert {f"lichtmast.suite.commands.{one}" for one in commands} < after
    assert after & set(ROOMS) == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", OFFERED)
def test_the_list_says_of_a_command_what_its_own_help_says_first(name: str) -> None:
    command = loaded(name)
    first = " ".join((command.help or "").split("\n\n")[0].split())
    assert first.startswith(OFFERED[name].summary)


def test_a_misspelled_command_is_told_which_one_was_meant() -> None:
    done = CliRunner().invoke(app, ["devise"])
    assert done.exit_code == 2
    assert "Did you mean 'device'?" in done.output
