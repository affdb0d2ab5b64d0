"""Faultpoints of the running program: armed by the environment alone, loudly, and deadly where they say so."""

import os
import subprocess
import sys
import time
from pathlib import Path

import paho.mqtt.publish
import pytest
from running_lichtmast import Running

from lichtmast.suite.folder import Folder
from lichtmast.wire import DeviceId, Reading, encode, topics
from lichtmast.wire.faultpoint import EXIT_CODE

pytestmark = pytest.mark.slow
AIR = DeviceId("gm0402", "air-1")


def test_a_fault_that_does_not_exist_ends_the_command_before_it_begins(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lichtmast.suite", "audit", "--data", str(tmp_path / "data")],
        env=os.environ | {"LICHTMAST_FAULTS": "ingest.nowhere=exit@1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "no faultpoint 'ingest.nowhere'" in " ".join(done.stderr.split())
    assert not (tmp_path / "data").exists()


def test_a_death_between_commit_and_acknowledgement_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(Folder.choose(tmp_path / "data"), tmp_path / "output.log")
    running.register("air-1")
    monkeypatch.setenv("LICHTMAST_FAULTS", "ingest.after_commit=exit@1")
    raw = encode(AIR, [Reading("/air/0/pm10", 1e-8, "kg/m3", time.time_ns() // 1000)], epoch=7, seq=1)

    def publish() -> None:
        paho.mqtt.publish.single(topics.up_topic(AIR), raw, qos=1, hostname="::1", port=running.mqtt_port)

    try:
        running.start()
        publish()
        assert running.process is not None
        assert running.process.wait(30) == EXIT_CODE
        assert "FAULTS ARMED" in running.output.read_text()
        monkeypatch.delenv("LICHTMAST_FAULTS")
        running.start()
        publish()
        account = running.audit()
        assert (account["stored"], account["duplicates"], account["faults"]) == (1, 1, [])
        assert running.stop() == 0
    finally:
        if running.process is not None and running.process.poll() is None:
            running.process.kill()
            running.process.wait()
