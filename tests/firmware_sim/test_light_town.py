"""Light devices against real servers: an address for each, faults of the sending, and many on few tasks."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import textwrap
from ipaddress import IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lichtmast.firmware_sim import DeviceSpec, Town, TownError, Transport, limits
from lichtmast.firmware_sim.device import sound_instrument
from lichtmast.firmware_sim.instrument import Instrument, Label
from lichtmast.firmware_sim.scenario.faults import Faulty, Spoiler
from lichtmast.firmware_sim.scenario.parts import Fault, FaultKind
from lichtmast.firmware_sim.town import wall_clock_us
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.profile import load_profiles

if TYPE_CHECKING:
    from tests.firmware_sim.conftest import CoapIngest, MakeBroker, MqttIngest, Store

pytestmark = pytest.mark.slow


def specs_of(transport: Transport, count: int) -> list[DeviceSpec]:
    return [DeviceSpec(DeviceId("gm0402", f"noise-{n:05d}"), "noise", transport, 5.17, 52.22) for n in range(count)]


def spoilt(specs: list[DeviceSpec], *faults: Fault) -> list[Instrument]:
    now_us = wall_clock_us()
    spoilers = [Spoiler.of(fault, number, "x", 1, now_us) for number, fault in enumerate(faults)]
    return [Faulty(sound_instrument(one, 1), load_profiles()[one.profile], spoilers) for one in specs]


def test_copies_go_out_over_coap_and_are_stored_once(
    make_store: "type[Store]", make_coap_ingest: "type[CoapIngest]", free_udp_port: int
) -> None:
    labels: list[Label] = []

    async def scenario() -> None:
        store = make_store()
        ingest = make_coap_ingest(store, wall_clock_us)
        specs = specs_of(Transport.COAP, 3)
        async with (
            ingest.listening(free_udp_port) as port,
            Town(
                specs,
                seed=1,
                interval_s=0.2,
                mqtt=None,
                coap=("::1", port),
                instruments=spoilt(specs, Fault(FaultKind.DUPLICATE, knobs={"copies": 3})),
                on_label=labels.append,
            ) as town,
        ):
            await town.run(0.6)
            assert await town.wait_drained(20)
        assert store.deliveries == 27
        assert sum(len(packs) for packs in store.stored.values()) == 9
        assert town.ledger().total.sent == town.ledger().total.acknowledged == 9
        assert town.ledger().total.attempts == 27

    asyncio.run(scenario())
    assert len(labels) == 9


def test_a_reboot_loop_breaks_the_connection_and_loses_nothing(
    make_broker: "MakeBroker", make_store: "type[Store]", make_mqtt_ingest: "type[MqttIngest]"
) -> None:
    async def scenario() -> None:
        store = make_store()
        async with make_broker() as broker:
            ingest = make_mqtt_ingest(broker.port, store, wall_clock_us)
            task = asyncio.create_task(ingest.run())
            async with asyncio.timeout(10):
                await ingest.ready.wait()
            specs = specs_of(Transport.MQTT, 4)
            loop = Fault(FaultKind.REBOOT_LOOP, knobs={"every_s": 1.0, "boot_s": 0.2})
            async with Town(
                specs,
                seed=1,
                interval_s=0.05,
                mqtt=("::1", broker.port),
                coap=None,
                instruments=spoilt(specs, loop),
            ) as town:
                await town.run(2.5)
                assert await town.wait_drained(20)
                assert town.statistics().connects >= 8, "the fault did not bite"
                total = town.ledger().total
                assert total.sent == total.acknowledged
                assert 100 < total.sent < 200, "it does not measure while it starts"
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())


def test_a_broker_that_turns_everyone_away_meets_no_more_than_the_diallers() -> None:
    """Three hundred devices that lost their broker knock a few at a time, and cost this process no task each."""

    async def scenario() -> None:
        met: set[int] = set()
        at_once = highest = ended = begun = 0

        async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal at_once, highest, ended, begun
            begun += 1
            at_once += 1
            highest = max(highest, at_once)
            met.add(writer.get_extra_info("peername")[1])
            await asyncio.sleep(0.05)  # how long such a broker takes to refuse
            at_once -= 1
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            ended += 1

        specs = specs_of(Transport.MQTT, 300)
        async with await asyncio.start_server(accept, "::1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with Town(specs, seed=1, interval_s=1.0, mqtt=("::1", port), coap=None) as town:
                await town.run(1.0)
                async with asyncio.timeout(30):
                    while len(met) < 300:
                        await asyncio.sleep(0.02)
                ours = [one for one in asyncio.all_tasks() if "accept" not in repr(one.get_coro())]
                assert len(ours) < limits.DIALLERS + 10
            while ended < begun:
                await asyncio.sleep(0.02)
        assert 2 < highest <= limits.DIALLERS

    asyncio.run(scenario())


def test_a_device_that_nobody_answers_takes_another_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that renumbers takes away the address that a connected socket speaks from."""
    monkeypatch.setattr(limits, "COAP_ANSWER_TIMEOUT_S", 0.2)

    class Deaf(asyncio.DatagramProtocol):
        def __init__(self) -> None:
            self.peers: list[int] = []
            self.enough = asyncio.Event()

        def datagram_received(self, _data: bytes, peer: tuple[str, int]) -> None:
            self.peers.append(peer[1])
            if len(self.peers) == 5:
                self.enough.set()

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        transport, deaf = await loop.create_datagram_endpoint(Deaf, local_addr=("::1", 0))
        port = transport.get_extra_info("sockname")[1]
        specs = specs_of(Transport.COAP, 1)
        async with Town(specs, seed=1, interval_s=0.1, mqtt=None, coap=("::1", port)) as town:
            await town.run(0.1)
            async with asyncio.timeout(30):
                await deaf.enough.wait()
            assert town.ledger().total.outstanding == 1
        assert [deaf.peers.index(one) for one in deaf.peers] == [0, 0, 2, 2, 4]
        transport.close()

    asyncio.run(scenario())


def test_a_prefix_that_is_too_small_is_refused() -> None:
    specs = specs_of(Transport.COAP, 20)
    with pytest.raises(TownError, match=r"fd00::/124 has too few addresses for 20 devices"):
        Town(specs, seed=1, interval_s=1, mqtt=None, coap=("::1", 1), addresses=IPv6Network("fd00::/124"))


IN_A_NAMESPACE = textwrap.dedent(
    """
    import asyncio, socket, sys
    from ipaddress import IPv6Network
    from lichtmast.firmware_sim import DeviceSpec, Town, Transport
    from lichtmast.wire.identity import DeviceId

    specs = [
        DeviceSpec(DeviceId("gm0402", f"noise-{n:05d}"), "noise", list(Transport)[n % 2], 5.17, 52.22)
        for n in range(200)
    ]
    seen = {"mqtt": set(), "coap": set()}

    class Listener(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, peer):
            seen["coap"].add(peer[0])
            self.transport.sendto(b"\\x62\\x44" + data[2:6], peer)

    async def accept(reader, writer):
        seen["mqtt"].add(writer.get_extra_info("peername")[0])
        for answer in (b"\\x20\\x02\\x00\\x00", b"\\x90\\x03\\x00\\x01\\x00"):  # CONNACK, SUBACK
            await reader.read(1_000)
            writer.write(answer)
        await reader.read(1)

    async def main():
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(accept, "::1", 1883)
        await loop.create_datagram_endpoint(Listener, local_addr=("::1", 5683))
        prefix = IPv6Network("fd00:1::/64")
        settings = {"mqtt": ("::1", 1883), "coap": ("::1", 5683), "addresses": prefix}
        async with Town(specs, seed=1, interval_s=1.0, **settings) as town:
            await town.run(1.0)
            async with asyncio.timeout(15):
                while len(seen["mqtt"]) < 100 or town.ledger().by_transport["coap"].acknowledged < 100:
                    await asyncio.sleep(0.02)
        server.close()
        addresses = seen["mqtt"] | seen["coap"]
        inside = all(one.startswith("fd00:1::") for one in addresses)
        print(len(seen["mqtt"]), len(seen["coap"]), len(addresses), inside)

    asyncio.run(main())
    """
)


def test_each_device_speaks_from_an_address_of_its_own(tmp_path: Path) -> None:
    """In a network namespace of its own, so that the prefix is nobody else's."""
    prepare = "ip link set lo up && ip -6 route add local fd00:1::/64 dev lo"
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-n", "sh", "-c", prepare], check=False).returncode:
        pytest.skip("no rights to make a network namespace; run as root")
    script = tmp_path / "inside.py"
    script.write_text(IN_A_NAMESPACE, encoding="utf-8")
    done = subprocess.run(
        [unshare, "-n", "sh", "-c", f'{prepare} && exec "$0" "$1"', sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ,
    )
    assert (done.stderr, done.stdout) == ("", "100 100 200 True\n")
