"""Fixtures for teams who test their own device against a real Lichtmast; see docs/how-to/test-your-device.md.

`broker` is a Lichtmast of the test's own, `device` a registered device and what the server has of it, `network` a bad
network in front of the broker, `town` neighbours that deliver beside it, `audit` the books, balanced at the end.

Imports nothing of ours until a fixture is used: a run that uses none pays nothing.
"""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from lichtmast.firmware_sim.network import RelayNetwork
    from lichtmast.firmware_sim.under_test import DeviceUnderTest, Server

MARKER: Final = "lichtmast"
KEYWORDS: Final = ("profile", "tenant", "neighbours")
TENANT: Final = "gm0000"
"""The municipality that the devices of tests belong to, where the marker names none."""
PROFILE: Final = "noise"
TOWN_DEVICES: Final = 20
TOWN_INTERVAL_S: Final = 1.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of a run."""
    group = parser.getgroup("lichtmast", "testing a device against Lichtmast")
    group.addoption(
        "--lichtmast-server",
        metavar="DIR",
        type=Path,
        help="data folder of a Lichtmast that runs on this machine already; default: each test starts its own",
    )
    group.addoption(
        "--lichtmast-ports",
        metavar="HTTP,MQTT,COAP",
        default="8080,1883,5683",
        help="where that one listens on ::1 (default: %(default)s, as lichtmast up)",
    )
    group.addoption(
        "--lichtmast-seed", metavar="N", type=int, default=1, help="seed of the bad network's chances (default: 1)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(profile={PROFILE!r}, tenant={TENANT!r}, neighbours={TOWN_DEVICES}): what the fixtures set up",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse words of the marker that mean nothing. Raises pytest.UsageError."""
    for item in items:
        for marker in item.iter_markers(MARKER):
            wrong = [*map(repr, marker.args), *(one for one in marker.kwargs if one not in KEYWORDS)]
            if wrong:
                raise pytest.UsageError(
                    f"{item.nodeid}: the marker {MARKER} does not know {', '.join(wrong)}; "
                    f"its keywords are {', '.join(KEYWORDS)}"
                )


def _setting(request: pytest.FixtureRequest, name: str, default: Any) -> Any:  # noqa: ANN401 - a word of the marker
    marker = request.node.get_closest_marker(MARKER)
    return default if marker is None else marker.kwargs.get(name, default)


@pytest.fixture
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator["Server"]:
    """A real Lichtmast: broker, CoAP door, store and pages, on free ports of ::1, with an empty data folder.

    `broker.mqtt` and `broker.coap` are (host, port); `kill()` and `start()` are a power cut and its end.
    """
    from lichtmast.firmware_sim.under_test import Ports, Server, UnderTestError  # noqa: PLC0415 - see the module

    running: Path | None = request.config.getoption("--lichtmast-server")
    town = "town" in request.fixturenames
    if running is not None:
        if town:
            raise pytest.UsageError("town lives in the Lichtmast that a test starts; leave --lichtmast-server out")
        try:
            http, mqtt, coap = map(int, request.config.getoption("--lichtmast-ports").split(","))
        except ValueError as error:
            raise pytest.UsageError("--lichtmast-ports needs three numbers, such as 8080,1883,5683") from error
        server = Server(running, Ports(http, mqtt, coap))
        if not server.answers():
            raise UnderTestError(f"no Lichtmast answers at {server.url}; start lichtmast up, or mend --lichtmast-ports")
        yield server
        return
    neighbours = _setting(request, "neighbours", TOWN_DEVICES)
    words = ("--town", f"--devices={neighbours}", f"--interval-s={TOWN_INTERVAL_S}") if town else ()
    server = Server(tmp_path / "lichtmast", Ports.free(), words=words)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def device(request: pytest.FixtureRequest, broker: "Server") -> Iterator["DeviceUnderTest"]:
    """A newly registered device; `@pytest.mark.lichtmast(profile=..., tenant=...)` chooses which.

    `urn`, `up_topic` and `ack_topic` are what its firmware needs; `wait_stored(n)`, `received()`, `readings()` and
    `acknowledgements()` are what the server made of it.
    """
    from lichtmast.firmware_sim.under_test import AckListener, DeviceUnderTest  # noqa: PLC0415
    from lichtmast.wire.identity import DeviceId  # noqa: PLC0415

    profile = _setting(request, "profile", PROFILE)
    name = DeviceId(_setting(request, "tenant", TENANT), f"{profile}-{secrets.token_hex(4)}"[-40:].strip("-"))
    datastreams = broker.add_device(name, profile)
    with AckListener(name, broker.mqtt) as listener:
        yield DeviceUnderTest(name, profile, broker, datastreams, listener)


class BadNetwork:
    """A relay on ::1 in front of the broker. Dial `mqtt` and `coap` of this instead of the broker's own."""

    def __init__(self, relay: "RelayNetwork", server: "Server") -> None:
        self.relay = relay
        self.mqtt = relay.endpoint("tcp", server.ports.mqtt)
        self.coap = relay.endpoint("udp", server.ports.coap)

    def impair(self, **knobs: object) -> None:
        """From now on this, both ways: the knobs of `Impairment`, such as delay_s=0.2 or blackhole=True."""
        from lichtmast.firmware_sim.network import Impairment  # noqa: PLC0415

        self.relay.impair(Impairment.from_table(knobs))

    def heal(self) -> None:
        """From now on everything passes."""
        self.relay.heal()

    @property
    def counts(self) -> Any:  # noqa: ANN401 - NetworkCounts, not imported here
        """What was really done to packets, so that a test can tell that its fault bit."""
        return self.relay.counts


@pytest.fixture
def network(request: pytest.FixtureRequest, broker: "Server") -> Iterator[BadNetwork]:
    """The way between the device and the broker, good until `impair` is called."""
    from lichtmast.firmware_sim.network import RelayNetwork, Schedule  # noqa: PLC0415

    with RelayNetwork(Schedule(seed=request.config.getoption("--lichtmast-seed"))) as relay:
        yield BadNetwork(relay, broker)


class Neighbours:
    """The simulated devices that live beside the one under test."""

    def __init__(self, server: "Server", tested: str) -> None:
        self._server = server
        self._tested = tested

    @property
    def stored(self) -> int:
        """How many packs of theirs are stored."""
        return sum(one["stored"] for one in self._server.audit()["accounts"] if one["device"] != self._tested)


@pytest.fixture
def town(request: pytest.FixtureRequest, broker: "Server") -> Neighbours:
    """Simulated neighbours on lampposts that deliver over MQTT and CoAP while the test runs."""
    tested = request.getfixturevalue("device").id if "device" in request.fixturenames else ""
    return Neighbours(broker, str(tested))


@pytest.fixture
def audit(broker: "Server") -> Iterator["Server"]:
    """The server's books: at the end of the test sent = stored + quarantined + duplicate + dropped, or the test fails.

    What does not balance is named, down to each missing number. `audit.audit()` is the account at any moment.
    """
    yield broker
    account = broker.audit()
    if not account["balanced"]:
        missing = [
            f"  {one['device']} epoch {one['epoch']}: {one['first']}..{one['last']}" for one in account["missing_packs"]
        ]
        pytest.fail("\n".join(["the books do not balance:", *account["faults"], *missing]), pytrace=False)
