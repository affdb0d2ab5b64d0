"""The probes against a real host behind a real cable: it answers, a firewall stands before it, its cable is pulled."""

import select
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from ipaddress import IPv6Address

import pytest

from lichtmast.firmware_sim.network import Namespace, namespaces_refused
from lichtmast.registry import DeviceStatus
from lichtmast.registry.contacts import Bearer, Contact
from lichtmast.suite.silence.facts import Facts, Reach
from lichtmast.suite.silence.finding import Rung
from lichtmast.suite.silence.ladder import climb, verdict
from lichtmast.suite.silence.probes import COAP_PORT, coap, echo
from lichtmast.wire import DeviceId

pytestmark = pytest.mark.slow
SERVER, NODE = "2001:db8:10::1", IPv6Address("2001:db8:10::7")
PATIENCE_S = 0.5
HEARD = Contact(DeviceId("gm0402", "lm-1"), Bearer.COAP, NODE, 1)


class Street:
    """A server and a node, each in a network of its own, and the cable between them."""

    def __init__(self, server: Namespace, node: Namespace) -> None:
        self.server = server
        self.node = node

    def look(self) -> tuple[Reach, Reach]:
        """What echo and CoAP ping come to, asked from the server."""
        with self.server.entered():
            return echo(NODE, PATIENCE_S), coap(NODE, PATIENCE_S)

    def wait_plugged(self) -> None:
        """The kernel takes up to a second to believe that a cable is in."""
        until_s = time.monotonic() + 20
        while self.look()[0] is not Reach.ANSWERED:
            assert time.monotonic() < until_s, "the cable carries nothing"

    def blamed(self) -> Rung | None:
        """Which rung answers for the silence of the node, all else being well."""
        found, knocked = self.look()
        facts = Facts(2, status=DeviceStatus.ACTIVE, is_secure=False, contact=HEARD, echo=found, coap=knocked)
        return verdict(climb(facts), facts).rung

    def firewall(self, rule: str) -> None:
        """Put one rule before the node's ports."""
        self.node.filter("wall", f"chain in {{ type filter hook input priority filter; {rule} }}")


@pytest.fixture(scope="module")
def street() -> Iterator[Street]:
    refused = namespaces_refused()
    if refused:
        pytest.skip(refused)
    with Namespace() as server, Namespace() as node:
        with node.entered():
            resident = subprocess.Popen(["sleep", "infinity"])  # whose network the other end goes to
        try:
            server.run(
                "ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", str(resident.pid)
            )
            for one, address in ((server, SERVER), (node, NODE)):
                one.run("ip", "-6", "address", "add", f"{address}/64", "dev", "cable", "nodad")
                one.run("ip", "link", "set", "cable", "up")
            street = Street(server, node)
            street.wait_plugged()
            yield street
        finally:
            resident.kill()
            resident.wait()


@pytest.fixture
def endpoint(street: Street) -> Iterator[None]:
    """What a CoAP endpoint does with a ping (RFC 7252 section 4.3)."""
    with street.node.entered():
        door = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        door.bind(("::", COAP_PORT))
    ended = threading.Event()

    def answer() -> None:
        while not ended.is_set():
            if select.select([door], [], [], 0.05)[0]:
                asked, whom = door.recvfrom(100)
                door.sendto(b"\x70" + asked[1:4], whom)

    thread = threading.Thread(target=answer, name="endpoint")
    thread.start()
    yield
    ended.set()
    thread.join()
    door.close()


@pytest.mark.usefixtures("endpoint")
def test_a_node_that_is_there_answers_both_probes(street: Street) -> None:
    assert street.look() == (Reach.ANSWERED, Reach.ANSWERED)
    assert street.blamed() is None


def test_a_node_without_a_coap_server_says_so_itself_and_is_not_blamed(street: Street) -> None:
    assert street.look() == (Reach.ANSWERED, Reach.REFUSED)
    assert street.blamed() is None


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize(
    ("rule", "reach"),
    [
        (f"udp dport {COAP_PORT} drop;", Reach.SILENT),
        (f"udp dport {COAP_PORT} reject with icmpv6 admin-prohibited;", Reach.PROHIBITED),
    ],
)
def test_a_firewall_before_its_coap_port_is_told_from_a_dead_node(street: Street, rule: str, reach: Reach) -> None:
    street.firewall(rule)
    try:
        assert street.look() == (Reach.ANSWERED, reach)
        assert street.blamed() is Rung.COAP
    finally:
        street.firewall("")


@pytest.mark.usefixtures("endpoint")
def test_a_filter_of_echo_alone_makes_no_dead_node(street: Street) -> None:
    street.firewall("icmpv6 type echo-request drop;")
    try:
        assert street.look() == (Reach.SILENT, Reach.ANSWERED)
        assert street.blamed() is None
    finally:
        street.firewall("")


@pytest.mark.usefixtures("endpoint")
def test_a_pulled_cable_is_a_node_to_drive_to(street: Street) -> None:
    street.node.run("ip", "link", "set", "cable", "down")
    try:
        assert not {Reach.ANSWERED, Reach.REFUSED} & set(street.look())
        assert street.blamed() is Rung.ECHO
    finally:
        street.node.run("ip", "link", "set", "cable", "up")
        street.node.run("ip", "-6", "address", "replace", f"{NODE}/64", "dev", "cable", "nodad")
        street.wait_plugged()
