"""What a gateway gets: two wheels of ours in an empty environment, and an agent that finds itself sound."""

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]


def run(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that sees nothing of this environment but the package index's settings."""
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_wheels_in_an_empty_environment_pass_the_selftest(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    venv.create(tmp_path / "empty", with_pip=True)
    python = tmp_path / "empty/bin/python"
    for room in ("wire", "edge"):
        run(python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, ROOT / room, folder=tmp_path)
    assert len(list(wheels.glob("lichtmast_*.whl"))) == 2
    own = [str(path) for path in wheels.glob("*.whl")]
    run(python, "-m", "pip", "install", "--quiet", *own, folder=tmp_path)

    installed = json.loads(run(python, "-m", "pip", "list", "--format=json", folder=tmp_path).stdout)
    names = {one["name"].lower().replace("_", "-") for one in installed} - {"pip", "setuptools"}
    assert names == {
        "lichtmast-wire",
        "lichtmast-edge",
        "aiomqtt",
        "paho-mqtt",
        "aiocoap",
        "cryptography",
        "cffi",
        "pycparser",
    }

    told = json.loads(run(tmp_path / "empty/bin/lichtmast-edge", "selftest", "--json", folder=tmp_path).stdout)
    assert told["sound"] is True
    assert {one["name"] for one in told["checks"]} >= {"disk", "outbox", "pack", "clock"}


@pytest.mark.slow
def test_the_running_agent_imports_no_cryptography() -> None:
    """Eleven megabytes, for an exchange in three months: that has a process of its own."""
    code = (
        "import sys, lichtmast.edge.agent, lichtmast.edge.uplink.mqtt, lichtmast.edge.uplink.coap, "
        "lichtmast.edge.identity.caretaker; print([m for m in sys.modules if m in ('cryptography', 'OpenSSL')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_agent_imports_nothing_of_the_server() -> None:
    code = "import sys, lichtmast.edge.agent; print(*[m for m in sys.modules if m.startswith('lichtmast.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    rooms = {name.split(".")[1] for name in done.stdout.split()}
    assert rooms == {"edge", "wire"}
