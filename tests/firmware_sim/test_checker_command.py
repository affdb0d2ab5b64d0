"""`python -m lichtmast.firmware_sim.checker`: files in, a verdict and an exit code out."""

import asyncio
import csv
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lichtmast.firmware_sim.checker import SourceError, read_export
from lichtmast.firmware_sim.checker.sources import moment_us
from lichtmast.firmware_sim.history import Entry, History, digest
from lichtmast.wire import DeviceId, Reading, encode

DEVICE = DeviceId("gm0402", "noise-1")
NOW_US = 1_795_000_000_123_456
NAMES = ("datastream_id", "phenomenon_time", "result", "result_text", "quality", "result_time")


def write_run(folder: Path, stored: float) -> None:
    """One pack of one reading of 61.5 dB, and what an export says of it."""
    pack = encode(DEVICE, [Reading("/noise/0/level", 61.5, "dB", NOW_US)], epoch=1, seq=1)

    async def noted() -> None:
        async with History(folder / "run.jsonl") as history:
            history.note(Entry("attempt", DEVICE, 1, 1, digest(pack), NOW_US, pack))
            history.note(Entry("ack", DEVICE, 1, 1, digest(pack), NOW_US))

    asyncio.run(noted())
    moment = datetime.fromtimestamp(NOW_US // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.123456Z")
    with (folder / "all.csv").open("w", newline="") as file:
        csv.writer(file).writerows([NAMES, (7, moment, stored, "", 0, moment)])
    (folder / "audit.json").write_text(json.dumps({"faults": [], "stored": 1}))


def judge(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lichtmast.firmware_sim.checker", "run.jsonl", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.slow
def test_a_sound_run_exits_with_0(tmp_path: Path) -> None:
    write_run(tmp_path, 61.5)
    done = judge(tmp_path, "--export", "all.csv", "--audit", "audit.json", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"] == {
        "attempted": 1,
        "acknowledged": 1,
        "stored": 1,
        "quarantined": 0,
        "outbox": 0,
        "dropped": 0,
    }


@pytest.mark.slow
def test_an_altered_value_exits_with_1_names_the_pack_and_keeps_the_run(tmp_path: Path) -> None:
    write_run(tmp_path, 61.4)
    done = judge(tmp_path, "--export", "all.csv", "--keep", "failing")
    assert done.returncode == 1
    assert "altered: gm0402/noise-1 epoch 1 seq 1 /noise/0/level: sent 61.5, export shows 61.4" in done.stdout
    assert {one.name for one in (tmp_path / "failing").iterdir()} == {"run.jsonl", "report.json", "report.txt"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing to hold the histories against"),
        (("--export", "no.csv"), "no.csv"),
        (("--export", "run.jsonl"), "run.jsonl is no CSV export of Lichtmast"),
        (("--server", "http://[::1]:1"), "refused"),
        (("--export", "all.csv", "--audit", "all.csv"), "all.csv is not what lichtmast audit --json prints"),
    ],
)
def test_what_cannot_be_read_exits_with_2_and_says_what_to_mend(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    write_run(tmp_path, 61.5)
    done = judge(tmp_path, *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_export_reads_back_to_the_microsecond_and_the_last_bit(tmp_path: Path) -> None:
    write_run(tmp_path, 0.1 + 0.2)
    assert read_export(tmp_path / "all.csv") == [(7, NOW_US, 0.1 + 0.2)]
    text = (tmp_path / "all.csv").read_text()
    (tmp_path / "text.csv").write_text(text.replace("0.30000000000000004,", ",'=1+1"))
    assert [one.value for one in read_export(tmp_path / "text.csv")] == ["=1+1"]
    (tmp_path / "bad.csv").write_text(text.replace("2026-", "Monday "))
    with pytest.raises(SourceError, match=r"bad\.csv"):
        read_export(tmp_path / "bad.csv")


def test_a_time_without_a_zone_is_refused() -> None:
    assert moment_us("2026-11-18T14:26:40.123456Z") == moment_us("2026-11-18T15:26:40.123456+01:00")
    with pytest.raises(ValueError, match="time zone"):
        moment_us("2026-11-18T14:26:40")
