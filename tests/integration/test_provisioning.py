"""From a factory-fresh node with only its label to its first reading in the store, as it happens on the street.

Two namespaces without IPv4: the city's server in one, the node and the engineer's phone in the other. The workshop's
part (key, label, staging) and the engineer's account are there before; the clock runs from the scan.
"""

import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import pyotp
import pytest
from running_agent import RunningAgent
from running_lichtmast import Running

from lichtmast.firmware_sim.network import TunNetwork, impaired, namespaces_refused
from lichtmast.registry import Registry
from lichtmast.registry.auditing import LOCAL_COMMAND
from lichtmast.registry.people import Grant, PeopleBook, Role, Seal, Visit
from lichtmast.registry.pki import Authority
from lichtmast.suite import virtual_town
from lichtmast.suite.folder import Folder
from lichtmast.suite.unlock import unlock_secret
from lichtmast.wire import DeviceId

pytestmark = pytest.mark.slow
SCAN_TO_READING_S = 10.0
PASSWORD = "vier bomen bij de brug"  # noqa: S105 - of a test
LOGIN = "jansen@example.nl"
TENANT = "gm0402"
NODE = DeviceId(TENANT, "lamp-0001")


@dataclass
class Engineer:
    """Somebody with a phone: an account with an authenticator, and how many calls the phone made."""

    phone: httpx.Client
    seed: str
    calls: int = 0

    def call(self, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, object]:
        self.calls += 1
        answer = self.phone.request(method, path, json=body)
        assert answer.is_success, answer.text
        told: dict[str, object] = answer.json()
        return told

    def sign_in(self) -> None:
        code = pyotp.TOTP(self.seed).at(int(time.time()) + 30)  # the last one was used to set the authenticator up
        self.call("POST", "/v1/session", {"login": LOGIN, "password": PASSWORD, "code": code})


@pytest.fixture
def network() -> Iterator[TunNetwork]:
    refused = namespaces_refused()
    if refused:
        pytest.skip(refused)
    with impaired(carrier="tun") as made:
        yield made


@pytest.fixture
def city(network: TunNetwork, tmp_path: Path) -> Iterator[Running]:
    (tmp_path / "data").mkdir()
    running = Running.secure(Folder(tmp_path / "data"), tmp_path / "lichtmast.log", name=network.core_address)
    with Registry.open(running.folder.registry) as registry:
        virtual_town.furnish(registry, running.folder.path)
    with network.core.entered():
        running.start()
        yield running
        assert running.stop() == 0, running.output.read_text()[-3_000:]


def an_engineer(city: Running) -> str:
    """Invite somebody and have them set everything up, as they did weeks ago; the seed of their authenticator."""
    seal = Seal.from_secret(unlock_secret(city.folder))
    visit = Visit(time.time_ns() // 1_000, "2001:db8::7", "phone")
    with PeopleBook.open(city.folder.registry, seal) as people:
        grant = Grant(TENANT, Role.ENGINEER)
        _, link = people.invite(LOGIN, "J. Jansen", grant, by=LOCAL_COMMAND, at_us=visit.at_us)
        assert link is not None
        begun = people.follow(link, PASSWORD, visit)
        assert begun is not None
        bearer = people.bearer(begun.secret, visit.at_us)
        assert bearer is not None
        offer = people.credentials.offer_totp(bearer, visit)
        people.credentials.confirm_totp(bearer, offer.ticket, pyotp.TOTP(offer.seed).now(), visit)
        return offer.seed


def command(city: Running, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "lichtmast.suite", *words, "--data", str(city.folder.path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def a_labelled_node(city: Running, network: TunNetwork, scratch: Path, transport: str) -> RunningAgent:
    """What comes out of the workshop: a node that made its key, and its label."""
    where = network.core_address
    node = RunningAgent(
        scratch / "node",
        (where, city.mqtt_port) if transport == "mqtt" else None,
        (where, city.coap_port) if transport == "coap" else None,
        device=NODE,
        enrol=(where, city.est_port or 0),
    )
    node.folder.mkdir()
    key = scratch / "node.pub.pem"
    node.write_settings()
    assert node.command("identity", "new").returncode == 0
    shown = node.command("identity", "label-key")
    assert shown.returncode == 0, shown.stderr
    key.write_text(shown.stdout)
    text = scratch / "label.txt"
    command(city, "device", "label", str(NODE), "--profile", node.profile, "--key", str(key), "--text", str(text))
    node.label = text.read_text().strip()
    node.write_settings()
    return node


@pytest.mark.parametrize("transport", ["mqtt", "coap"])
def test_a_scan_and_three_calls_bring_the_first_reading_into_the_store(
    network: TunNetwork,
    city: Running,
    tmp_path: Path,
    transport: str,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    seed = an_engineer(city)
    node = a_labelled_node(city, network, tmp_path, transport)
    request.addfinalizer(node.end)
    authority = Authority.open(city.folder.authority, unlock_secret(city.folder))
    trust = ssl.create_default_context(cadata=authority.root_pem.decode())
    with Registry.open(city.folder.registry) as registry:
        lamppost = next(one for one in registry.things(limit=500) if one.active)
    browser = httpx.Client(
        base_url=city.url, verify=trust, timeout=30, trust_env=False, headers={"Sec-Fetch-Site": "same-origin"}
    )
    with network.edge.entered(), browser as phone:
        engineer = Engineer(phone, seed)
        node.start()  # it hangs on the pole, has power, and asks for its certificate
        until_s = time.monotonic() + 30
        while "identity_waits" not in node.log.read_text():
            assert time.monotonic() < until_s, node.log.read_text()[-3_000:]
            time.sleep(0.05)
        scanned_s = time.monotonic()
        engineer.sign_in()
        claim = engineer.call("POST", "/v1/claims", {"label": node.label, "assetId": lamppost.id})
        done = engineer.call("GET", f"/v1/claims/{claim['id']}?wait=30")
        took_s = time.monotonic() - scanned_s
        assert done["firstReadingAt"] is not None, (done, node.log.read_text()[-3_000:])
        assert engineer.calls == 3
        told = phone.get(f"/v1.1/Things({lamppost.id})/Datastreams?$expand=Observations($top=1)").json()
        assert node.stop() == 0
    readings = [one for stream in told["value"] for one in stream["Observations"]]
    assert readings, told
    record_property("scan_to_reading_s", round(took_s, 2))
    assert took_s <= SCAN_TO_READING_S
