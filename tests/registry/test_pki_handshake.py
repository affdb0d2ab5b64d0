"""Real handshakes on ::1: Python's OpenSSL in strict mode, cryptography's OpenSSL, and Go's TLS inside nats-server."""

import asyncio
import contextlib
import ipaddress
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from authority_parts import (
    DEVICE,
    SECRET,
    Leaf,
    active,
    key_pem,
    key_usage,
    name,
    new_authority,
    now_us,
    p256,
    pem,
    rsa_key,
    spki,
    stolen,
)
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from free_ports import free_port
from OpenSSL import SSL, crypto

from lichtmast.ingest.broker import find_server
from lichtmast.registry.pki import Authority, new_serial
from lichtmast.registry.pki.certifying import Issuer, new_root

DEADLINE_S = 10


class Town:
    """An authority, what its server shows, and what it trusts devices by, as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = new_authority(folder / "authority")
        self.chain, self.key, self.trust = (folder / f"{name}.pem" for name in ("chain", "key", "trust"))
        made = self.authority.issue_server(["::1"], now_us=now_us())
        self.chain.write_bytes(made.chain_pem)
        self.key.write_bytes(made.key_pem)
        self.trust.write_bytes(self.authority.device_trust_pem)
        self.root = active(folder / "authority", "root")

    def device(self, certificate: bytes, key: bytes | None = None) -> ssl.SSLContext:
        """A device's side, which trusts the pinned root."""
        context = ssl.create_default_context(cafile=str(self.root))
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        shown = self.folder / "shown.pem"
        shown.write_bytes(certificate + (key or key_pem(p256())))
        context.load_cert_chain(shown)
        return context

    def issued(self) -> bytes:
        der = self.authority.issue_device(DEVICE, spki(p256()), serial=new_serial(), now_us=now_us())
        return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        context.load_verify_locations(self.trust)
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        return context


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path)


@contextlib.asynccontextmanager
async def listening(context: ssl.SSLContext) -> AsyncIterator[int]:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"in\n")
        with contextlib.suppress(OSError):
            await writer.drain()
        await closed(writer)

    server = await asyncio.start_server(greet, "::1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def greeting(port: int, context: ssl.SSLContext) -> bytes:
    """What the server says to a client that it takes: in TLS 1.3 a refusal comes after the client's own end."""
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection("::1", port, ssl=context)
        try:
            return await reader.readline()
        except (ssl.SSLError, ConnectionError):
            return b""
        finally:
            await closed(writer)


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        await writer.wait_closed()


def handshake(town: Town, client: ssl.SSLContext) -> bytes:
    async def meet() -> bytes:
        async with listening(town.server()) as port:
            return await greeting(port, client)

    return asyncio.run(meet())


def verdict(town: Town, client: ssl.SSLContext) -> str:
    """The same in memory, where the server's own reason can be heard."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname="::1"),
        town.server().wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(10):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError as error:
                return error.verify_message if end is ends[1] else f"the device refuses: {error}"
    return "ok"


def self_signed_namesake(town: Town) -> bytes:
    """Signed by a key that calls itself by our device authority's name."""
    return pem(Leaf().signed(replace(stolen(town.authority, "devices"), key=new_root("x", now_us()).key)))


NO_ISSUER = "unable to get local issuer certificate"
BAD: dict[str, tuple[Callable[[Town], tuple[bytes, bytes | None]], str]] = {
    "expired": (lambda town: (pem(leaf(ends_in=timedelta(seconds=-1), town=town)), None), "has expired"),
    "not yet valid": (lambda town: (pem(leaf(begins_in=timedelta(hours=1), town=town)), None), "not yet valid"),
    "serverAuth only": (
        lambda town: (pem(leaf(extended=(ExtendedKeyUsageOID.SERVER_AUTH,), town=town)), None),
        "unsuitable certificate purpose",
    ),
    "of an unknown authority": (lambda town: (foreign(town), None), NO_ISSUER),
    "of a namesake of our authority": (lambda town: (self_signed_namesake(town), None), "signature failure"),
    "of our server authority": (
        lambda town: (pem(Leaf().signed(stolen(town.authority, "servers"))), None),
        NO_ISSUER,
    ),
    "of our server authority, with its chain": (
        lambda town: (
            pem(Leaf().signed(stolen(town.authority, "servers")))
            + active(town.folder / "authority", "servers").read_bytes()
            + town.root.read_bytes(),
            None,
        ),
        "self-signed certificate in certificate chain",
    ),
    "of an authority below the device authority": (lambda town: (below(town), None), "path length constraint exceeded"),
    "at the end of a chain of 100": (lambda town: (deep(town), None), "path length constraint exceeded"),
    "our server's own": (lambda town: (town.chain.read_bytes(), town.key.read_bytes()), NO_ISSUER),
}


def leaf(*, town: Town, **wrong: object) -> x509.Certificate:
    return replace(Leaf(), **wrong).signed(stolen(town.authority, "devices"))  # type: ignore[arg-type] # a table


@cache
def other_authority() -> Authority:
    with TemporaryDirectory() as folder:
        return Authority.create(Path(folder) / "authority", SECRET, organisation="Foreign", now_us=now_us())


def foreign(_: Town) -> bytes:
    other = other_authority()
    der = other.issue_device(DEVICE, spki(p256()), serial=new_serial(), now_us=now_us())
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) + other.device_trust_pem


def below(town: Town) -> bytes:
    """A device that made itself an authority: CA:TRUE where the path may go no further."""
    return chain_of(town, 1)


def deep(town: Town) -> bytes:
    return chain_of(town, 100)


def chain_of(town: Town, authorities: int) -> bytes:
    issuer, above = stolen(town.authority, "devices"), b""
    for number in range(authorities):
        made = Leaf(
            subject=name(f"lm-{number:04}x"),
            basic=x509.BasicConstraints(ca=True, path_length=None),
            usage=key_usage(authority=True),
        )
        issuer = Issuer(made.signed(issuer), p256())
        above = pem(issuer.certificate) + above
    return pem(Leaf().signed(issuer)) + above


def test_a_device_and_the_server_take_each_other_in_pythons_strict_mode(town: Town) -> None:
    assert handshake(town, town.device(town.issued())) == b"in\n"


def test_a_device_without_a_certificate_is_refused(town: Town) -> None:
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        verdict(town, ssl.create_default_context(cafile=str(town.root)))


@pytest.mark.parametrize("wrong", BAD)
def test_a_certificate_that_is_no_devices_is_refused_by_pythons_openssl(town: Town, wrong: str) -> None:
    make, reason = BAD[wrong]
    client = town.device(*make(town))
    assert reason in verdict(town, client)
    assert handshake(town, client) == b""


def test_a_device_refuses_every_server_but_ours(town: Town) -> None:
    client = town.device(town.issued())
    for certificate, key in (
        (foreign_server(), None),
        (town.issued(), key_pem(p256())),  # another device that plays the server
        (pem(playing_server().signed(stolen(town.authority, "devices"))), None),
    ):
        town.chain.write_bytes(certificate + town.authority.device_trust_pem)
        if key is None:
            town.key.write_bytes(key_pem(p256()))
        else:
            town.key.write_bytes(key)
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(town, client)
    other_host = town.authority.issue_server(["2001:db8::1"], now_us=now_us())
    town.chain.write_bytes(other_host.chain_pem)
    town.key.write_bytes(other_host.key_pem)
    with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
        handshake(town, client)


def foreign_server() -> bytes:
    issuer = stolen(other_authority(), "servers")
    return pem(playing_server().signed(issuer)) + pem(issuer.certificate)


def playing_server() -> Leaf:
    """What the real server's certificate says; only its issuer is wrong."""
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("::1"))])
    return Leaf(names=names, extended=(ExtendedKeyUsageOID.SERVER_AUTH,))


def test_what_plays_the_server_would_pass_if_the_right_authority_had_signed_it(town: Town) -> None:
    issuer = stolen(town.authority, "servers")
    town.chain.write_bytes(pem(playing_server().signed(issuer)) + pem(issuer.certificate))
    town.key.write_bytes(key_pem(p256()))
    assert handshake(town, town.device(town.issued())) == b"in\n"


def test_after_a_new_root_a_device_with_the_old_one_takes_the_server_and_is_taken(town: Town) -> None:
    client = town.device(town.issued())
    town.authority.roll_root(now_us=now_us())
    made = town.authority.issue_server(["::1"], now_us=now_us())
    town.chain.write_bytes(made.chain_pem)
    town.key.write_bytes(made.key_pem)
    town.trust.write_bytes(town.authority.device_trust_pem)
    assert handshake(town, client) == b"in\n"
    town.root.write_bytes(town.authority.root_pem)
    assert handshake(town, town.device(town.issued())) == b"in\n"


def dtls_verdict(town: Town, shown: bytes) -> str:
    """What cryptography's own OpenSSL says, which DTLS by pyOpenSSL runs on."""
    server, client = SSL.Context(SSL.DTLS_METHOD), SSL.Context(SSL.DTLS_METHOD)
    server.use_certificate_chain_file(str(town.chain))
    server.use_privatekey_file(str(town.key))
    server.get_cert_store().set_flags(  # type: ignore[union-attr] # a context has one
        crypto.X509StoreFlags.PARTIAL_CHAIN | crypto.X509StoreFlags.X509_STRICT
    )
    server.load_verify_locations(str(town.trust))
    server.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    leaf, *chain = x509.load_pem_x509_certificates(shown)
    client.use_certificate(leaf)
    for one in chain:
        client.add_extra_chain_cert(one)
    client.use_privatekey(p256())
    client.load_verify_locations(str(town.root))
    client.set_verify(SSL.VERIFY_PEER)
    ends = [SSL.Connection(server), SSL.Connection(client)]
    ends[0].set_accept_state()
    ends[1].set_connect_state()
    finished: set[int] = set()
    for _ in range(20):
        for number, end in enumerate(ends):
            try:
                end.do_handshake()
                finished.add(number)
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                return str(error)
            with contextlib.suppress(SSL.WantReadError):
                while True:
                    ends[1 - number].bio_write(end.bio_read(65536))
        if len(finished) == len(ends):
            return "ok"
    return "no end"


def test_dtls_by_cryptographys_openssl_takes_a_device(town: Town) -> None:
    assert dtls_verdict(town, town.issued()) == "ok"


NOT_BY_DATAGRAM = {"our server's own", "at the end of a chain of 100"}  # another key; more than a flight holds


@pytest.mark.parametrize("wrong", sorted(BAD.keys() - NOT_BY_DATAGRAM))
def test_dtls_by_cryptographys_openssl_refuses_what_is_no_devices(town: Town, wrong: str) -> None:
    assert "certificate" in dtls_verdict(town, BAD[wrong][0](town)[0])


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Town, int]]:
    """A nats-server whose MQTT port asks for a device's certificate."""
    town, port = Town(tmp_path_factory.mktemp("broker")), free_port()
    settings = town.folder / "nats.conf"
    settings.write_text(
        f'server_name: t\nlisten: "[::1]:-1"\njetstream {{ store_dir: "{town.folder}/js" }}\n'
        f'mqtt {{ host: "::1", port: {port}, tls {{ cert_file: "{town.chain}", key_file: "{town.key}", '
        f'ca_file: "{town.trust}", verify: true }} }}\n'
    )
    process = subprocess.Popen([find_server(), "-c", settings], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        if not any("Server is ready" in line for line in process.stderr):
            pytest.fail("nats-server did not start")
        yield town, port
    finally:
        process.terminate()
        process.wait(DEADLINE_S)
        process.stderr.close()


MQTT_CONNECT = bytes.fromhex("100d00044d5154540402003c000161")


def connack(broker: tuple[Town, int], context: ssl.SSLContext) -> bytes:
    async def connect() -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_connection("::1", broker[1], ssl=context)
            try:
                writer.write(MQTT_CONNECT)
                return await reader.readexactly(4)
            finally:
                await closed(writer)

    return asyncio.run(connect())


@pytest.mark.slow
def test_nats_server_takes_a_device(broker: tuple[Town, int]) -> None:
    town, _ = broker
    assert connack(broker, town.device(town.issued())) == bytes.fromhex("20020000")


@pytest.mark.slow
@pytest.mark.parametrize("wrong", BAD)
def test_nats_server_refuses_what_is_no_devices(broker: tuple[Town, int], wrong: str) -> None:
    town, _ = broker
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        connack(broker, town.device(*BAD[wrong][0](town)))


def test_an_rsa_key_in_a_well_signed_certificate_passes_tls_and_is_left_to_the_strict_reader(town: Town) -> None:
    key = rsa_key(2048)
    shown = pem(Leaf(key=key).signed(stolen(town.authority, "devices")))
    assert handshake(town, town.device(shown, key_pem(key))) == b"in\n"
