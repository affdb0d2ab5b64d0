"""The unit of the server: systemd itself reads it, and says how much it is exposed; its options are the command's."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

UNIT: Final = Path(__file__).parents[2] / "deploy/systemd/lichtmast.service"
EXPOSURE_MAX: Final = 2.5
"""systemd calls up to 5 medium; a unit without any sandbox has 9.6."""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


def analyse(tmp_path: Path, *words: str) -> str:
    unit = tmp_path / "lichtmast.service"
    unit.write_text(UNIT.read_text().replace("/opt/lichtmast/bin/lichtmast", shutil.which("true") or ""))
    said = subprocess.run(["systemd-analyze", *words, unit], capture_output=True, text=True, check=True, timeout=60)
    return said.stdout + said.stderr


@pytest.mark.system
@needs_systemd
def test_systemd_accepts_every_line_of_the_server(tmp_path: Path) -> None:
    assert [line for line in analyse(tmp_path, "verify").splitlines() if "lichtmast.service" in line] == []


@pytest.mark.system
@needs_systemd
def test_the_sandbox_of_the_server_is_tight(tmp_path: Path) -> None:
    found = re.search(r"Overall exposure level .*: ([0-9.]+)", analyse(tmp_path, "security", "--offline=true"))
    assert found is not None
    assert float(found[1]) <= EXPOSURE_MAX


def test_the_unit_gives_the_data_folder_that_systemd_makes() -> None:
    lines = UNIT.read_text().splitlines()
    assert "StateDirectory=lichtmast" in lines
    assert [line for line in lines if line.startswith("ExecStart=")] == [
        "ExecStart=/opt/lichtmast/bin/lichtmast up --data /var/lib/lichtmast $LICHTMAST_OPTIONS"
    ]
