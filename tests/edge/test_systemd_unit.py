"""The unit of the agent: systemd itself reads it, and says how much it is exposed."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

UNIT: Final = Path(__file__).parents[2] / "deploy/systemd/lichtmast-edge@.service"
EXPOSURE_MAX: Final = 2.5
"""systemd calls up to 5 medium; a unit without any sandbox has 9.6."""

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed"),
]


def analyse(tmp_path: Path, *words: str) -> str:
    unit = tmp_path / "lichtmast-edge@lm-0001.service"
    unit.write_text(UNIT.read_text().replace("/opt/lichtmast-edge/bin/lichtmast-edge", shutil.which("true") or ""))
    said = subprocess.run(["systemd-analyze", *words, unit], capture_output=True, text=True, check=True, timeout=60)
    return said.stdout + said.stderr


def test_systemd_accepts_every_line(tmp_path: Path) -> None:
    assert [line for line in analyse(tmp_path, "verify").splitlines() if "lichtmast" in line] == []


def test_the_sandbox_is_tight(tmp_path: Path) -> None:
    found = re.search(r"Overall exposure level .*: ([0-9.]+)", analyse(tmp_path, "security", "--offline=true"))
    assert found is not None
    assert float(found[1]) <= EXPOSURE_MAX


def test_the_clock_may_be_read_and_its_boot_be_known() -> None:
    lines = UNIT.read_text().splitlines()
    assert "SystemCallFilter=@system-service adjtimex clock_adjtime" in lines
    assert not [line for line in lines if line.startswith(("ProtectClock=", "ProcSubset="))]
