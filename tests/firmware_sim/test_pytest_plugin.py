"""The plugin does for another team's tests what its page says: the example of the page is run as it stands."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/how-to/test-your-device.md"
TIMEOUT_S = 280
"""Up to three servers, one after the other, started and asked by commands: on a busy machine that takes its time."""
pytestmark = pytest.mark.timeout(300)
PLUGIN = ("-p", "lichtmast.firmware_sim.pytest_plugin")


def run_pytest(folder: Path, *words: str, plugin: tuple[str, ...] = PLUGIN) -> tuple[int, str]:
    """Another team's run, with this plugin and no other: exit code and output."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *plugin, *words],
        cwd=folder,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    return done.returncode, done.stdout + done.stderr


def write_example(folder: Path) -> None:
    """The files of the page, each by the name in its first line."""
    files = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert [name for name, _ in files] == ["sound_meter.py", "test_sound_meter.py"]
    for name, text in files:
        (folder / name).write_text(text)


@pytest.mark.slow
def test_the_example_finds_the_mistake_that_the_page_says(tmp_path: Path) -> None:
    write_example(tmp_path)
    code, told = run_pytest(tmp_path)
    assert code == 1, told
    assert "3 passed, 1 error" in told, told
    assert "the books do not balance:\n1 packs were sent and have not arrived" in told, told
    assert re.search(r"^  gm0000/noise-[0-9a-f]{8} epoch 1: 2\.\.2$", told, re.MULTILINE), told


@pytest.mark.slow
@pytest.mark.faults
def test_with_the_mistake_mended_the_example_passes(tmp_path: Path) -> None:
    write_example(tmp_path)
    firmware = tmp_path / "sound_meter.py"
    firmware.write_text(firmware.read_text().replace("qos=0", "qos=1"))
    code, told = run_pytest(tmp_path, "-k", "power")
    assert (code, "1 passed" in told) == (0, True), told


TOWN = """
import pytest

@pytest.mark.lichtmast(profile="air-quality", tenant="gm0402", neighbours=3)
def test_neighbours_deliver_beside_the_device(town, device, audit):
    assert device.urn.startswith("urn:dev:lm:gm0402:air-quality-")
    assert device.received().stored == 0
    assert device.acknowledgements() == []
    while town.stored < 3:
        pass
"""


@pytest.mark.slow
def test_a_town_lives_beside_the_device_and_the_marker_chooses_both(tmp_path: Path) -> None:
    (tmp_path / "test_town.py").write_text(TOWN)
    code, told = run_pytest(tmp_path, "--strict-markers")
    assert (code, "1 passed" in told) == (0, True), told


@pytest.mark.slow
def test_a_running_lichtmast_can_be_used_and_is_not_killed(tmp_path: Path) -> None:
    (tmp_path / "test_outer.py").write_text(
        """
import subprocess, sys

INNER = '''
import pytest

def test_it(device, audit):
    assert device.received().stored == 0
    with pytest.raises(Exception, match="running before the test"):
        audit.kill()
'''

def test_the_inner_run(broker, tmp_path):
    (tmp_path / "test_inner.py").write_text(INNER)
    ports = ",".join(str(one) for one in (broker.ports.http, broker.ports.mqtt, broker.ports.coap))
    words = ["-q", "-p", "no:cacheprovider", "-p", "lichtmast.firmware_sim.pytest_plugin"]
    words += ["--rootdir", str(tmp_path), str(tmp_path / "test_inner.py")]
    words += ["--lichtmast-server", str(broker.data), "--lichtmast-ports", ports]
    done = subprocess.run([sys.executable, "-m", "pytest", *words], capture_output=True, text=True)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert broker.answers()
"""
    )
    code, told = run_pytest(tmp_path)
    assert (code, "1 passed" in told) == (0, True), told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--lichtmast-server", ".", "--lichtmast-ports", "1,2"), "--lichtmast-ports needs three numbers"),
        (("--lichtmast-server", ".", "--lichtmast-ports", "1,2,3"), "no Lichtmast answers at http://[::1]:1"),
    ],
)
def test_wrong_options_are_answered_with_what_to_mend(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    (tmp_path / "test_one.py").write_text("def test_it(broker): pass")
    code, told = run_pytest(tmp_path, *words)
    assert code != 0
    assert said in told


WRONG_UNIT = """
import json, socket, time
import pytest
from lichtmast.firmware_sim.light.mqtt import connect, publish

@pytest.fixture
def send(device, network):
    with socket.create_connection(network.mqtt, timeout=10) as line:
        line.sendall(connect("maker", 60))
        assert line.recv(4)
        def one(unit, **numbers):
            pack = {"bn": device.urn, "bt": time.time(), "n": "/noise/0/level", "u": unit, "v": 50.0} | numbers
            line.sendall(publish(device.up_topic, json.dumps([pack]).encode(), 1))
        yield one

def test_a_numbered_pack(send, device, audit):
    send("Cel", **{"lm-epoch": 1, "lm-seq": 1})
    began_s = time.monotonic()
    with pytest.raises(Exception, match="seq 1 refused: wrong_unit, ."):
        device.wait_stored(1)
    assert time.monotonic() - began_s < 25  # without the reason it waits for 30 s
    assert [(one.seq, one.reason) for one in device.refusals()] == [(1, "wrong_unit")]

def test_a_pack_without_a_number(send, device, audit):
    send("Cel")
    with pytest.raises(Exception, match="1 packs are in quarantine\\n.*none is sent for a pack without lm-epoch"):
        device.wait_stored(1)
    assert device.refusals() == []
    assert device.received().quarantined == 1
"""


@pytest.mark.slow
def test_a_refused_pack_ends_the_wait_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "test_unit.py").write_text(WRONG_UNIT)
    code, told = run_pytest(tmp_path)
    assert (code, "2 passed" in told) == (0, True), told


@pytest.mark.slow
@pytest.mark.parametrize("words", ["profle='noise'", "'noise'"])
def test_a_word_that_the_marker_does_not_know_is_refused(tmp_path: Path, words: str) -> None:
    (tmp_path / "test_one.py").write_text(f"import pytest\n@pytest.mark.lichtmast({words})\ndef test_it(): pass\n")
    code, told = run_pytest(tmp_path)
    assert code == pytest.ExitCode.USAGE_ERROR
    wrong = words.partition("=")[0]
    assert f"test_one.py::test_it: the marker lichtmast does not know {wrong}; " in told, told
    assert "its keywords are profile, tenant, neighbours" in told


@pytest.mark.slow
@pytest.mark.parametrize("plugin", [PLUGIN, ("-p", "lichtmast")], ids=["by its module", "by its entry point"])
def test_a_run_that_uses_no_fixture_of_it_imports_nothing_of_it(tmp_path: Path, plugin: tuple[str, ...]) -> None:
    (tmp_path / "test_one.py").write_text(
        "import sys\n"
        "def test_it():\n"
        "    ours = {name for name in sys.modules if name.startswith('lichtmast.')}\n"
        "    assert ours <= {'lichtmast.firmware_sim', 'lichtmast.firmware_sim.pytest_plugin'}\n"
    )
    code, told = run_pytest(tmp_path, plugin=plugin)
    assert (code, "1 passed" in told) == (0, True), told


def test_pytest_finds_the_plugin_by_itself() -> None:
    project = tomllib.loads((ROOT / "firmware-sim/pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"lichtmast": "lichtmast.firmware_sim.pytest_plugin"}
    assert [one.partition(">")[0] for one in project["optional-dependencies"]["pytest"]] == ["pytest"]
