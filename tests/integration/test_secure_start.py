"""An encrypted Lichtmast as its operator starts it: which ports there are, and that none of them speaks plaintext."""

import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator

import psutil
import pytest
from running_lichtmast import Running

from lichtmast.registry.pki import Authority
from lichtmast.suite.folder import Folder
from lichtmast.suite.unlock import unlock_secret

pytestmark = pytest.mark.slow
QUIET_S = 2.0
CONTACT = "mailto:security@gemeente.example"


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    scratch = tmp_path_factory.mktemp("secure")
    (scratch / "data").mkdir()
    running = Running.secure(Folder(scratch / "data"), scratch / "lichtmast.log")
    running.options = [f"--security-contact={CONTACT}"]
    running.start()
    yield running
    assert running.stop() == 0, running.output.read_text()[-3_000:]


def context_of(running: Running) -> ssl.SSLContext:
    """Trust in the authority of this Lichtmast alone."""
    authority = Authority.open(running.folder.authority, unlock_secret(running.folder))
    return ssl.create_default_context(cadata=authority.root_pem.decode())


def listening(running: Running) -> set[tuple[str, int]]:
    """All sockets that wait for strangers, of this program and its child."""
    assert running.process is not None
    this = psutil.Process(running.process.pid)
    found = set()
    for process in (this, *this.children(recursive=True)):
        for one in process.net_connections(kind="inet"):
            if one.status == psutil.CONN_LISTEN or (one.type == socket.SOCK_DGRAM and not one.raddr):
                found.add((one.laddr.ip, one.laddr.port))
    return found


def test_there_are_four_documented_ports_and_two_of_its_own_on_loopback(secure: Running) -> None:
    assert secure.est_port is not None
    documented = {secure.http_port, secure.mqtt_port, secure.coap_port, secure.est_port}
    found = listening(secure)
    assert documented <= {port for _, port in found}
    own = {(host, port) for host, port in found if port not in documented}
    assert {host for host, _ in own} == {"::1"}
    assert len(own) == 2, own  # the broker's client port, and the operator's


@pytest.mark.parametrize("name", ["http_port", "est_port", "mqtt_port"])
@pytest.mark.parametrize(
    "said", [b"GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n", bytes.fromhex("101600044d5154540402003c000a" + "61" * 10)]
)
def test_no_port_answers_plaintext(secure: Running, name: str, said: bytes) -> None:
    with socket.create_connection(("::1", getattr(secure, name)), timeout=20) as stranger:
        stranger.sendall(said)
        try:
            heard = stranger.recv(200)
        except ConnectionError:
            heard = b""
        # A TLS alert at most (RFC 8446 section 6): content type 21.
        assert heard[:1] in {b"", b"\x15"}, heard


def test_plaintext_coap_is_not_answered(secure: Running) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as stranger:
        stranger.settimeout(QUIET_S)
        for said in (bytes.fromhex("40000001"), bytes.fromhex("40010002bb2e77656c6c2d6b6e6f776e04636f7265")):
            stranger.sendto(said, ("::1", secure.coap_port))
        with pytest.raises(TimeoutError):
            stranger.recv(2_000)


def test_a_stranger_is_told_that_it_runs_and_no_more(secure: Running) -> None:
    with urllib.request.urlopen(f"{secure.url}/healthz", context=context_of(secure), timeout=20) as answer:  # noqa: S310
        assert json.load(answer) == {"status": "ok"}
        assert "server" not in {name.lower() for name in answer.headers}


def test_who_finds_a_weakness_is_told_whom_to_write_to(secure: Running) -> None:
    where = f"{secure.url}/.well-known/security.txt"
    with urllib.request.urlopen(where, context=context_of(secure), timeout=20) as answer:  # noqa: S310
        assert answer.read().decode().splitlines()[0] == f"Contact: {CONTACT}"


def test_whoever_trusts_another_authority_does_not_connect(secure: Running) -> None:
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(f"{secure.url}/healthz", context=ssl.create_default_context(), timeout=20)  # noqa: S310


def test_the_start_says_its_mode_and_gives_the_first_administrators_link(secure: Running) -> None:
    told = secure.output.read_text()
    assert "Encrypted; devices show certificates" in told
    assert f"{secure.url}/first-run#" in told
    assert "open_access" not in told


def test_what_it_keeps_is_for_its_owner_alone(secure: Running) -> None:
    for name in ("authority", "certificates", "unlock", "registry.sqlite"):
        assert (secure.folder.path / name).stat().st_mode & 0o077 == 0, name
    keys = list((secure.folder.path / "authority").glob("*.key"))
    assert len(keys) == 3
    assert all(b"ENCRYPTED" in one.read_bytes() for one in keys)
