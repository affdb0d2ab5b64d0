"""What the documents show of the agent works as it stands there."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Final

import pytest

from lichtmast.edge import settings as edge_settings
from lichtmast.edge.identity import Refusal
from lichtmast.edge.identity.caretaker import IdentityStatistics
from lichtmast.edge.preparing import prepare
from lichtmast.edge.settings import parse_settings

ROOT: Final = Path(__file__).parents[2]
DOCUMENTS: Final = (*ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md"), ROOT / "README.md")
REFERENCE: Final = (ROOT / "docs/reference/edge.md").read_text()


def settings_in(path: Path) -> Iterator[str]:
    """Every whole settings file in a document."""
    yield from (
        block for block in re.findall(r"(?s)```toml\n(.*?)```", path.read_text()) if "[device]" in block.splitlines()
    )


def test_every_settings_file_that_is_shown_is_sound() -> None:
    shown = [(path, text) for path in DOCUMENTS for text in settings_in(path)]
    assert {path.name for path, _ in shown} >= {"edge.md", "raspberry-pi.md"}
    for path, text in shown:
        assert prepare(parse_settings(text)).drivers, path


@pytest.mark.parametrize(
    "name",
    ["DeviceSettings", "ReportSettings", "KeepSettings", "TimeSettings", "UplinkSettings", "IdentitySettings"],
)
def test_every_setting_stands_in_the_reference(name: str) -> None:
    written = {"id": "tenant", "content_format": "format", "bytes_max": "bytes", "endpoints": "host"}
    for field in fields(getattr(edge_settings, name)):
        assert f"`{written.get(field.name, field.name)}`" in REFERENCE, field.name


def test_every_reason_for_which_a_connection_is_refused_stands_in_the_reference() -> None:
    assert [one.value for one in Refusal if f"| `{one.value}` |" not in REFERENCE] == []


def test_every_figure_of_the_identity_stands_in_the_reference() -> None:
    assert [one.name for one in fields(IdentityStatistics) if f"`{one.name}`" not in REFERENCE] == []


@pytest.mark.slow
def test_every_command_and_option_that_is_shown_exists() -> None:
    told = {
        command: subprocess.run(
            [sys.executable, "-m", "lichtmast.edge", command, "--help"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for command in ("run", "check", "outbox", "selftest", "identity", "wipe")
    }
    called = [
        call
        for path in DOCUMENTS
        for call in re.findall(
            r"lichtmast-edge ((?:run|check|outbox|selftest|identity|wipe)\b[^`\n|]*)", path.read_text()
        )
    ]
    assert len(called) >= len(told)
    for call in called:
        command = call.split()[0]
        for option in re.findall(r"(?<![\w-])--[a-z-]+", call):
            assert option in told[command], call
