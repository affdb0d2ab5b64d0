"""Faults of the network, for real: partitions, loss, narrow bands, lost "too big", DNS down, a new prefix.

The devices live in the namespace `edge`, Lichtmast in `core`, and every packet passes the router between them. The
checker judges each run (I1 to I4), and a run in which the router did no harm fails as vacuous. Quick forms run always,
the long ones with `scripts/test --faults`.
"""

import asyncio
import itertools
import json
import shlex
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fault_run import FaultRun, acknowledged, wait_until
from running_agent import RunningAgent
from running_lichtmast import Running, lichtmast

from lichtmast.firmware_sim import Town, Transport, limits
from lichtmast.firmware_sim.checker import Report, Sealed
from lichtmast.firmware_sim.network import Flapping, Impairment, TunNetwork
from lichtmast.registry import Registry
from lichtmast.registry.auditing import Actor, ActorKind
from lichtmast.registry.identity import read_public_key
from lichtmast.registry.importing import import_source
from lichtmast.registry.pki import Authority
from lichtmast.store import DuckStore, Outcome
from lichtmast.suite.folder import Folder
from lichtmast.suite.unlock import unlock_secret
from lichtmast.wire import DeviceId
from lichtmast.wire.label import Label, spki_pin

pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.timeout(400)]
SEED = 20261121
DRAIN_S = 120.0
STALL_S = 120.0
DRAINED_S = 8.0
LEVEL_DB = 61.25
AGENT = DeviceId("gm0402", "agent-1")
ENGINEER = Actor(ActorKind.USER, "jansen@example.nl", "2001:db8::7")
CORE_NAME = "core.lichtmast.example"
EAR = f"""
[[driver]]
name = "ear"
kind = "simulated"
[driver.channel.level]
shape = "constant"
unit = "dB"
value = {LEVEL_DB}
[[driver.reading]]
channel = "level"
suffix = "/noise/0/level"
sample_s = 0.25
"""
DARK = Impairment(blackhole=True)
CLEAN = Impairment()
STORM = Impairment(delay_s=0.2, jitter_s=0.1, reorder=0.05, reorder_s=0.3, duplicate=0.05, corrupt=0.02)
NARROW = Impairment(rate_bit_s=32_000, queue_bytes=16_384, mtu_bytes=1_280, too_big=False)


class Lab:
    """A Lichtmast in the core, its devices at the edge, and what they swear to."""

    def __init__(self, network: TunNetwork, running: Running, folder: Path, devices: int) -> None:
        self.network = network
        self.run = FaultRun.prepare(running, folder, seed=SEED, devices=devices)
        with network.core.entered():
            running.start()
        # Each try to connect has a port of its own; what the kernel sends again has not.
        network.edge.filter(
            "tries",
            "set seen { type ipv6_addr . inet_service; size 65535; }\n"
            "chain out { type filter hook output priority filter;"
            " tcp flags & (syn | ack) == syn add @seen { ip6 saddr . tcp sport }; }",
        )

    @property
    def tries(self) -> int:
        """How often anybody at the edge has tried to open a connection."""
        listed = self.network.edge.run("nft", "list", "set", "ip6", "tries", "seen")
        return listed.count(" . ") - 1  # the type is written the same way

    @asynccontextmanager
    async def town(self, interval_s: float) -> AsyncIterator[Town]:
        """Devices that measure sealed values, each from its own address; after the block everything must drain."""
        running, network = self.run.running, self.network
        async with Town(
            self.run.specs,
            seed=SEED,
            interval_s=interval_s,
            history=self.run.history,
            instruments=[Sealed(spec, seed=SEED) for spec in self.run.specs],
            mqtt=network.endpoint("tcp", running.mqtt_port),
            coap=network.endpoint("udp", running.coap_port),
        ) as town:
            living = asyncio.create_task(town.run(None), name="town")
            try:
                yield town
            finally:
                living.cancel()
                await asyncio.gather(living, return_exceptions=True)
            drained = await town.wait_drained(DRAIN_S)
            assert drained, f"not all was acknowledged within {DRAIN_S:.0f} s: {town.statistics()}"

    def live(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run the story at the edge."""
        with self.network.edge.entered():
            asyncio.run(story())

    def judge(self) -> Report:
        """The checker's verdict, given in the core."""
        with self.network.core.entered():
            return self.run.judge()

    def bites(self, **counts: int) -> None:
        """What must be above 0 for the run to prove anything."""
        self.run.bites.update(counts)


@pytest.fixture
def lab(tun: TunNetwork, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab with twenty devices, or as many as the test's parameter says."""
    running = Running(Folder.choose(tmp_path / "data"), tmp_path / "output.log")
    try:
        yield Lab(tun, running, tmp_path, getattr(request, "param", 20))
    finally:
        if running.process is not None and running.process.poll() is None:
            running.process.kill()
            running.process.wait()


async def longest_stall_s(town: Town, seconds: float) -> float:
    """The longest time in which nothing was acknowledged, over so many seconds of a town that always has something."""
    loop = asyncio.get_running_loop()
    start_s = last_s = loop.time()
    longest_s, known = 0.0, acknowledged(town)
    while loop.time() < start_s + seconds:
        await asyncio.sleep(0.1)
        if acknowledged(town) != known:
            known, last_s = acknowledged(town), loop.time()
        longest_s = max(longest_s, loop.time() - last_s)
    return longest_s


def test_f13_partitions_full_one_way_and_flapping_lose_nothing(lab: Lab) -> None:
    network = lab.network

    async def story() -> None:
        async with lab.town(0.3) as town:
            await wait_until(lambda: acknowledged(town) > 100)
            for what, up, down in (("full", DARK, DARK), ("no way back", CLEAN, DARK), ("no way up", DARK, CLEAN)):
                before = network.counts.total.blackholed
                town.mark(f"partition: {what}")
                network.impair(up, down)
                await wait_until(lambda before=before: network.counts.total.blackholed > before + 60)  # type: ignore[misc]
                network.heal()
                told = acknowledged(town)
                await wait_until(lambda told=told: acknowledged(town) > told + 100)  # type: ignore[misc]
            town.mark("flapping")
            network.impair(Impairment(flapping=Flapping(0.5, 0.5)))
            await wait_until(lambda: network.counts.total.flapped > 150)
            network.heal()
        lab.bites(blackholed=network.counts.total.blackholed, flapped=network.counts.total.flapped)

    start_s = time.monotonic()
    lab.live(story)
    # At the very worst a device tries again after half a second, then ever more rarely: 8 tries in the first minute.
    minutes = (time.monotonic() - start_s) / 60
    assert lab.tries <= len(lab.run.specs) * 8 * max(1, minutes)
    assert lab.judge().counts.stored > 400


@pytest.mark.faults
@pytest.mark.parametrize("lab", [500], indirect=True)
def test_f13_five_hundred_devices_come_back_from_a_minute_of_darkness_without_a_herd(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In a street nobody waits until another has dialled; a queue for diallers would itself make a herd.
    monkeypatch.setattr(limits, "DIALLERS", 500)
    network = lab.network
    talkers = sum(spec.transport is Transport.MQTT for spec in lab.run.specs)
    peaks: list[int] = []

    async def story() -> None:
        async with lab.town(10.0) as town:
            await wait_until(lambda: acknowledged(town) > 1_000)
            network.impair(DARK)
            dark_from = lab.tries
            await asyncio.sleep(60)
            assert talkers < lab.tries - dark_from <= talkers * 8
            network.heal()
            told, start = acknowledged(town), town.statistics().connects
            tries = [lab.tries]
            for _ in range(30):
                await asyncio.sleep(1)
                tries.append(lab.tries)
            peaks.append(max(later - earlier for earlier, later in itertools.pairwise(tries)))
            lab.bites(blackholed=network.counts.total.blackholed, reconnects=town.statistics().connects - start)
            assert acknowledged(town) > told + 2_000

    lab.live(story)
    assert peaks[0] <= talkers / 4, "more than a quarter of the town dialled in the same second"
    lab.judge()


@pytest.mark.parametrize(
    "loss",
    [0.1, pytest.param(0.01, marks=pytest.mark.faults), pytest.param(0.3, marks=pytest.mark.faults)],
)
def test_f14_loss_delay_reordering_duplicates_and_corruption_alter_nothing(lab: Lab, loss: float) -> None:
    network = lab.network

    async def story() -> None:
        async with lab.town(0.5) as town:
            await wait_until(lambda: acknowledged(town) > 40)
            network.impair(Impairment.from_table(STORM.to_table() | {"loss": loss}))
            town.mark(f"storm with {loss:.0%} loss")
            told = acknowledged(town)
            await wait_until(lambda: acknowledged(town) > told + 150, DRAIN_S)
            network.heal()
        total = network.counts.total
        lab.bites(
            lost=total.lost, delayed=total.delayed, reordered=total.reordered, duplicated=total.duplicated,
            corrupted=total.corrupted,
        )  # fmt: skip

    lab.live(story)
    assert lab.judge().counts.stored > 150


@pytest.mark.faults
@pytest.mark.parametrize("lab", [10], indirect=True)  # ten packs a second are more than the band carries
def test_f15_a_town_on_a_narrow_band_goes_on_and_drains(lab: Lab) -> None:
    network = lab.network

    async def story() -> None:
        async with lab.town(1.0) as town:
            await wait_until(lambda: acknowledged(town) > 6)
            network.impair(NARROW)
            assert await longest_stall_s(town, 150) < STALL_S
        lab.bites(shaped=network.counts.total.shaped)

    lab.live(story)
    assert lab.judge().counts.stored > 300


class Agent:
    """A real `lichtmast-edge run` at the edge, on encrypted links, fresh from the workshop and claimed.

    Its one reading is always the same: what differs was altered.
    """

    def __init__(self, network: TunNetwork, running: Running, folder: Path, host: str, link: str = "mqtt") -> None:
        assert running.est_port is not None
        self.link = link
        self._running = running
        self._network = network
        self._agent = RunningAgent(
            folder / "agent",
            (host, running.mqtt_port) if link == "mqtt" else None,
            (host, running.coap_port) if link == "coap" else None,
            device=AGENT,
            interval_s=0.25,
            sensors=EAR,
            profile="noise",
            prefix=network.edge.command(),
            enrol=(host, running.est_port),
        )
        self._agent.label = self._claimed()

    def _claimed(self) -> str:
        """Make its key, and claim it on the lamppost, as the workshop and an engineer do; its label."""
        agent, folder = self._agent, self._running.folder
        agent.write_settings()
        made = agent.command("identity", "new")
        assert made.returncode == 0, made.stderr
        shown = agent.command("identity", "label-key")
        assert shown.returncode == 0, shown.stderr
        authority = Authority.open(folder.authority, unlock_secret(folder))
        label = Label(agent.device, spki_pin(read_public_key(shown.stdout.encode())), authority.root_pin)
        now_us = time.time_ns() // 1_000
        with Registry.open(folder.registry) as registry:
            (lamppost,) = registry.things(agent.device.tenant)
            registry.identity.stage(label, agent.profile, at_us=now_us)
            registry.identity.open_claim(label, asset_id=lamppost.id, by=ENGINEER, at_us=now_us)
        return label.text

    def start(self, *, resolver: Path | None = None) -> None:
        """Run it; `resolver` is the resolv.conf that it sees, and nobody else."""
        words: tuple[str, ...] = ()
        if resolver is not None:
            mount = f"mount --bind {shlex.quote(str(resolver))} /etc/resolv.conf"
            words = ("unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh")
        self._agent.prefix = self._network.edge.command(*words)
        self._agent.start()

    def stop(self) -> None:
        assert self._agent.stop() == 0, self._agent.log.read_text()[-2_000:]

    def end(self) -> None:
        """Leave nothing behind."""
        self._agent.end()

    def outbox(self) -> dict[str, Any]:
        """What waits, as its own command says beside it; before the agent has made its file, nothing."""
        if not (self._agent.state / "outbox.sqlite").exists():
            return {"next_seq": 1, "packs": 0}
        return self._agent.outbox()

    def wait_outbox(self, true: Callable[[dict[str, Any]], bool], timeout_s: float, what: str) -> dict[str, Any]:
        until_s = time.monotonic() + timeout_s
        while not true(told := self.outbox()):
            told_s = f"{told}\n{self._agent.log.read_text()[-2_000:]}"
            assert time.monotonic() < until_s, f"not {what} within {timeout_s:.0f} s: {told_s}"
            assert self._agent.process is not None
            assert self._agent.process.poll() is None, told_s
        return told

    def sessions(self) -> int:
        """How many handshakes of its link the server has finished and let in."""
        with self._network.core.entered():
            doors = self._running.status()["doors"]
        return int(doors["mqtt"]["admitted"] if self.link == "mqtt" else doors["coap"]["dtls"]["handshakes_finished"])

    def judge(self) -> int:
        """Stop all; every number is stored once or still waits, none is strange, no value is altered. The stored."""
        assert self.sessions() > 0, "vacuous: nothing came over an encrypted link"
        with self._network.core.entered():
            audit = self._running.audit()
            assert self._running.stop() == 0
        assert (audit["faults"], audit["double_packs"], audit["dropped"]) == ([], 0, 0)
        told = self.outbox()
        with Registry.open(self._running.folder.registry) as registry:
            streams = registry.directory().entries[str(AGENT)].datastream_ids
        store = DuckStore.open(self._running.folder.store, clock_us=lambda: 0)
        try:
            rows = store.ledger_range(str(AGENT), told["epoch"]).to_pylist()
            values = {one["result"] for one in store.range(list(streams), 0, 2**62, limit=10**6).to_pylist()}
        finally:
            store.close()
        stored = [one["seq"] for one in rows if one["outcome"] == Outcome.STORED]
        made = set(range(1, told["next_seq"]))
        assert len(stored) == len(set(stored))
        assert set(stored) <= made, "stored and never made"
        assert len(made - set(stored)) <= told["packs"], "neither stored nor waiting"
        assert values == {LEVEL_DB}
        return len(stored)


def is_drained(told: dict[str, Any]) -> bool:
    """Whether only what was made a moment ago waits: the pack that was in flight when the link broke too has come."""
    return told["packs"] < 8 and (told["oldest_s"] or 0.0) < DRAINED_S


@pytest.fixture
def server(tun: TunNetwork, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    """A Lichtmast in the core with one lamppost, where all is encrypted; the parameter is its name in certificates."""
    folder = Folder.choose(tmp_path / "data")
    name = getattr(request, "param", tun.core_address)
    running = Running.secure(folder, tmp_path / "output.log", name=name)
    (tmp_path / "lampposts.csv").write_text("id,naam,lon,lat\nP0001,Kerkstraat 1,5.17,52.22\n", "utf-8")
    with Registry.open(folder.registry) as registry:
        registry.ensure_tenant(AGENT.tenant)
        lampposts = import_source("csv", tmp_path / "lampposts.csv", tenant=AGENT.tenant)
        registry.import_assets(AGENT.tenant, lampposts, dry_run=False)
    try:
        with tun.core.entered():
            running.start()
        yield running
    finally:
        if running.process is not None and running.process.poll() is None:
            running.process.kill()
            running.process.wait()


@pytest.fixture
def agents() -> Iterator[list[Agent]]:
    """The agents that a test has started; those that still run at its end are killed."""
    started: list[Agent] = []
    yield started
    for one in started:
        one.end()


def lose_a_large_datagram(network: TunNetwork) -> None:
    """Prove that the hole is there: what is larger than the MTU vanishes without a word."""
    with network.edge.entered(), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.sendto(bytes(1_400), network.endpoint("udp", 9))
    until_s = time.monotonic() + 10
    while not network.counts.up.too_big_silent:
        assert time.monotonic() < until_s, "vacuous: no packet was too big"


@pytest.mark.faults
@pytest.mark.parametrize("link", ["mqtt", "coap"])
def test_f14_an_agent_delivers_through_a_storm(
    tun: TunNetwork, server: Running, tmp_path: Path, agents: list[Agent], link: str
) -> None:
    agent = Agent(tun, server, tmp_path, tun.core_address, link)
    agents.append(agent)
    agent.start()
    agent.wait_outbox(lambda told: told["next_seq"] > 8 and told["packs"] < 8, 60, "connected")
    tun.impair(Impairment.from_table(STORM.to_table() | {"loss": 0.1}))

    def bitten(told: dict[str, Any]) -> bool:  # one at a time, as CoAP delivers, hardly anything can overtake
        total = tun.counts.total
        return min(total.lost, total.delayed, total.duplicated, total.corrupted) > 0 and told["next_seq"] > 150

    agent.wait_outbox(bitten, 200, "hit by everything")
    tun.heal()
    agent.wait_outbox(is_drained, STALL_S, "drained")
    agent.stop()
    assert agent.judge() > 140


def test_f15_an_agent_drains_and_is_configured_where_too_big_is_lost(
    tun: TunNetwork, server: Running, tmp_path: Path, agents: list[Agent]
) -> None:
    agent = Agent(tun, server, tmp_path, tun.core_address)
    agents.append(agent)
    agent.start()
    agent.wait_outbox(lambda told: told["next_seq"] > 8 and told["packs"] < 8, 60, "connected")
    tun.impair(DARK)
    agent.wait_outbox(lambda told: told["packs"] > 40, 60, "offline")
    tun.impair(NARROW)
    lose_a_large_datagram(tun)
    # More than a packet's worth, so that the way down has the same hole; the agent has no lamp, and says so.
    rules = [
        {
            "kind": "threshold", "name": f"a-rule-for-a-lamp-that-is-not-there-{number}", "target": "/lamp/0/command",
            "level": 1, "sensor": "/noise/0/level", "above": 85,
        }
        for number in range(16)
    ]  # fmt: skip
    wanted = tmp_path / "wanted.json"
    wanted.write_text(json.dumps({"version": 1, "rules": rules}))
    with tun.core.entered():
        done = lichtmast("device", "configure", "gm0402/agent-1", str(wanted), data=server.folder.path)
        assert done.returncode == 0, done.stderr
        until_s = time.monotonic() + STALL_S
        while (
            "configuration_refused"
            not in lichtmast("device", "show", "gm0402/agent-1", "--json", data=server.folder.path).stdout
        ):
            assert time.monotonic() < until_s, f"no answer to a configuration within {STALL_S:.0f} s"
    agent.wait_outbox(is_drained, STALL_S, "drained")
    assert tun.counts.total.shaped > 0
    agent.stop()
    assert agent.judge() > 40


@pytest.mark.faults
def test_f15_an_agent_on_coap_drains_where_too_big_is_lost(
    tun: TunNetwork, server: Running, tmp_path: Path, agents: list[Agent]
) -> None:
    agent = Agent(tun, server, tmp_path, tun.core_address, "coap")
    agents.append(agent)
    agent.start()
    agent.wait_outbox(lambda told: told["next_seq"] > 8 and told["packs"] < 8, 60, "connected")
    tun.impair(DARK)
    agent.wait_outbox(lambda told: told["packs"] > 40, 60, "offline")
    tun.impair(NARROW)
    lose_a_large_datagram(tun)
    agent.wait_outbox(is_drained, STALL_S, "drained")
    assert tun.counts.total.shaped > 0
    agent.stop()
    assert agent.judge() > 40


class NameServer:
    """A DNS server in the core that knows one name, on a thread; it ends with its socket."""

    def __init__(self, network: TunNetwork) -> None:
        self.questions = 0
        self._address = socket.inet_pton(socket.AF_INET6, network.core_address)
        with network.core.entered():
            self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._socket.bind(("::1", 53))
        threading.Thread(target=self._serve, name="dns", daemon=True).start()

    def _serve(self) -> None:
        while True:
            question, peer = self._socket.recvfrom(512)
            self.questions += 1
            # RFC 1035 section 4.1: the same header as an answer with one record, the question, and the record.
            header = question[:2] + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"
            record = b"\xc0\x0c\x00\x1c\x00\x01\x00\x00\x00\x01\x00\x10" + self._address
            asked = question[12 : question.index(b"\0", 12) + 5]
            self._socket.sendto(header + asked + record, peer)


@pytest.mark.parametrize("server", [CORE_NAME], indirect=True)
def test_f28_an_agent_measures_on_while_dns_is_down_and_returns_without_hands(
    tun: TunNetwork, server: Running, tmp_path: Path, agents: list[Agent]
) -> None:
    names = NameServer(tun)
    resolver = tmp_path / "resolv.conf"
    resolver.write_text(f"nameserver {tun.core_address}\noptions timeout:1 attempts:1\n")
    agent = Agent(tun, server, tmp_path, CORE_NAME)
    agents.append(agent)
    agent.start(resolver=resolver)
    agent.wait_outbox(lambda told: told["next_seq"] > 8 and told["packs"] < 8, 60, "connected by name")
    assert names.questions > 0
    tun.edge.block_ports([53])
    # A session that stands needs no name.
    seq = agent.outbox()["next_seq"]
    agent.wait_outbox(lambda told: told["next_seq"] > seq + 8 and told["packs"] < 8, 60, "delivering without DNS")
    # The prefix changes, and the session dies, while nobody answers names. It measures on.
    tun.renumber()
    agent.wait_outbox(lambda told: told["packs"] > 40, 120, "offline")
    # Started anew, it finds its configuration and its outbox without the network.
    agent.stop()
    agent.start(resolver=resolver)
    seq = agent.outbox()["next_seq"]
    agent.wait_outbox(lambda told: told["next_seq"] > seq + 8, 60, "measuring after a start without DNS")
    until_s = time.monotonic() + 60
    while not tun.edge.blocked_packets():
        assert time.monotonic() < until_s, "vacuous: nobody asked for a name while DNS was down"
        time.sleep(0.1)
    tun.edge.block_ports([])
    agent.wait_outbox(is_drained, STALL_S, "drained")
    agent.stop()
    assert agent.judge() > 60


@pytest.mark.parametrize("link", ["coap", pytest.param("mqtt", marks=pytest.mark.faults)])
def test_f28_an_agent_goes_on_from_its_new_prefix(
    tun: TunNetwork, server: Running, tmp_path: Path, agents: list[Agent], link: str
) -> None:
    agent = Agent(tun, server, tmp_path, tun.core_address, link)
    agents.append(agent)
    agent.start()
    agent.wait_outbox(lambda told: told["next_seq"] > 8 and told["packs"] < 8, 60, "connected")
    sessions = agent.sessions()
    tun.renumber()
    seq = agent.outbox()["next_seq"]
    agent.wait_outbox(lambda told: told["next_seq"] > seq + 8 and is_drained(told), STALL_S, "back")
    assert agent.sessions() > sessions, "vacuous: the session outlived its address"
    agent.stop()
    assert agent.judge() > 16


@pytest.mark.faults
def test_f28_a_new_prefix_ends_every_session_and_loses_nothing(lab: Lab) -> None:
    network = lab.network

    async def story() -> None:
        async with lab.town(0.3) as town:
            await wait_until(lambda: acknowledged(town) > 100)
            connects = town.statistics().connects
            town.mark("renumbering")
            network.renumber()
            told = acknowledged(town)
            await wait_until(lambda: acknowledged(town) > told + 200)
            lab.bites(reconnects=town.statistics().connects - connects)

    lab.live(story)
    assert lab.judge().counts.stored > 300
