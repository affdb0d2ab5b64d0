"""The server at the pole on a real link: two network namespaces, a veth pair, link-local and global addresses."""

import ast
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

POLE_VIEW: Final = Path(__file__).parents[1] / "support" / "pole_view.py"
GET_STATE: Final = b"\x51\x01\x12\x34\xaa\xb5state"
DISCOVER: Final = b"\x51\x01\x12\x35\xab\xbb.well-known\x04core"


def run(*line: str) -> str:
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, (line, done.stderr)
    return done.stdout


@contextmanager
def link() -> Iterator[tuple[str, str]]:
    """Two namespaces, `pole0` in the one and `phone0` in the other, each with a global address as well."""
    if os.getuid() or shutil.which("ip") is None:
        pytest.skip("needs root and ip (iproute2) to make network namespaces")
    pole, phone = (f"lm-{name}-{os.getpid()}" for name in ("pole", "phone"))
    made = []
    try:
        for namespace in (pole, phone):
            if subprocess.run(["ip", "netns", "add", namespace], capture_output=True, check=False).returncode:
                pytest.skip("this machine does not let us make a network namespace")
            made.append(namespace)
            # Without duplicate address detection a new address can be used at once.
            run("ip", "-n", namespace, "link", "set", "lo", "up")
            run("ip", "netns", "exec", namespace, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        run("ip", "-n", pole, "link", "add", "pole0", "type", "veth", "peer", "name", "phone0", "netns", phone)
        for namespace, interface, address in ((pole, "pole0", "2001:db8::1/64"), (phone, "phone0", "2001:db8::2/64")):
            run("ip", "-n", namespace, "link", "set", interface, "up")
            run("ip", "-n", namespace, "addr", "add", address, "dev", interface, "nodad")
        yield pole, phone
    finally:
        for namespace in made:
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)


def link_local(namespace: str, interface: str) -> str:
    shown = run("ip", "-n", namespace, "-6", "addr", "show", "dev", interface, "scope", "link")
    found = re.search(r"inet6 (fe80::[0-9a-f:]+)/", shown)
    assert found, shown
    return found[1]


@contextmanager
def serving(namespace: str) -> Iterator["subprocess.Popen[str]"]:
    line = ["ip", "netns", "exec", namespace, sys.executable, str(POLE_VIEW), "pole0"]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "serving\n"
            yield server
        finally:
            server.terminate()


def statistics(server: "subprocess.Popen[str]") -> dict[str, int]:
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write("\n")
    server.stdin.flush()
    counts: dict[str, int] = ast.literal_eval(server.stdout.readline())
    return counts


# Runs beside the phone: from a global and from a link-local address it asks, and prints who was answered.
ASK: Final = """
import socket, sys
pole, ours, get_state, discover = sys.argv[1], sys.argv[2], *map(bytes.fromhex, sys.argv[3:])
link = socket.if_nametoindex("phone0")
def asker(address, scope):
    asker = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    asker.bind((address, 0, 0, scope))
    asker.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, link)
    asker.settimeout(20)
    return asker
stranger, neighbour = asker("2001:db8::2", 0), asker(ours, link)
group = ("ff02::fd", 5683, 0, link)
for one in (stranger, neighbour):
    one.sendto(discover, group)
    one.sendto(get_state, group)
    one.sendto(b"\\x40\\x01\\x12\\x36\\x91\\x01", (pole, 5683, 0, link))
    one.sendto(get_state, (pole, 5683, 0, link))
# The server reads in order, so when the neighbour has all its answers the stranger's would be there.
answers = sorted(neighbour.recv(2000) for _ in range(3))
print([answer[:5].hex() for answer in answers], max(map(len, answers)))
for one in (stranger, neighbour):
    one.settimeout(0)
    try:
        print(one.recv(2000).hex())
    except BlockingIOError:
        print("nothing")
closed = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
closed.settimeout(20)
closed.connect(("2001:db8::1", 5683))
closed.send(get_state)
try:
    print(closed.recv(2000).hex())
except ConnectionRefusedError:
    print("refused")
"""


@pytest.mark.slow
@pytest.mark.system
def test_a_neighbour_is_answered_and_a_global_source_is_not() -> None:
    with link() as (pole, phone), serving(pole) as server:
        told = run(
            "ip", "netns", "exec", phone, sys.executable, "-c", ASK,
            link_local(pole, "pole0"), link_local(phone, "phone0"), GET_STATE.hex(), DISCOVER.hex(),
        ).splitlines()  # fmt: skip
        answers, longest = re.fullmatch(r"(\[.*\]) (\d+)", told[0]).groups()  # type: ignore[union-attr] # fails loudly
        # 2.05 to the discovery and to the unicast GET of /state, both NON; an ACK with 4.02 to the critical option.
        assert [one[:4] for one in ast.literal_eval(answers)] == ["5145", "5145", "6082"]
        assert int(longest) <= 1_024
        assert told[1:] == ["nothing", "nothing", "refused"]
        counts = statistics(server)
        assert (counts["not_a_neighbour"], counts["not_for_a_group"]) == (4, 1)


@pytest.mark.slow
@pytest.mark.system
def test_debians_coap_client_finds_the_pole_by_multicast() -> None:
    client = shutil.which("coap-client-notls") or shutil.which("coap-client-openssl")
    if client is None:
        pytest.skip("coap-client (libcoap3-bin) is not installed")
    with link() as (pole, phone), serving(pole) as server:
        found = run("ip", "netns", "exec", phone, client, "-N", "-B", "4", "coap://[ff02::fd%phone0]/.well-known/core")
        assert "</readings>" in found
        address = link_local(pole, "pole0")
        assert "lm-0001" in run("ip", "netns", "exec", phone, client, f"coap://[{address}%phone0]/readings")
        assert statistics(server)["request"] == 2


@pytest.mark.slow
@pytest.mark.system
def test_an_interface_that_comes_later_is_served_and_one_that_goes_is_left() -> None:
    with link() as (pole, phone):
        line = ["ip", "netns", "exec", pole, sys.executable, str(POLE_VIEW), "pole0"]
        run("ip", "-n", pole, "link", "set", "pole0", "down")
        with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                run("ip", "-n", pole, "link", "set", "pole0", "up")
                assert server.stdout.readline() == "serving\n"
                run("ip", "-n", phone, "link", "del", "phone0")
                while statistics(server)["addresses"] > 1:
                    time.sleep(0.02)
            finally:
                server.terminate()
