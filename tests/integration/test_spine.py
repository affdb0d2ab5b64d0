"""What a newcomer sees: lampposts, devices that deliver over IPv6, and books that balance."""

import asyncio
import csv
import json
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from running_lichtmast import Running, lichtmast

from lichtmast.firmware_sim import Town
from lichtmast.registry import Registry
from lichtmast.registry.lookalike import write_bgt
from lichtmast.suite import virtual_town

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def read(url: str) -> Any:  # noqa: ANN401 - JSON
    with urllib.request.urlopen(url, timeout=20) as response:  # noqa: S310 - our own, on ::1
        return json.load(response)


async def live(running: Running, seconds: float, *, hostile: int = 0) -> Any:  # noqa: ANN401 - a ledger
    """A town of lampposts for a while; its ledger."""
    with Registry.open(running.folder.registry) as registry:
        virtual_town.furnish(registry, running.folder.path)
        specs = virtual_town.settle(registry, 80)
        revision = registry.revision()
    while running.status()["roster_revision"] < revision:
        await asyncio.sleep(0.05)
    mqtt, coap = ("::1", running.mqtt_port), ("::1", running.coap_port)
    async with Town(specs, seed=1, interval_s=0.5, hostile=hostile, mqtt=mqtt, coap=coap) as town:
        await town.run(seconds)
        assert await town.wait_drained(60)
        return town.ledger()


@pytest.mark.slow
def test_the_demo_accounts_for_every_pack(tmp_path: Path) -> None:
    done = lichtmast("demo", "--devices", "40", "--seconds", "4", "--hostile", "6", "--json", data=tmp_path)
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    told = json.loads(line)
    assert told["lost"] == 0
    assert told["faults"] == []
    assert told["ipv4_sockets"] == 0
    assert told["quarantined"] == 6
    assert told["sent"] == told["stored"] + told["quarantined"] + told["duplicates"]
    assert min(told["by_transport"].values()) > 0
    assert set(told["by_transport"]) == {"mqtt", "coap"}
    assert told["readings_per_s"] > 0
    assert list(tmp_path.iterdir()) == [], "a demo leaves nothing behind"


@pytest.mark.slow
def test_from_the_pole_to_the_page_the_file_and_the_books(running: Running, tmp_path: Path) -> None:
    ledger = asyncio.run(live(running, 3, hostile=4))
    audit = running.audit()
    assert audit["balanced"], audit["faults"]
    assert audit["waiting"] == 0
    assert audit["stored"] + audit["quarantined"] == ledger.total.sent
    assert audit["by_transport"].keys() == {"mqtt", "coap"}
    assert sum(one["stored"] for one in audit["accounts"]) == audit["stored"]

    things = read(f"{running.url}/v1.1/Things?$top=100&$count=true")
    assert things["@iot.count"] == 63
    standing = [one for one in things["value"] if one["properties"].get("status") != "ended"]
    assert len(standing) == 62
    walked = 0
    for thing in standing[:5]:
        for datastream in read(thing["Datastreams@iot.navigationLink"])["value"]:
            walked += len(read(datastream["Observations@iot.navigationLink"])["value"])
    assert walked > 0

    for name in ("all.parquet", "all.csv"):
        done = lichtmast("export", str(tmp_path / name), "--json", data=running.folder.path)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["rows"] == audit["rows_stored"]
    assert pq.read_metadata(tmp_path / "all.parquet").num_rows == audit["rows_stored"]
    with (tmp_path / "all.csv").open(newline="") as file:
        assert sum(1 for _ in csv.reader(file)) == audit["rows_stored"] + 1

    with urllib.request.urlopen(f"{running.url}/live", timeout=20) as stream:  # noqa: S310
        lines = [stream.readline().decode() for _ in range(6)]
    assert any(line.startswith("data:") for line in lines), lines

    assert running.stop() == 0
    done = lichtmast("audit", "--json", data=running.folder.path)
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["stored"] == audit["stored"]
    running.start()
    assert running.audit()["stored"] == audit["stored"]


@pytest.mark.slow
def test_no_socket_of_it_is_ipv4(running: Running) -> None:
    assert running.process is not None
    this = psutil.Process(running.process.pid)
    everyone = [this, *this.children(recursive=True)]
    assert len(everyone) > 1, "the broker is missing"
    assert [one for process in everyone for one in process.net_connections(kind="inet4")] == []
    listening = {
        one.laddr.port for process in everyone for one in process.net_connections(kind="tcp6") if not one.raddr
    }
    assert {running.http_port, running.mqtt_port} <= listening


@pytest.mark.slow
def test_a_second_one_on_the_same_folder_is_refused_with_the_reason(running: Running) -> None:
    done = lichtmast("up", "--http-port", "0", "--mqtt-port", "0", "--coap-port", "0", data=running.folder.path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(running.folder.store) in done.stderr.replace("\n", "")
    assert running.audit()["balanced"]


@pytest.mark.parametrize("host", ["::", "2001:db8::1", "0.0.0.0", "localhost"])  # noqa: S104 - refused, that is the test
def test_open_access_is_refused_beyond_loopback(host: str, tmp_path: Path) -> None:
    done = lichtmast("up", "--host", host, data=tmp_path)
    assert done.returncode == 1
    assert "::1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_an_import_reports_and_repeats_without_change(tmp_path: Path) -> None:
    source = SHARED / "hilversum_bgt" / "bgt_paal.gml"
    if not source.exists():
        source = tmp_path / "lookalike.gml"
        write_bgt(source)
    words = ("import", "bgt", str(source), "--tenant", "gm0402", "--json")
    tried = lichtmast(*words, "--dry-run", data=tmp_path / "data")
    first = lichtmast(*words, data=tmp_path / "data")
    again = lichtmast(*words, data=tmp_path / "data")
    keys = ("assets", "active", "ended", "updated", "unchanged")
    assert [json.loads(tried.stdout)[key] for key in keys] == [63, 62, 1, 0, 0], tried.stderr
    assert [json.loads(first.stdout)[key] for key in keys] == [63, 62, 1, 0, 0]
    assert [json.loads(again.stdout)[key] for key in keys] == [63, 62, 1, 0, 63]
    assert json.loads(first.stdout)["errors"] == []


@pytest.mark.slow
def test_utrecht_is_imported_as_its_source_note_predicts(tmp_path: Path) -> None:
    source = SHARED / "utrecht_mastoverzicht.geojson"
    if not source.exists():
        pytest.skip("../shared/data/utrecht_mastoverzicht.geojson is not there")
    done = lichtmast("import", "geojson", str(source), "--tenant", "gm0344", "--json", data=tmp_path)
    told = json.loads(done.stdout)
    assert (told["assets"], told["active"]) == (9_793, 9_793)
    assert told["warning_counts"] == {"encoding_assumed": 1, "unknown_length": 67}
    assert told["detected"]["encoding"] == "cp1252"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export", "x.txt"), "--format"),
        (("export", "x.csv", "--from", "2026-02-02", "--to", "2026-02-01"), "--from"),
        (("import", "bgt", "nothing.gml", "--tenant", "gm0402"), "nothing.gml"),
        (("up", "--http-port", "99999"), "65535"),
        (("up", "--devices", "5"), "--town"),
    ],
)
def test_wrong_words_are_answered_with_what_to_mend(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = lichtmast(*words, data=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_tenant_that_is_none_is_named(tmp_path: Path) -> None:
    source = tmp_path / "lookalike.gml"
    write_bgt(source)
    done = lichtmast("import", "bgt", str(source), "--tenant", "Hilversum", data=tmp_path / "data")
    assert done.returncode == 1
    assert "gm0402" in done.stderr
    assert "Traceback" not in done.stderr
