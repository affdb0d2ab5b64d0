"""Why devices of a real, encrypted Lichtmast are quiet: each is silent for a real reason, and the answer names it."""

import asyncio
import os
import signal
import ssl
import threading
import time
from collections.abc import Awaitable, Iterator, Sequence
from concurrent.futures import Future
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, TypeVar

import aiomqtt
import psutil
import pytest
from est_client import Node

from lichtmast.registry import AssetRecord, import_source
from lichtmast.registry.alerts.groups import feeder_of
from lichtmast.registry.auditing import Actor, ActorKind
from lichtmast.registry.contacts import ContactBook
from lichtmast.registry.pki import read_csr
from lichtmast.suite.folder import Folder
from lichtmast.suite.service import Service, running
from lichtmast.suite.settings import SecureSettings, Settings
from lichtmast.suite.silence import ContactKeeper, SilenceDesk, SilenceSettings
from lichtmast.suite.silence.limits import CONTACT_AGAIN_US
from lichtmast.wire import DeviceId, Reading, encode, topics
from lichtmast.wire.envelope import SENML_JSON, Enclosed, enclose

pytestmark = pytest.mark.slow
TENANT, PROFILE = "gm0402", "air-quality"
TIMEOUT_S = 60
DAY_US = 86_400_000_000
ENGINEER = Actor(ActorKind.USER, "engineer@example.nl", "2001:db8::7")
_Result = TypeVar("_Result")


def now_us() -> int:
    return time.time_ns() // 1_000


class Town:
    """A Lichtmast that runs in a thread of its own, its ladder, and lampposts at one feeder."""

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop, scratch: Path) -> None:
        self.service = service
        assert service.quiet is not None
        self.ladder = service.quiet
        self._loop = loop
        self._scratch = scratch
        lines = [f"P{number},Kerkstraat {number},5.17,52.22,{'K7' if number < 4 else 'K8'}" for number in range(16)]
        (scratch / "palen.csv").write_text("\n".join(["id,naam,lon,lat,kast", *lines]))
        service.registry.ensure_tenant(TENANT)
        service.registry.import_assets(TENANT, import_source("csv", scratch / "palen.csv"), dry_run=False)
        self._free = list(service.registry.things(TENANT))

    def run(self, work: Awaitable[_Result]) -> _Result:
        async def done() -> _Result:
            return await work

        found: Future[_Result] = asyncio.run_coroutine_threadsafe(done(), self._loop)
        return found.result(TIMEOUT_S)

    def why(self, device: DeviceId) -> dict[str, Any]:
        """As the command is told."""
        return self.run(self.ladder.desk.why(device)).with_contact()

    def blamed(self, device: DeviceId) -> tuple[str | None, str]:
        """The rung, and the sentence."""
        told = self.why(device)
        return told["rung"], told["sentence"]["en"]

    def place(self) -> AssetRecord:
        return self._free.pop()

    def take_feeder(self, name: str) -> None:
        """Hang what comes next at this one alone."""
        self._free = [one for one in self._free if feeder_of(one.properties) == name]

    def staged(self, name: str) -> Node:
        node = Node(DeviceId(TENANT, name))
        self.service.registry.identity.stage(self.label(node), PROFILE, at_us=now_us())
        return node

    def label(self, node: Node) -> Any:  # noqa: ANN401 - a Label
        return node.label(self.authority().root_pin)

    def authority(self) -> Any:  # noqa: ANN401 - an Authority
        assert self.service.secure is not None
        return self.service.secure.certificates.authority()

    def certified(self, name: str) -> tuple[Node, ssl.SSLContext]:
        """A device in service, and what it connects with."""
        node, identity, at_us = (
            Node(DeviceId(TENANT, name)),
            self.service.registry.identity,
            now_us(),
        )
        identity.stage(self.label(node), PROFILE, at_us=at_us)
        identity.open_claim(self.label(node), asset_id=self.place().id, by=ENGINEER, at_us=at_us)
        der = identity.enrol(read_csr(node.csr()), self.authority(), at_us=at_us).certificate_der
        files = self._scratch / f"{name}.pem"
        files.write_bytes(ssl.DER_cert_to_PEM_cert(der).encode() + node.key_pem)
        context = ssl.create_default_context(cadata=self.authority().root_pem.decode())
        context.load_cert_chain(files)
        return node, context

    def wait_known(self) -> None:
        """Until doors and pipeline know the register as it is."""
        assert self.service.secure is not None
        self.run(self.service.wait_registered())
        assert self.run(self.service.secure.gatekeeper.wait_current(TIMEOUT_S))

    def say(self, devices: Sequence[DeviceId], *, unit: str = "kg/m3", ago_us: int = 0) -> None:
        """One pack of each, as it came in at a door so long ago."""
        self.wait_known()
        at_us = now_us() - ago_us
        packs = [
            Enclosed(
                str(one), at_us, SENML_JSON, encode(one, [Reading("/air/0/pm10", 8e-9, unit, at_us)], epoch=1, seq=1)
            )
            for one in devices
        ]
        self.run(self.service.log.append(topics.COAP_DOOR_SUBJECT, enclose(packs)))
        assert self.run(self.service.wait_caught_up(TIMEOUT_S))

    def client(self, context: ssl.SSLContext, identifier: str) -> aiomqtt.Client:
        host, port = self.service.mqtt
        return aiomqtt.Client(host, port, identifier=identifier, tls_context=context, timeout=10)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    scratch = tmp_path_factory.mktemp("silence")
    settings = Settings(http_port=0, mqtt_port=0, coap_port=0, secure=SecureSettings(est_port=0, names=("::1",)))
    is_up: Future[tuple[Service, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def live() -> None:
        over = asyncio.Event()
        async with running(Folder.choose(scratch / "data"), settings) as service:
            is_up.set_result((service, asyncio.get_running_loop(), over))
            await over.wait()

    def work() -> None:
        try:
            asyncio.run(live())
        except BaseException as error:
            if is_up.done():
                raise
            is_up.set_exception(error)

    thread = threading.Thread(target=work, name="lichtmast")
    thread.start()
    service, loop, over = is_up.result(TIMEOUT_S)
    try:
        yield Town(service, loop, scratch)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(TIMEOUT_S)


def test_a_device_that_nobody_registered(town: Town) -> None:
    assert town.blamed(DeviceId(TENANT, "nobody")) == ("register", "It is not in the register.")


def test_a_device_that_never_enrolled(town: Town) -> None:
    node = town.staged("in-its-box")
    assert town.blamed(node.device) == ("register", "Nobody has claimed it yet.")
    town.service.registry.identity.open_claim(town.label(node), asset_id=town.place().id, by=ENGINEER, at_us=now_us())
    assert town.blamed(node.device) == ("register", "It is claimed, but never fetched a certificate.")


def test_a_device_that_is_suspended(town: Town) -> None:
    node, _ = town.certified("suspended")
    town.service.registry.identity.suspend(node.device, at_us=now_us())
    assert town.blamed(node.device)[0] == "register"


def test_a_device_whose_certificate_ended(town: Town) -> None:
    node, _ = town.certified("ended")
    with ContactBook.open(town.service.folder.registry) as book:
        in_100_days = SilenceDesk(town.service, book, SilenceSettings(), lambda: now_us() + 100 * DAY_US)
        told = town.run(in_100_days.why(node.device)).verdict
    assert (told.rung, told.sentence.en) == ("certificate", "Its certificate ended 10 days ago.")


def test_a_device_that_is_connected_and_says_nothing_and_from_where_it_was_heard(town: Town) -> None:
    node, context = town.certified("mute")
    town.wait_known()

    async def connect_and_look() -> Any:  # noqa: ANN401 - JSON
        async with town.client(context, node.device.urn):
            await town.ladder.keeper.look()
            return await town.ladder.desk.why(node.device)

    told = town.run(connect_and_look())
    assert told.verdict.rung == "session"
    gone = town.why(node.device)
    assert gone["contact"]["address"] == "::1"
    assert gone["contact"]["transport"] == "mqtt"
    assert gone["rung"] != "session"
    assert "::1" not in str(told.as_json())


def test_where_a_device_is_heard_is_written_when_it_is_news_and_every_ten_minutes(town: Town) -> None:
    device, at_us = town.certified("mover")[0].device, now_us()
    here, there = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")
    sights = [(at_us, here), (at_us + 1, here), (at_us + 2, there), (at_us + CONTACT_AGAIN_US + 2, there)]
    seen: list[tuple[int, IPv6Address]] = []
    written = []
    with ContactBook.open(town.service.folder.registry) as book:
        keeper = ContactKeeper(town.service.broker, book, lambda: seen[-1][0], lambda: [(str(device), seen[-1][1])])
        for one in sights:
            seen.append(one)
            town.run(keeper.look())
            written.append([(contact.heard_us, contact.address) for contact in book.of(device)])
    first, _, moved, again = sights
    assert written == [[first], [first], [moved], [again]]


def test_a_device_that_a_door_turns_away(town: Town) -> None:
    node, context = town.certified("misnamed")
    town.wait_known()

    async def knock() -> None:
        with pytest.raises(aiomqtt.MqttError):
            async with town.client(context, "another-name"):
                pass

    town.run(knock())
    rung, sentence = town.blamed(node.device)
    assert rung == "refused"
    assert "client_id_mismatch" in sentence


def test_a_device_whose_packs_are_refused(town: Town) -> None:
    node, _ = town.certified("foreign")
    town.say([node.device], unit="lx")
    rung, sentence = town.blamed(node.device)
    assert rung == "quarantine"
    assert "wrong_unit" in sentence


def test_a_device_whose_clock_ran_ahead(town: Town) -> None:
    node, _ = town.certified("ahead")
    town.wait_known()
    at_us = now_us()
    pack = encode(node.device, [Reading("/air/0/pm10", 8e-9, "kg/m3", at_us + 2 * 3_600_000_000)], epoch=1, seq=1)
    envelope = enclose([Enclosed(str(node.device), at_us, SENML_JSON, pack)])
    town.run(town.service.log.append(topics.COAP_DOOR_SUBJECT, envelope))
    assert town.run(town.service.wait_caught_up(TIMEOUT_S))
    assert town.blamed(node.device)[0] == "clock"


def test_a_device_whose_whole_feeder_is_quiet_and_one_that_speaks(town: Town) -> None:
    talker = town.certified("talker")[0].device
    town.take_feeder("K7")
    nodes = [town.certified(f"street-{number}")[0].device for number in range(4)]
    town.say(nodes, ago_us=DAY_US // 2)
    rung, sentence = town.blamed(nodes[0])
    assert rung == "neighbours"
    assert "feeder K7" in sentence
    town.say([talker])
    assert town.blamed(talker) == (None, "It is not quiet: its last reading came just now.")


def test_our_own_broker_that_stands_still_comes_before_all_else(town: Town) -> None:
    group = town.service.broker.pid
    os.killpg(group, signal.SIGSTOP)
    try:
        until_s = time.monotonic() + TIMEOUT_S
        while psutil.Process(group).status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < until_s
        rung, _ = town.blamed(DeviceId(TENANT, "nobody"))
    finally:
        os.killpg(group, signal.SIGCONT)
    assert rung == "ours"
