"""A real `lichtmast up --secure` with people, lampposts of two municipalities and certified devices, in a namespace.

All of 2001:db8::/32 lives there, so that a test may come from any network: an attacker, his neighbour, the owner at
home. One is opened for a whole module: `with secure_town(scratch) as town`.
"""

import http.client
import json
import select
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx2 as httpx
import pyotp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from est_client import CSR_TYPE, ROOT, Answer, Node
from mqtt_bytes import connect, publish, subscribe
from OpenSSL import SSL
from running_agent import RunningAgent
from running_lichtmast import Running

from lichtmast.firmware_sim.network import Namespace, namespaces_refused
from lichtmast.ingest.coap.dtls.testing import DtlsClient, client_context
from lichtmast.registry import AssetRecord, Registry
from lichtmast.registry.auditing import LOCAL_COMMAND, Actor, ActorKind
from lichtmast.registry.identity import read_public_key
from lichtmast.registry.importing import import_source
from lichtmast.registry.people import Grant, PeopleBook, Role, Seal, Visit
from lichtmast.registry.pki import Authority, read_csr
from lichtmast.suite.folder import Folder
from lichtmast.suite.unlock import unlock_secret
from lichtmast.wire import DeviceId
from lichtmast.wire.label import Label, spki_pin

WORLD = "2001:db8::/32"
SERVER = "::1"
HOME = "2001:db8:1::7"
"""Where honest people and nodes come from."""
ATTACKER = "2001:db8:bad::1"
TENANT, OTHER_TENANT = "gm0402", "gm0363"
PASSWORD = "vier bomen bij de brug"  # noqa: S105 - of a test
PROFILE = "air-quality"
LAMPPOSTS = 60
WITHIN_S = 15.0
POLL_S, POLL_MAX_S = 0.02, 0.3
"""Mostly a server is asked, which has other work: ever more rarely."""
DAY_US = 86_400_000_000
WORKSHOP = Actor(ActorKind.USER, "workshop@example.nl", "2001:db8::7")


def now_us() -> int:
    return time.time_ns() // 1_000


def wait_until(condition: Callable[[], object], what: str, within_s: float = WITHIN_S) -> None:
    until_s, pause_s = time.monotonic() + within_s, POLL_S
    while not condition():
        if time.monotonic() > until_s:
            pytest.fail(f"not within {within_s} s: {what}")
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, POLL_MAX_S)


@dataclass
class Person:
    """Somebody with an account, an authenticator, and a browser once they have signed in."""

    login: str
    seed: str
    browser: httpx.Client | None = None

    def code(self) -> str:
        return str(pyotp.TOTP(self.seed).at(int(time.time()) + 30))  # the one before set the authenticator up


@dataclass(frozen=True, slots=True)
class Certified:
    """A node, and what it shows."""

    node: Node
    chain: Path
    key: Path
    der: bytes

    @property
    def device(self) -> DeviceId:
        return self.node.device

    @property
    def serial(self) -> str:
        return f"{x509.load_der_x509_certificate(self.der).serial_number:x}"


@dataclass
class SecureTown:
    """Use `secure_town`."""

    scratch: Path
    namespace: Namespace
    running: Running
    authority: Authority
    lampposts: dict[str, Sequence[AssetRecord]] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    _turns: dict[str, int] = field(default_factory=dict)
    _serial: int = 0

    # What an operator sees.

    @property
    def log(self) -> str:
        """What the program has written to its standard error; without spaces, because Rich breaks lines anywhere."""
        return "".join(self.running.output.read_text().split())

    def wait_logged(self, *words: str) -> None:
        wait_until(lambda: all("".join(one.split()) in self.log for one in words), f"{words} in the log")

    def refused(self, device: DeviceId, door: str, reason: str) -> int:
        """How often a device was refused so, as its managers see it."""
        told = self.manager().get(f"/v1/devices/{device.tenant}/{device.device}")
        assert told.status_code == 200, told.text
        seen = [one["count"] for one in told.json()["refusals"] if (one["door"], one["reason"]) == (door, reason)]
        return int(sum(seen))

    def wait_refused(self, device: DeviceId, door: str, reason: str, count: int = 1) -> None:
        wait_until(lambda: self.refused(device, door, reason) >= count, f"{device} refused at {door} as {reason}")

    def count(self, *names: str) -> int:
        """A counter of `lichtmast up`'s status, 0 where it has not begun to count."""
        told: Any = self.running.status()["doors"]
        for name in names:
            told = told.get(name, {})
        return told or 0

    def events(self, subject: str) -> list[dict[str, Any]]:
        """The log of changes about one subject."""
        with Registry.open(self.running.folder.registry) as registry:
            found = registry.audit_log.read(limit=10_000)
            return [
                {"action": one.action, "actor": one.actor, "source": one.source}
                for one in found
                if one.subject == subject
            ]

    def events_of(self, tenant: str) -> list[int]:
        """The numbers of a municipality's events."""
        with Registry.open(self.running.folder.registry) as registry:
            return [one.seq for one in registry.audit_log.read(0, 10_000, tenant)]

    # People.

    def person(self, login: str, *grants: Grant) -> Person:
        """Invite somebody and have them set everything up, as they did weeks ago."""
        seal = Seal.from_secret(unlock_secret(self.running.folder))
        visit = Visit(now_us(), HOME, "phone")
        with PeopleBook.open(self.running.folder.registry, seal) as book:
            account, link = book.invite(login, "Iemand", grants[0], by=LOCAL_COMMAND, at_us=visit.at_us)
            for one in grants[1:]:
                book.grant(account.id, one, by=LOCAL_COMMAND, at_us=visit.at_us)
            assert link is not None
            begun = book.follow(link, PASSWORD, visit)
            assert begun is not None
            bearer = book.bearer(begun.secret, visit.at_us)
            assert bearer is not None
            offer = book.credentials.offer_totp(bearer, visit)
            book.credentials.confirm_totp(bearer, offer.ticket, pyotp.TOTP(offer.seed).now(), visit)
        self.people[login] = Person(login, offer.seed)
        return self.people[login]

    def visitor(self, source: str = ATTACKER) -> httpx.Client:
        """A browser or program that has not signed in; what a test opens, it closes."""
        transport = httpx.HTTPTransport(verify=self.trust(), local_address=source)
        return httpx.Client(base_url=self.running.url, transport=transport, timeout=30, trust_env=False)

    def sign_in(self, person: Person, source: str = HOME, **instead: str) -> httpx.Response:
        """One attempt, whatever comes of it; a success stays in the person's browser."""
        browser = self.visitor(source)
        document = {"login": person.login, "password": PASSWORD, "code": person.code()} | instead
        answer = browser.post("/v1/session", json=document)
        if answer.is_success:
            browser.headers["Sec-Fetch-Site"] = "same-origin"  # as a page of ours sends it
            person.browser = browser
        else:
            browser.close()
        return answer

    def _browser(self, login: str, tenant: str) -> httpx.Client:
        """Of somebody who may do all in one municipality, and nothing in another."""
        if login not in self.people:
            self.person(login, *(Grant(tenant, role) for role in (Role.MANAGER, Role.AUDITOR, Role.ADMIN)))
        person = self.people[login]
        if person.browser is None:
            answer = self.sign_in(person)
            assert answer.status_code == 201, answer.text
        assert person.browser is not None
        return person.browser

    def manager(self) -> httpx.Client:
        return self._browser("manager@hilversum.example", TENANT)

    def other_manager(self) -> httpx.Client:
        return self._browser("manager@amsterdam.example", OTHER_TENANT)

    # Devices.

    def trust(self) -> ssl.SSLContext:
        """Whoever knows our root."""
        return ssl.create_default_context(cadata=self.authority.root_pem.decode())

    @property
    def root(self) -> Path:
        path = self.scratch / "root.pem"
        path.write_bytes(self.authority.root_pem)
        return path

    def lamppost(self, tenant: str = TENANT) -> AssetRecord:
        """One that nothing hangs on yet."""
        self._turns[tenant] = turn = self._turns.get(tenant, -1) + 1
        return self.lampposts[tenant][turn]

    def node(self, name: str, *, tenant: str = TENANT, staged: bool = True) -> Node:
        """A node with its key, out of the workshop."""
        node = Node(DeviceId(tenant, name))
        if staged:
            with Registry.open(self.running.folder.registry) as registry:
                registry.identity.stage(self.label(node), PROFILE, by=WORKSHOP, at_us=now_us())
        return node

    def label(self, node: Node) -> Label:
        return node.label(self.authority.root_pin)

    def claim(self, node: Node, place: AssetRecord | None = None) -> httpx.Response:
        """The engineer's scan."""
        place = place or self.lamppost(node.device.tenant)
        return self.manager().post("/v1/claims", json={"label": self.label(node).text, "assetId": place.id})

    def claimed(self, name: str) -> tuple[Node, int]:
        """A node whose claim is open, and the claim's number."""
        node = self.node(name)
        answer = self.claim(node)
        assert answer.status_code == 201, answer.text
        return node, int(answer.json()["id"])

    def est(
        self,
        operation: str,
        csr: bytes | None = None,
        *,
        source: str = HOME,
        shown: Certified | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One exchange with the EST server; `csr` is DER."""
        context = self.trust()
        if shown is not None:
            context.load_cert_chain(shown.chain, shown.key)
        connection = http.client.HTTPSConnection(
            SERVER, self.running.est_port, context=context, timeout=20, source_address=(source, 0)
        )
        try:
            sent = None if csr is None else b64encode(csr)
            told = headers or ({} if csr is None else {"Content-Type": CSR_TYPE})
            connection.request("GET" if csr is None else "POST", f"{ROOT}/{operation}", sent, dict(told))
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def certified(self, name: str, *, tenant: str = TENANT, age_days: float = 0, known: bool = True) -> Certified:
        """A device in service; `age_days` is how long ago it enrolled, or is negative, or its last is over."""
        node = Node(DeviceId(tenant, name))
        at_us = now_us() - int(age_days * DAY_US)
        with Registry.open(self.running.folder.registry) as registry:
            identity = registry.identity
            identity.stage(self.label(node), PROFILE, by=WORKSHOP, at_us=at_us)
            identity.open_claim(self.label(node), asset_id=self.lamppost(tenant).id, by=WORKSHOP, at_us=at_us)
            der = identity.enrol(read_csr(node.csr()), self.authority, at_us=at_us).certificate_der
            revision = registry.revision()
        if known:
            self.wait_revision(revision)
        return self.kept(node, der)

    def kept(self, node: Node, der: bytes) -> Certified:
        """A node's files."""
        self._serial += 1
        chain = self.scratch / f"{node.device.device}-{self._serial}.pem"
        chain.write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))
        key = chain.with_suffix(".key")
        key.write_bytes(node.key_pem)
        return Certified(node, chain, key, der)

    def wait_revision(self, revision: int) -> None:
        """Wait until all of the running program has seen this state of the register."""
        status = self.running.status
        wait_until(lambda: status()["roster_revision"] >= revision, "the pipeline follows the register")
        wait_until(lambda: status()["doors"]["revision"] >= revision, "the doors follow the register")

    def mqtt(
        self,
        shown: Certified | None,
        hello: bytes | None = None,
        *,
        source: str = HOME,
        context: ssl.SSLContext | None = None,
    ) -> "MqttSession":
        """A connection that has said CONNECT; raises OSError where TLS refuses it at once."""
        if context is None:
            context = self.trust()
            if shown is not None:
                context.load_cert_chain(shown.chain, shown.key)
        raw = socket.create_connection((SERVER, self.running.mqtt_port), 20, source_address=(source, 0))
        with ExitStack() as stack:
            stack.callback(raw.close)
            secured = context.wrap_socket(raw, server_hostname=SERVER)
            stack.callback(secured.close)
            secured.sendall(hello or connect(shown.device.urn if shown else "urn:dev:lm:gm0402:nobody"))
            stack.pop_all()
        return MqttSession(secured)

    def coap(self, shown: Certified | None, *, source: str = HOME, trust: Path | None = None) -> "CoapSession":
        """A client of the CoAP door that has not begun yet."""
        files = (None, None) if shown is None else (shown.chain, shown.key)
        return CoapSession(client_context(trust or self.root, *files), source, (SERVER, self.running.coap_port))

    def agent(self, name: str, transport: str = "mqtt") -> RunningAgent:
        """A factory-fresh agent: its key, its label, staged; claimed by nobody."""
        agent = RunningAgent(
            self.scratch / f"agent-{name}",
            (SERVER, self.running.mqtt_port) if transport == "mqtt" else None,
            (SERVER, self.running.coap_port) if transport == "coap" else None,
            device=DeviceId(TENANT, name),
            enrol=(SERVER, self.running.est_port or 0),
        )
        agent.write_settings()
        assert agent.command("identity", "new").returncode == 0
        shown = agent.command("identity", "label-key")
        assert shown.returncode == 0, shown.stderr
        pin = spki_pin(read_public_key(shown.stdout.encode()))
        label = Label(agent.device, pin, self.authority.root_pin)
        with Registry.open(self.running.folder.registry) as registry:
            registry.identity.stage(label, agent.profile, by=WORKSHOP, at_us=now_us())
        agent.label = label.text
        return agent


@dataclass
class MqttSession:
    """Bytes to and from the broker."""

    socket: ssl.SSLSocket

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.socket.close()

    def read(self, count: int) -> bytes:
        """So many bytes, or what came before the end."""
        got = b""
        while len(got) < count and (more := self.socket.recv(count - len(got))):
            got += more
        return got

    def publish(self, topic: str, payload: bytes) -> None:
        """At QoS 1; the broker has decided when this returns."""
        self.socket.sendall(publish(topic, payload))
        assert self.read(4)[:1] == b"\x40"

    def subscribe(self, topic: str) -> int:
        """What the SUBACK says."""
        self.socket.sendall(subscribe(topic, 1))
        return self.read(5)[4]

    def is_closed(self) -> bool:
        """Wait for the end."""
        with suppress(ConnectionError, ssl.SSLError):
            while self.socket.recv(1_000):
                pass
        return True


class CoapSession:
    """A DTLS client on a UDP socket of any address."""

    def __init__(self, context: SSL.Context, source: str, server: tuple[str, int]) -> None:
        self.client = DtlsClient(context)
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.socket.bind((source, 0))
        self.socket.connect(server)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.socket.close()

    def hear(self, within_s: float = 5.0) -> bool:
        """Take one datagram and answer it; False where none came."""
        if not select.select([self.socket], [], [], within_s)[0]:
            return False
        self._send(self.client.receive(self.socket.recv(65_535)))
        return True

    def shake_hands(self) -> bool:
        """Whether the server took us; it says so in its last flight, or by an alert."""
        self._send(self.client.start())
        until_s = time.monotonic() + WITHIN_S
        while not (self.client.is_open or self.client.failure):
            if not self.hear(1.5):
                self._send(self.client.repeat())
            assert time.monotonic() < until_s, "the DTLS handshake came to no end"
        return self.client.is_open

    def ask(self, message: bytes) -> bytes:
        """Send a message, and wait for the next. Raises ConnectionError where the session ends instead."""
        self.socket.send(self.client.seal(message))
        while not self.client.messages:
            if self.client.is_closed or self.client.failure or not self.hear():
                raise ConnectionError(self.client.failure or "no answer")
        return self.client.messages.pop(0)

    def _send(self, datagrams: Sequence[bytes]) -> None:
        for one in datagrams:
            self.socket.send(one)


def _lampposts(scratch: Path, tenant: str, west: float) -> Path:
    lines = [f"P{number:04d},Kerkstraat {number + 1},{west + 0.0007 * number:.6f},52.22" for number in range(LAMPPOSTS)]
    path = scratch / f"{tenant}.csv"
    path.write_text("\n".join(["id,naam,lon,lat", *lines]), "utf-8")
    return path


@contextmanager
def secure_town(scratch: Path) -> Iterator[SecureTown]:
    """A town for as long as the block lasts; the calling thread is in its namespace."""
    refused = namespaces_refused()
    if refused:
        pytest.skip(refused)
    folder = Folder(scratch / "data")
    folder.path.mkdir(parents=True)
    with Namespace() as namespace:
        namespace.own(WORLD)
        with namespace.entered():
            # Older than it is, so that a device of last winter can have a certificate of it.
            authority = Authority.create(
                folder.authority, unlock_secret(folder), organisation="Lichtmast", now_us=now_us() - 400 * DAY_US
            )
            running = Running.secure(folder, scratch / "lichtmast.log")
            town = SecureTown(scratch, namespace, running, authority)
            with Registry.open(folder.registry) as registry:
                for tenant, west in ((TENANT, 5.17), (OTHER_TENANT, 4.9)):
                    registry.ensure_tenant(tenant, tenant)
                    registry.import_assets(
                        tenant, import_source("csv", _lampposts(scratch, tenant, west)), dry_run=False
                    )
                    town.lampposts[tenant] = registry.things(tenant)
            running.start()
            try:
                yield town
            finally:
                for person in town.people.values():
                    if person.browser is not None:
                        person.browser.close()
                if running.process is not None and running.process.poll() is None:
                    assert running.stop() == 0, running.output.read_text()[-3_000:]


def pack(device: DeviceId, seq: int) -> bytes:
    """A sound pack of now, of the profile that all devices here have."""
    first = {"bn": device.urn, "bt": round(time.time(), 3), "lm-epoch": 7, "lm-seq": seq}
    return json.dumps([first | {"n": "/air/0/pm10", "u": "kg/m3", "v": 1e-8}], separators=(",", ":")).encode()
