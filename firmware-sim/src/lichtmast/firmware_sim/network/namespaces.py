"""Network namespaces without a name: a file descriptor holds them open, so that they go with the process, always.

A thread enters one for a while; sockets that it makes and processes that it starts meanwhile belong there for good:

    with namespace.entered():
        server = socket.create_server(("::", 0), family=socket.AF_INET6)

Will not touch the namespace that the machine itself lives in, and gives no namespace an IPv4 address.
"""

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, Protocol, Self

from lichtmast.firmware_sim.network import limits
from lichtmast.firmware_sim.network.errors import NamespaceError

_CLONE_NEWNET: Final = 0x40000000
_OWN: Final = "/proc/thread-self/ns/net"
_TUN: Final = "/dev/net/tun"
# linux/if_tun.h
_TUNSETIFF: Final = 0x400454CA
_TUNSETCARRIER: Final = 0x400454E2
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000

LINK: Final = "link"
"""The name of the TUN device in each namespace."""
ADVICE: Final = "be root, or run under: unshare --map-root-user --net"


class Place(Protocol):
    """Where a process or a socket can be put: a `Namespace`, or `Here`."""

    def entered(self) -> AbstractContextManager[None]:
        """While it is entered, what this thread makes is there."""

    def command(self, *words: str) -> list[str]:
        """The words of a command that runs `words` there."""


class Here:
    """No other place: for a relay, whose ends are both where the caller is."""

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Nothing to enter."""
        yield

    def command(self, *words: str) -> list[str]:
        """The words as they are."""
        return list(words)


class Namespace:
    """One network namespace with ::1 and nothing else. Raises NamespaceError where the machine refuses."""

    def __init__(self) -> None:
        missing = [one for one in ("ip", "nft") if shutil.which(one) is None]
        if missing:
            raise NamespaceError(f"{' and '.join(missing)} not on PATH; install iproute2 and nftables")
        home = os.open(_OWN, os.O_RDONLY)
        try:
            if _libc().unshare(_CLONE_NEWNET):
                reason = os.strerror(ctypes.get_errno())
                raise NamespaceError(f"this machine allows no network namespace ({reason}): {ADVICE}")
            try:
                self._descriptor = os.open(_OWN, os.O_RDONLY)
            finally:
                _enter(home)
        finally:
            os.close(home)
        self._tuns: list[int] = []
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "-4", "address", "flush", "dev", "lo")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it; the kernel removes it when nothing runs in it any more. A second time does nothing."""
        for one in (*self._tuns, self._descriptor):
            if one >= 0:
                os.close(one)
        self._tuns, self._descriptor = [], -1

    @contextmanager
    def entered(self) -> Iterator[None]:
        """While it is entered, sockets that this thread makes and processes that it starts are there."""
        home = os.open(_OWN, os.O_RDONLY)
        try:
            _enter(self._descriptor)
            try:
                yield
            finally:
                _enter(home)
        finally:
            os.close(home)

    def command(self, *words: str) -> list[str]:
        """The words of a command that runs `words` there, for as long as this process lives."""
        return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self._descriptor}", "--", *words]

    def run(self, *words: str, stdin: str | None = None) -> str:
        """Run a command to its end there and return what it printed. Raises NamespaceError with its complaint."""
        with self.entered():
            done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
        if done.returncode:
            raise NamespaceError(f"{' '.join(words)} failed: {done.stderr.strip()}")
        return done.stdout

    def open_tun(self) -> int:
        """A TUN device named `link` there; packets are read from and written to the descriptor."""
        with self.entered():
            try:
                tun = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK)
                self._tuns.append(tun)
                fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", LINK.encode(), _IFF_TUN | _IFF_NO_PI))
            except OSError as error:
                raise NamespaceError(f"this machine allows no TUN device ({error.strerror}): {ADVICE}") from error
        # Neither neighbours nor multicast: nothing but what the test sends takes part in its chances.
        self.run("ip", "link", "set", "dev", LINK, "multicast", "off", "addrgenmode", "none")
        self.run(
            "ip", "link", "set", "dev", LINK,
            "mtu", str(limits.LINK_MTU_BYTES), "txqueuelen", str(limits.LINK_QUEUE_PACKETS), "up",
        )  # fmt: skip
        return tun

    def plug(self, *, is_in: bool) -> None:
        """Pull the cable of `link` out, or put it in again; the kernel takes up to a second to believe it."""
        fcntl.ioctl(self._tuns[0], _TUNSETCARRIER, struct.pack("i", is_in))

    def own(self, prefix: str) -> None:
        """Make every address of the prefix one of its own, for thousands of endpoints (AnyIP)."""
        self.run("ip", "-6", "route", "add", "local", prefix, "dev", "lo")
        self.set("net/ipv6/ip_nonlocal_bind", 1)

    def disown(self, prefix: str) -> None:
        """The prefix is gone, as when the provider renumbers."""
        self.run("ip", "-6", "route", "delete", "local", prefix, "dev", "lo")

    def set(self, name: str, value: int) -> None:
        """A kernel setting of this namespace, such as net/ipv6/ip_nonlocal_bind."""
        with self.entered():
            Path("/proc/sys", name).write_text(str(value), encoding="ascii")

    def publish_loopback(self) -> None:
        """Let whoever dials an address of this namespace over `link` reach what listens on ::1 only."""
        # The kernel routes ::1 from another device only where a route of that device says so.
        self.run("ip", "-6", "route", "add", "local", "::1/128", "dev", LINK, "table", "local")
        self.filter(
            "publish",
            f'chain in {{ type nat hook prerouting priority dstnat; iifname "{LINK}" '
            "meta l4proto { tcp, udp } dnat to ::1; }",
        )

    def block_ports(self, ports: Sequence[int]) -> None:
        """Throw away in silence what goes to these TCP and UDP ports, such as 53; none opens all again."""
        listed = ", ".join(map(str, ports))
        rule = f"meta l4proto {{ tcp, udp }} th dport {{ {listed} }} counter drop;" if ports else ""
        self.filter("blocked", f"chain out {{ type filter hook output priority filter; {rule} }}")

    def blocked_packets(self) -> int:
        """How many packets `block_ports` has thrown away since it was called."""
        words = self.run("nft", "list", "table", "ip6", "blocked").split()
        return sum(int(words[at + 1]) for at, word in enumerate(words) if word == "packets")

    def filter(self, table: str, chains: str) -> None:
        """Replace a table of nftables for IPv6 by these chains."""
        self.run(
            "nft", "-f", "-", stdin=f"table ip6 {table}\ndelete table ip6 {table}\ntable ip6 {table} {{ {chains}; }}\n"
        )


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _enter(descriptor: int) -> None:
    if _libc().setns(descriptor, _CLONE_NEWNET):
        raise NamespaceError(f"cannot enter a network namespace: {os.strerror(ctypes.get_errno())}")
