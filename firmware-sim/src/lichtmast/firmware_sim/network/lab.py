"""A network between an edge and a core that a test makes bad, and good again.

    async with impaired(Impairment(loss=0.1), seed=7) as network:
        with network.core.entered():
            ...  # start the server, on ::1 or on network.core_address
        with network.edge.entered():
            ...  # start the device; it dials network.endpoint("tcp", 1883)
        network.impair(Impairment(blackhole=True))
        assert network.counts.total.blackholed

Where namespaces are allowed the edge and the core are two of them, and a router in userspace carries every packet. Else
it is a relay on ::1, with the same interface; what that cannot do it refuses with ImpairmentError.

Will not name a namespace or leave anything behind: all of it goes with this process, however that ends.
"""

import asyncio
import json
import secrets
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from contextlib import ExitStack
from ipaddress import IPv6Address, IPv6Network
from typing import Any, Final, Literal, Self, overload

from lichtmast.firmware_sim.network import limits
from lichtmast.firmware_sim.network.counts import NetworkCounts
from lichtmast.firmware_sim.network.errors import CarrierError, ImpairmentError, NamespaceError
from lichtmast.firmware_sim.network.impairment import Impairment
from lichtmast.firmware_sim.network.namespaces import LINK, Here, Namespace, Place
from lichtmast.firmware_sim.network.schedule import Schedule

Transport = Literal["tcp", "udp"]
_SUBNETS_MAX: Final = 0xFFFF


class Network(ABC):
    """What both carriers are: an edge, a core, and a schedule of impairments between them.

    Use it by `async with`, or by `with` in code that does not await.
    """

    edge: Place
    core: Place

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._control = self._start(stack)
            self.follow(self._schedule)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(self, *exception: object) -> None:
        await asyncio.to_thread(self._stack.close)

    def impair(self, up: Impairment, down: Impairment | None = None) -> None:
        """From now on this, in both directions where `down` is left out. Counts go on."""
        self.follow(Schedule.of(up, down, seed=self._schedule.seed))

    def heal(self) -> None:
        """From now on everything passes."""
        self.impair(Impairment())

    def follow(self, schedule: Schedule) -> None:
        """Start a schedule now, in place of the one that runs. Raises ImpairmentError for what this carrier cannot."""
        self._check(schedule)
        self._schedule = schedule
        self._ask({"follow": schedule.to_table()})

    @property
    def counts(self) -> NetworkCounts:
        """What was done to packets so far."""
        return NetworkCounts.from_table(self._ask({"counts": None})["counts"])

    @abstractmethod
    def endpoint(self, transport: Transport, port: int) -> tuple[str, int]:
        """The host and port that the edge dials to reach `port` of the core."""

    @abstractmethod
    def _start(self, stack: ExitStack) -> socket.socket:
        """Begin to carry; what the carrier is asked goes through the socket."""

    def _check(self, schedule: Schedule) -> None:  # noqa: B027 - a carrier that can do everything refuses nothing
        """Refuse what this carrier cannot do."""

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        try:
            self._control.sendall(json.dumps(question).encode())
            answer = self._control.recv(limits.MESSAGE_BYTES_MAX)
        except OSError as error:
            raise CarrierError("the carrier of the packets does not answer; is the machine overloaded?") from error
        if not answer:
            raise CarrierError("the carrier of the packets has ended; its error is on stderr above")
        told: dict[str, Any] = json.loads(answer)
        return told


class TunNetwork(Network):
    """Two namespaces and a router between them. Raises NamespaceError where the machine refuses.

    The edge owns every address of `edge_prefix` (a /64), so that thousands of endpoints can have one each. The core is
    reached at `core_address`; what listens there on ::1 only is reached all the same. Several edges may share a core.
    """

    edge: Namespace
    core: Namespace

    def __init__(self, schedule: Schedule) -> None:
        super().__init__(schedule)
        # RFC 4193 section 3.2: fd, 40 random bits, then 16 bits of subnet.
        self._site = IPv6Network((bytes([0xFD]) + secrets.token_bytes(5) + bytes(10), 48))
        self._subnet = 1
        self.core_address = str(self._site[1])
        self._router_address = self._site[0xFFFF]

    @property
    def edge_prefix(self) -> IPv6Network:
        """The /64 of the edge now; see `renumber`."""
        return IPv6Network((int(self._site[0]) + (self._subnet << 64), 64))

    @property
    def edge_address(self) -> str:
        """The address that the edge speaks from, where it chooses none itself."""
        return str(self.edge_prefix[1])

    def endpoint(self, transport: Transport, port: int) -> tuple[str, int]:  # noqa: ARG002 - all reach the core alike
        """The core's own address and port."""
        return self.core_address, port

    def renumber(self) -> None:
        """The edge's prefix is replaced: every connection from the old one is dead, and nobody is told."""
        self._withdraw()
        self._subnet = self._subnet % _SUBNETS_MAX + 1
        self._number()

    def _start(self, stack: ExitStack) -> socket.socket:
        self.core, self.edge = stack.enter_context(Namespace()), stack.enter_context(Namespace())
        tuns = [self.edge.open_tun(), self.core.open_tun()]
        self.core.run("ip", "-6", "address", "add", f"{self.core_address}/128", "dev", LINK, "nodad")
        self.core.publish_loopback()
        self.edge.run("ip", "-6", "route", "add", f"{self._site[0]}/64", "dev", LINK)
        self._number()
        return _start_carrier(stack, tuns, self._router_address)

    def _number(self) -> None:
        self.edge.run("ip", "-6", "address", "add", f"{self.edge_address}/128", "dev", LINK, "nodad")
        self.edge.own(str(self.edge_prefix))
        self.core.run("ip", "-6", "route", "add", str(self.edge_prefix), "dev", LINK)

    def _withdraw(self) -> None:
        self.edge.disown(str(self.edge_prefix))
        self.edge.run("ip", "-6", "address", "delete", f"{self.edge_address}/128", "dev", LINK)
        self.core.run("ip", "-6", "route", "delete", str(self.edge_prefix), "dev", LINK)


class RelayNetwork(Network):
    """Ports of ::1 that lead to others through a relay: the edge and the core are both where the caller is."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__(schedule)
        self.edge = self.core = Here()
        self.core_address = "::1"
        self._ports: dict[tuple[Transport, int], int] = {}

    def endpoint(self, transport: Transport, port: int) -> tuple[str, int]:
        """A port of ::1 that leads to `port` of ::1; asked again, the same. Raises ImpairmentError, see `follow`."""
        if (transport, port) not in self._ports:
            self._refuse(self._schedule, {transport})
            opened = self._ask({"open": transport, "host": self.core_address, "port": port})
            self._ports[transport, port] = opened["port"]
        return self.core_address, self._ports[transport, port]

    def _start(self, stack: ExitStack) -> socket.socket:
        return _start_carrier(stack, [], None)

    def _check(self, schedule: Schedule) -> None:
        self._refuse(schedule, {transport for transport, _ in self._ports})

    def _refuse(self, schedule: Schedule, transports: set[Transport]) -> None:
        used = {name for one in schedule.steps for way in (one.up, one.down) for name in way.of_packets_only}
        if "mtu_bytes" in used:
            raise ImpairmentError(f"a relay on ::1 has no MTU; use the carrier tun ({_WHY})")
        if used and "tcp" in transports:
            names = ", ".join(sorted(used))
            raise ImpairmentError(
                f"a relay ends TCP itself, so {names} cannot be done to it; use the carrier tun ({_WHY})"
            )


_WHY: Final = "it needs network namespaces"


@overload
def impaired(what: Impairment | Schedule | None = None, *, seed: int = 1, carrier: Literal["tun"]) -> TunNetwork: ...


@overload
def impaired(
    what: Impairment | Schedule | None = None, *, seed: int = 1, carrier: Literal["relay"]
) -> RelayNetwork: ...


@overload
def impaired(
    what: Impairment | Schedule | None = None, *, seed: int = 1, carrier: Literal["tun", "relay"] | None = None
) -> "TunNetwork | RelayNetwork": ...


def impaired(
    what: Impairment | Schedule | None = None, *, seed: int = 1, carrier: Literal["tun", "relay"] | None = None
) -> "TunNetwork | RelayNetwork":
    """A network, entered by `async with` or `with`. Without `carrier` it is TUN where the machine allows it.

    `seed` decides every chance; a Schedule brings its own.
    """
    schedule = what if isinstance(what, Schedule) else Schedule.of(what or Impairment(), seed=seed)
    if carrier is None:
        carrier = "relay" if namespaces_refused() else "tun"
    return TunNetwork(schedule) if carrier == "tun" else RelayNetwork(schedule)


def namespaces_refused() -> str | None:
    """Why this machine gives us no namespaces, in one sentence; None where it does."""
    try:
        with Namespace() as probe:
            probe.open_tun()
            probe.publish_loopback()
    except NamespaceError as error:
        return str(error)
    return None


def _start_carrier(stack: ExitStack, tuns: list[int], router: IPv6Address | None) -> socket.socket:
    """Start the process, and end it with the stack."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stack.enter_context(ours)
    ours.settimeout(limits.ANSWER_TIMEOUT_S)
    with its:
        words = [str(its.fileno()), *map(str, tuns), *([str(router)] if router else [])]
        process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "lichtmast.firmware_sim.network.carrier", *words],
            pass_fds=[its.fileno(), *tuns],
        )
    # Both descriptors of a TUN device must be closed before its namespace can go, so the process ends first.
    stack.callback(_end, process, ours)
    return ours


def _end(process: subprocess.Popen[bytes], control: socket.socket) -> None:
    control.close()
    try:
        process.wait(limits.END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
