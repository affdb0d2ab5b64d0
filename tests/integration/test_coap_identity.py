"""Devices that speak CoAP over DTLS to a real broker and pipeline: a pack is its certificate's, or nobody's."""

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from dtls_town import DtlsTown
from identity_town import Credentials
from ingest_town import PROFILE
from ingest_town import pack as pack_of

from lichtmast.ingest import Broker, BrokerSettings, CoapDoor, CoapSettings, Inspector, Log, Pipeline
from lichtmast.ingest.coap.dtls.testing import DtlsEndpoint
from lichtmast.ingest.coap.message import code
from lichtmast.ingest.coap.testing import post, read
from lichtmast.ingest.pipeline.roster import Roster
from lichtmast.registry import DeviceEntry, DeviceStatus, Directory
from lichtmast.store.memory import MemoryStore
from lichtmast.wire import load_profiles, topics

pytestmark = pytest.mark.slow
CHANGED, FORBIDDEN = code("2.04"), code("4.03")
START_S = round(time.time(), 3)


class Register:
    """A register in memory of devices in service."""

    def __init__(self, *devices: Credentials) -> None:
        size = len(load_profiles()[PROFILE].uplinks)
        entries = (
            DeviceEntry(row, one.device, DeviceStatus.ACTIVE, PROFILE, None, tuple(range(row * size, (row + 1) * size)))
            for row, one in enumerate(devices)
        )
        self._directory = Directory(1, {str(one.device): one for one in entries}, ())

    def revision(self) -> int:
        return 1

    def directory(self) -> Directory:
        return self._directory


class Nobody:
    """Who listens to acknowledgements that travel by MQTT."""

    def announce_nowait(self, messages: Iterable[tuple[str, bytes]]) -> None:
        pass


async def wait_stored(store: MemoryStore) -> None:
    async with asyncio.timeout(40):
        while store.audit_counts()["observations_total"] < 4 or not store.quarantine(9).num_rows:
            await asyncio.sleep(0.02)


def test_a_pack_under_another_devices_name_is_refused_told_and_kept_in_quarantine_as_its_senders(
    tmp_path: Path,
) -> None:
    town = DtlsTown(tmp_path / "town")
    honest, thief = town.device("lm-1"), town.device("lm-2")
    register, store = Register(honest, thief), MemoryStore()
    inspector = Inspector(Roster.build(register.directory(), load_profiles()))

    async def scene() -> None:
        async with Broker(BrokerSettings(tmp_path / "broker", mqtt_port=0)) as broker:

            def connect() -> Log:
                return Log(broker.client_url, broker.user, broker.password)

            pipeline = Pipeline(connect, store, register, Nobody())
            running = asyncio.create_task(pipeline.run(), name="pipeline")
            async with connect() as log:

                async def publish(envelope: bytes) -> None:
                    await log.append(topics.COAP_DOOR_SUBJECT, envelope)

                await pipeline.ready.wait()
                async with CoapDoor(CoapSettings(port=0), inspector.inspect, publish, dtls=town.dtls()) as door:
                    await _speak(door, town, honest, thief)
                    await wait_stored(store)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scene())
    kept = store.quarantine(9).to_pylist()
    assert [(one["device"], one["reason"]) for one in kept] == [("gm0402/lm-2", "identity_mismatch")]
    assert kept[0]["payload"] == pack("lm-1", 2)
    assert "names gm0402/lm-1" in kept[0]["detail"]
    assert store.audit_counts()["observations_total"] == 4, "two readings of each of the two sound packs"


async def _speak(door: CoapDoor, town: DtlsTown, honest: Credentials, thief: Credentials) -> None:
    with DtlsEndpoint(door.port, town.context(honest)) as endpoint:
        assert await endpoint.shake_hands()
        assert read(await endpoint.ask(post(1, pack("lm-1", 1)))).code == CHANGED
    with DtlsEndpoint(door.port, town.context(thief)) as endpoint:
        assert await endpoint.shake_hands()
        refused = read(await endpoint.ask(post(1, pack("lm-1", 2))))
        assert (refused.code, refused.payload[-17:]) == (FORBIDDEN, b"names gm0402/lm-1")
        assert read(await endpoint.ask(post(2, pack("lm-2", 1)))).code == CHANGED
    assert door.statistics().events["identity_mismatch"] == 1
    assert door.renew(town.admit(revoked=[thief])) == 1
    with DtlsEndpoint(door.port, town.context(thief)) as endpoint:
        assert not await endpoint.shake_hands()
    statistics = door.statistics().dtls
    assert statistics is not None
    assert (statistics.sessions, statistics.handshakes_failed) == (1, {"revoked": 1})


def pack(name: str, seq: int) -> bytes:
    """A pack of now: the clock of inspector and log is the real one."""
    return pack_of(name, seq, time_s=START_S)
