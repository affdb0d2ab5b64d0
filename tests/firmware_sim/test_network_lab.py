"""The network with real sockets: what the knobs do to UDP and TCP, by their counts and by what arrives.

Both carriers where both can; namespaces alone for what needs packets. Without the right to make namespaces this module
is skipped, which is a failure in CI.
"""

import asyncio
import contextlib
import errno
import json
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Literal, Self

import psutil
import pytest

from lichtmast.firmware_sim.network import (
    Burst,
    CarrierError,
    Flapping,
    Impairment,
    ImpairmentError,
    Namespace,
    NamespaceError,
    RelayNetwork,
    Schedule,
    Step,
    TunNetwork,
    impaired,
    limits,
    namespaces_refused,
)

pytestmark = [pytest.mark.slow, pytest.mark.system]

DEADLINE_S = 10.0
IPV6_RECVERR, IPV6_MTU, IPV6_MTU_DISCOVER, IP_PMTUDISC_DO = 25, 24, 23, 2  # linux/in6.h
CLEAN = Impairment()
HOW_TO = Path(__file__).parents[2] / "docs/how-to/impair-a-network.md"
NAME = re.compile(r"\b[a-z][a-z_]+\b")
Carrier = Literal["tun", "relay"]


@pytest.fixture(scope="module", autouse=True)
def namespaces() -> None:
    refused = namespaces_refused()
    if refused:
        pytest.skip(refused)


@pytest.fixture(params=["tun", "relay"])
def network(request: pytest.FixtureRequest) -> Iterator[TunNetwork | RelayNetwork]:
    """A clean network on each carrier."""
    with impaired(seed=7, carrier=request.param) as one:
        yield one


@pytest.fixture
def tun() -> Iterator[TunNetwork]:
    with impaired(seed=7, carrier="tun") as one:
        yield one


class Line:
    """A UDP socket at the edge, and one in the core that it can reach."""

    def __init__(self, network: TunNetwork | RelayNetwork) -> None:
        self.network = network
        with network.core.entered():
            self.core = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.core.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.core.bind(("::1", 0))
        with network.edge.entered():
            self.edge = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.edge.connect(network.endpoint("udp", self.core.getsockname()[1]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.core.close()
        self.edge.close()

    def send(self, count: int, size: int = 60) -> None:
        """Numbered datagrams from the edge, and wait until the carrier has had them all."""
        before = self.network.counts.up.packets
        for number in range(count):
            self.edge.send(number.to_bytes(4).ljust(size, b"."))
            if number % 100 == 99:  # no faster than buffers are deep: loss here would be nobody's knob
                wait_until(lambda number=number: self.network.counts.up.packets == before + number + 1)  # type: ignore[misc]
        wait_until(lambda: self.network.counts.up.packets == before + count)

    def received(self, count: int) -> list[tuple[int, float]]:
        """So many datagrams that arrived in the core, and when."""
        arrived: list[tuple[int, float]] = []
        for _ in range(count):
            assert select.select([self.core], [], [], DEADLINE_S)[0], f"{len(arrived)} of {count} arrived"
            arrived.append((int.from_bytes(self.core.recv(2_000)[:4]), time.monotonic()))
        return arrived

    def numbers(self) -> list[int]:
        """Those that the carrier says it forwarded."""
        return [number for number, _ in self.received(self.network.counts.up.forwarded)]


def wait_until(true: Callable[[], bool]) -> None:
    until_s = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < until_s, "not true in time"
        time.sleep(0.002)


def connect(network: TunNetwork | RelayNetwork) -> tuple[socket.socket, socket.socket]:
    """A TCP connection: its ends at the edge and in the core."""
    with network.core.entered():
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    with server:
        server.settimeout(DEADLINE_S)
        with network.edge.entered():
            edge = socket.create_connection(network.endpoint("tcp", server.getsockname()[1]), timeout=DEADLINE_S)
        core = server.accept()[0]
    core.settimeout(DEADLINE_S)
    return edge, core


def exact(end: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = end.recv(count - len(data))
        assert piece, "the connection ended early"
        data += piece
    return data


def test_a_clean_network_carries_udp_both_ways(network: TunNetwork | RelayNetwork) -> None:
    with Line(network) as line:
        line.send(1)
        _, peer = line.core.recvfrom(100)
        line.core.sendto(b"answer", peer)
        line.edge.settimeout(DEADLINE_S)
        assert line.edge.recv(100) == b"answer"
    assert (network.counts.up.packets, network.counts.down.packets, network.counts.total.faults) == (1, 1, 0)


def test_loss_loses_what_the_seed_says(network: TunNetwork | RelayNetwork) -> None:
    network.impair(Impairment(loss=0.1))
    with Line(network) as line:
        line.send(1_000)
        arrived = line.numbers()
    assert network.counts.up.lost == 1_000 - len(arrived)
    assert 62 <= network.counts.up.lost <= 138  # four standard deviations
    assert arrived == sorted(set(arrived))


def test_the_same_seed_loses_the_same_packets_on_both_carriers() -> None:
    lost = []
    for carrier in ("tun", "relay"):
        with impaired(Impairment(burst=Burst(0.05, 0.3)), seed=11, carrier=carrier) as network, Line(network) as line:
            line.send(300)
            lost.append(set(range(300)) - set(line.numbers()))
            assert network.counts.up.burst_lost == len(lost[-1]) > 0
    assert lost[0] == lost[1]


def test_delay_delays(network: TunNetwork | RelayNetwork) -> None:
    network.impair(Impairment(delay_s=0.2, jitter_s=0.1))
    with Line(network) as line:
        start_s = time.monotonic()
        line.send(20)
        arrived = line.received(20)
    assert arrived[0][1] - start_s >= 0.1
    assert [number for number, _ in arrived] == list(range(20))
    assert network.counts.up.delayed == 20


def test_reordering_lets_later_packets_overtake(network: TunNetwork | RelayNetwork) -> None:
    network.impair(Impairment(reorder=0.2, reorder_s=0.3))
    with Line(network) as line:
        line.send(50)
        arrived = line.numbers()
    assert sorted(arrived) == list(range(50))
    assert arrived != list(range(50))
    assert network.counts.up.reordered > 0


def test_duplicates_arrive_twice(network: TunNetwork | RelayNetwork) -> None:
    network.impair(Impairment(duplicate=0.3))
    with Line(network) as line:
        line.send(100)
        arrived = line.numbers()
    assert len(arrived) - len(set(arrived)) == network.counts.up.duplicated > 0


def test_a_narrow_band_is_as_slow_as_it_says(network: TunNetwork | RelayNetwork) -> None:
    network.impair(Impairment(rate_bit_s=200_000))
    with Line(network) as line:
        start_s = time.monotonic()
        line.send(20, size=1_000)
        end_s = line.received(20)[-1][1]
    # 20 datagrams of at least 1,000 bytes less the burst of 3,000: 17,000 bytes at 25,000 a second.
    assert 0.65 <= end_s - start_s < 8
    assert network.counts.up.shaped >= 17


def test_a_blackhole_of_one_direction_leaves_the_other(network: TunNetwork | RelayNetwork) -> None:
    with Line(network) as line:
        line.send(1)
        _, peer = line.core.recvfrom(100)
        network.impair(CLEAN, down=Impairment(blackhole=True))
        line.core.sendto(b"lost", peer)
        line.send(1)
        line.received(1)
        wait_until(lambda: network.counts.down.blackholed == 1)
        network.heal()
        line.core.sendto(b"back", peer)
        line.edge.settimeout(DEADLINE_S)
        assert line.edge.recv(100) == b"back"


def test_a_flapping_link_passes_now_and_then(network: TunNetwork | RelayNetwork) -> None:
    network.impair(Impairment(flapping=Flapping(up_s=0.1, down_s=0.1)))
    with Line(network) as line:
        until_s = time.monotonic() + DEADLINE_S
        sent = 0
        while network.counts.up.flapped < 3 or network.counts.up.forwarded < 3:
            assert time.monotonic() < until_s
            line.send(1)
            sent += 1
        assert sent == network.counts.up.flapped + network.counts.up.forwarded
        line.received(network.counts.up.forwarded)


def test_a_schedule_runs_by_itself(network: TunNetwork | RelayNetwork) -> None:
    network.follow(Schedule((Step(0.0, up=Impairment(blackhole=True)), Step(0.3))))
    with Line(network) as line:
        until_s = time.monotonic() + DEADLINE_S
        while not network.counts.up.forwarded:
            assert time.monotonic() < until_s
            line.send(1)
        line.received(1)
    assert network.counts.up.blackholed > 0


def test_the_longest_schedule_reaches_the_carrier(network: TunNetwork | RelayNetwork) -> None:
    busy = Impairment(delay_s=0.1, jitter_s=0.05, rate_bit_s=32_000, flapping=Flapping(1, 1), queue_bytes=9_999)
    network.follow(Schedule(tuple(Step(float(at), busy, busy) for at in range(limits.STEPS_MAX))))
    network.heal()
    with Line(network) as line:
        line.send(1)
        line.received(1)


def test_tcp_stands_in_a_blackhole_and_goes_on_after_it(network: TunNetwork | RelayNetwork) -> None:
    edge, core = connect(network)
    with edge, core:
        network.impair(Impairment(blackhole=True))
        edge.sendall(b"patience")
        wait_until(lambda: network.counts.up.blackholed > 0)
        assert not select.select([core], [], [], 0)[0]
        network.heal()
        assert exact(core, 8) == b"patience"


def test_tcp_is_slowed_by_delay_and_rate(network: TunNetwork | RelayNetwork) -> None:
    edge, core = connect(network)
    with edge, core:
        network.impair(Impairment(delay_s=0.1, rate_bit_s=800_000))
        start_s = time.monotonic()
        edge.sendall(bytes(50_000))
        exact(core, 50_000)
        # 0.1 s on the way and 47,000 bytes at 100,000 a second.
        assert 0.55 <= time.monotonic() - start_s < 8
    assert network.counts.up.delayed > 0
    assert network.counts.up.shaped > 0


def test_a_connection_ends_on_both_sides(network: TunNetwork | RelayNetwork) -> None:
    edge, core = connect(network)
    with edge, core:
        edge.sendall(b"bye")
        edge.shutdown(socket.SHUT_WR)
        assert exact(core, 3) == b"bye"
        assert core.recv(1) == b""
        core.sendall(b"ok")
        core.close()
        assert exact(edge, 2) == b"ok"
        assert edge.recv(1) == b""


def test_tcp_survives_loss_reordering_duplicates_and_corruption_unaltered(tun: TunNetwork) -> None:
    edge, core = connect(tun)
    data = bytes(range(256)) * 2_000
    edge.settimeout(None)
    with edge, core:
        tun.impair(Impairment(loss=0.03, reorder=0.05, duplicate=0.05, corrupt=0.02, delay_s=0.002))
        sending = threading.Thread(target=edge.sendall, args=(data,))
        sending.start()
        assert exact(core, len(data)) == data
        sending.join(DEADLINE_S)
    up = tun.counts.up
    assert min(up.lost, up.reordered, up.duplicated, up.corrupted) > 0


def udp_checksum_errors(namespace: Namespace) -> int:
    counters = dict(line.split() for line in namespace.run("cat", "/proc/thread-self/net/snmp6").splitlines())
    return int(counters["Udp6InCsumErrors"])


def test_the_checksum_rejects_a_corrupt_datagram(tun: TunNetwork) -> None:
    tun.impair(Impairment(corrupt=0.5))
    with Line(tun) as line:
        line.send(100)
        corrupted = tun.counts.up.corrupted
        assert 30 <= corrupted <= 70
        arrived = [number for number, _ in line.received(100 - corrupted)]
        assert arrived == sorted(set(arrived))
        assert not select.select([line.core], [], [], 0)[0]
    # A flip in a port or length is rejected before the checksum is looked at; a lookup by a wrong port is no error.
    assert 0 < udp_checksum_errors(tun.core) <= corrupted


def test_a_relay_delivers_a_corrupt_datagram_altered() -> None:
    with impaired(Impairment(corrupt=1.0), carrier="relay") as network, Line(network) as line:
        line.send(1)
        data = line.core.recv(100)
    assert sum((one ^ other).bit_count() for one, other in zip(data, bytes(4).ljust(60, b"."), strict=True)) == 1


def test_what_is_too_big_is_told_to_the_sender(tun: TunNetwork) -> None:
    tun.impair(Impairment(mtu_bytes=1_280))
    with Line(tun) as line:
        line.edge.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IP_PMTUDISC_DO)
        line.edge.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        line.send(1, size=1_400)
        assert tun.counts.up.too_big_told == 1
        wait_until(lambda: line.edge.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU) == 1_280)
        # A datagram above the path's MTU is now refused where it is made; the queued error says why.
        _, ancillary, _, _ = line.edge.recvmsg(2_000, 500, socket.MSG_ERRQUEUE)
        code, origin, kind = ancillary[0][2][0], ancillary[0][2][4], ancillary[0][2][5]
        assert (code, origin, kind) == (errno.EMSGSIZE, 3, 2)  # SO_EE_ORIGIN_ICMP6, Packet Too Big
        with pytest.raises(OSError, match="Message too long") as refused:
            line.edge.send(bytes(1_400))
        assert refused.value.errno == errno.EMSGSIZE
        line.send(1, size=1_232)  # 1,280 with the headers of IPv6 and UDP
        line.received(1)


def test_where_too_big_is_withheld_there_is_silence(tun: TunNetwork) -> None:
    tun.impair(Impairment(mtu_bytes=1_280, too_big=False))
    with Line(tun) as line:
        line.edge.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IP_PMTUDISC_DO)
        line.send(3, size=1_400)
        line.send(1, size=1_232)
        line.received(1)
        assert line.edge.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU) == limits.LINK_MTU_BYTES
    assert (tun.counts.up.too_big_silent, tun.counts.up.forwarded) == (3, 1)


def test_tcp_learns_the_mtu_from_the_message(tun: TunNetwork) -> None:
    edge, core = connect(tun)
    with edge, core:
        tun.impair(Impairment(mtu_bytes=1_280))
        edge.sendall(bytes(20_000))
        exact(core, 20_000)
    assert tun.counts.up.too_big_told > 0


def test_a_relay_refuses_what_it_cannot_do() -> None:
    with impaired(carrier="relay") as network:
        with pytest.raises(ImpairmentError, match="no MTU"):
            network.impair(Impairment(mtu_bytes=1_280))
        network.impair(Impairment(loss=0.1))
        network.endpoint("udp", 5_683)
        with pytest.raises(ImpairmentError, match="ends TCP itself, so loss cannot"):
            network.endpoint("tcp", 1_883)
        network.heal()
        network.endpoint("tcp", 1_883)
        with pytest.raises(ImpairmentError, match="ends TCP itself, so corrupt, duplicate cannot"):
            network.impair(Impairment(duplicate=0.1), down=Impairment(corrupt=0.1))


def test_thousands_of_endpoints_have_an_address_each(tun: TunNetwork) -> None:
    first = int(tun.edge_prefix[0])
    with Line(tun) as line:
        port = line.core.getsockname()[1]
        with tun.edge.entered(), contextlib.ExitStack() as stack:
            for number in range(1_000):
                one = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
                one.bind((str(tun.edge_prefix[number + 2]), 0))
                one.sendto(b"here", tun.endpoint("udp", port))
        seen = set()
        for _ in range(1_000):
            assert select.select([line.core], [], [], DEADLINE_S)[0]
            seen.add(int.from_bytes(socket.inet_pton(socket.AF_INET6, line.core.recvfrom(100)[1][0])) - first)
    assert seen == set(range(2, 1_002))


def test_renumbering_kills_the_old_address_and_gives_a_new_one(tun: TunNetwork) -> None:
    old, prefix = tun.edge_address, str(tun.edge_prefix)
    edge, core = connect(tun)
    with edge, core:
        tun.renumber()
        assert tun.edge_address != old
        assert prefix not in tun.core.run("ip", "-6", "route")
        edge.sendall(b"from the old address")
        answered, _, _ = select.select([core], [], [], 0.3)
        if answered:  # what was sent may still arrive; the answer cannot
            core.recv(100)
        core.sendall(b"answer")
        assert not select.select([edge], [], [], 0.3)[0]
    with Line(tun) as line:
        line.send(1)
        _, peer = line.core.recvfrom(100)
        assert peer[0] == tun.edge_address


def test_a_pulled_cable_loses_packets_until_it_is_plugged_in_again(tun: TunNetwork) -> None:
    with Line(tun) as line:
        line.send(1)
        tun.edge.plug(is_in=False)
        # The kernel takes up to a second to believe it.
        wait_until(lambda: "state DOWN" in tun.edge.run("ip", "link", "show", "link"))
        line.edge.settimeout(0)
        for _ in range(10):
            with contextlib.suppress(OSError):
                line.edge.send(b"lost")
        assert tun.counts.up.packets == 1
        tun.edge.plug(is_in=True)

        def passes() -> bool:
            line.edge.send(b"tried")
            return tun.counts.up.packets > 1

        wait_until(passes)
        line.received(2)


def test_blocked_ports_swallow_and_count(tun: TunNetwork) -> None:
    with Line(tun) as line:
        tun.edge.block_ports([53, line.core.getsockname()[1]])
        with contextlib.suppress(PermissionError):  # what the kernel tells the sender of a packet that it drops
            line.edge.send(b"a question")
        assert tun.edge.blocked_packets() == 1
        tun.edge.block_ports([])
        line.send(1)
        line.received(1)


def test_a_namespace_has_no_ipv4_and_is_not_ours(tun: TunNetwork) -> None:
    assert tun.edge.run("ip", "-4", "-oneline", "address", "show") == ""
    ours = subprocess.run(["ip", "-json", "link"], capture_output=True, text=True, check=True).stdout
    assert "link" not in {one["ifname"] for one in json.loads(ours)}
    told = subprocess.run(
        tun.edge.command("ip", "-6", "-json", "address", "show", "link"), capture_output=True, text=True, check=True
    ).stdout
    assert tun.edge_address in told


def test_a_command_that_fails_says_what_it_complained_of(tun: TunNetwork) -> None:
    with pytest.raises(NamespaceError, match=r"ip link set nowhere up failed: Cannot find device"):
        tun.edge.run("ip", "link", "set", "nowhere", "up")


HOLDER = """
import json, os, time
from lichtmast.firmware_sim.network import impaired
import psutil
with impaired(carrier="tun"):
    print(json.dumps([one.pid for one in psutil.Process().children()]), flush=True)
    time.sleep(600)
"""


def test_nothing_is_left_when_the_test_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        carriers = json.loads(holder.stdout.readline())
        assert len(carriers) == 1
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        wait_until(lambda: not psutil.pid_exists(carriers[0]))
    assert subprocess.run(["ip", "netns", "list"], capture_output=True, check=True).stdout == b""


def test_without_the_right_it_says_so_in_a_sentence_and_takes_the_relay() -> None:
    program = (
        "from lichtmast.firmware_sim.network import impaired, namespaces_refused as why\n"
        "print(why())\n"
        "with impaired() as network: print(type(network).__name__)\n"
    )
    words = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", sys.executable, "-c", program]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    sentence = "this machine allows no network namespace (Operation not permitted): "
    assert told == [f"{sentence}be root, or run under: unshare --map-root-user --net", "RelayNetwork"]


def test_a_carrier_that_died_is_an_error_and_no_silence(network: TunNetwork | RelayNetwork) -> None:
    for one in psutil.Process().children():
        if one.status() != psutil.STATUS_ZOMBIE and "lichtmast.firmware_sim.network.carrier" in one.cmdline():
            one.kill()
            one.wait(DEADLINE_S)
    with pytest.raises(CarrierError):
        _ = network.counts


def test_a_relay_that_ends_under_an_open_connection_has_nothing_to_say(capfd: pytest.CaptureFixture[str]) -> None:
    with impaired(carrier="relay") as network:
        edge, core = connect(network)
        with edge, core:
            edge.sendall(b"x")
            assert exact(core, 1) == b"x"
            network.__exit__()
            assert edge.recv(1) == b""
    assert capfd.readouterr().err == ""


def test_async_code_enters_it_too() -> None:
    async def counted() -> int:
        async with impaired(Impairment(loss=1.0), carrier="relay") as network:
            network.heal()
            return network.counts.total.packets

    assert asyncio.run(counted()) == 0


@pytest.mark.parametrize("carrier", ["tun", "relay"])
def test_two_thousand_packets_a_second_pass_without_loss(carrier: Carrier) -> None:
    with impaired(Impairment(delay_s=0.02), seed=7, carrier=carrier) as network, Line(network) as line:
        line.send(2_000, size=500)
        assert len(line.numbers()) == 2_000


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", HOW_TO.read_text(), re.DOTALL)


def test_the_example_of_the_how_to_runs() -> None:
    (example,) = blocks("python")
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, check=False)
    assert re.fullmatch(r"100 sent, \d+ lost, \d+ delayed\n", done.stdout), done.stderr


def test_every_knob_and_no_other_stands_in_the_how_to() -> None:
    table = HOW_TO.read_text().partition("## The knobs")[2].partition("## A schedule")[0]
    told = {name for line in table.splitlines() if line.startswith("| `") for name in NAME.findall(line.split("|")[1])}
    assert told == {one.name for kind in (Impairment, Burst, Flapping) for one in fields(kind)}


def test_by_hand_it_says_where_to_dial_and_what_it_did(tmp_path: Path) -> None:
    storm = tmp_path / "storm.toml"
    storm.write_text(blocks("toml")[0].replace("at_s = 30", "at_s = 3000").replace("at_s = 60", "at_s = 6000"))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
        server.bind(("::1", 0))
        port = str(server.getsockname()[1])
        words = [sys.executable, "-m", "lichtmast.firmware_sim.network", str(storm), "--udp", port]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as command:
            assert command.stdout is not None
            said = re.fullmatch(rf"udp {port}: dial \[::1\]:(\d+)\n", command.stdout.readline())
            assert said
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as device:
                for _ in range(50):
                    device.sendto(b"x", ("::1", int(said[1])))
                assert select.select([server], [], [], DEADLINE_S)[0]
            command.send_signal(signal.SIGINT)
            counts = json.loads(command.stdout.readline())
        assert command.returncode == 0
    assert counts["up"]["packets"] == 50
    assert counts["up"]["lost"] > 0


def test_by_hand_a_port_is_asked_for(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "lichtmast.firmware_sim.network", str(tmp_path / "storm.toml")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert done.returncode == 2
    assert "give --tcp PORT or --udp PORT, or both" in done.stderr


def test_by_hand_a_wrong_schedule_is_refused_in_a_line(tmp_path: Path) -> None:
    storm = tmp_path / "storm.toml"
    storm.write_text("[[step]]\nat_s = 0\nboth = { loss = 0.1 }\n")
    words = [sys.executable, "-m", "lichtmast.firmware_sim.network", str(storm), "--tcp", "1883"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("a relay ends TCP itself, so loss cannot be done to it; use the carrier tun")
