"""One exchange with the EST server: whom the device believes, what it takes, and that everything else is refused.

Real TLS on ::1. `est_stand` answers well or badly; that the real server is understood is shown in `tests/integration`.
"""

import itertools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from est_stand import EstStand, Node, Reply, bundle
from hypothesis import given
from hypothesis import strategies as st
from identity_town import CLIENT, SERVER, IdentityTown, Issuer, self_signed

from lichtmast.edge.clock import SystemClock
from lichtmast.edge.identity import CertificateError, Moment, Refusal, limits
from lichtmast.edge.identity.certificates import believed_roots, read_bundle
from lichtmast.edge.identity.exchange import perform
from lichtmast.edge.identity.schedule import Result, Step
from lichtmast.registry.pki import certifying
from lichtmast.wire import DeviceId

DEVICE = DeviceId("gm0402", "lamp-0001")
DAY_US = 86_400 * 1_000_000


@pytest.fixture
def town(tmp_path: Path) -> IdentityTown:
    return IdentityTown(tmp_path / "town")


@pytest.fixture
def node(tmp_path: Path, town: IdentityTown) -> Node:
    return Node(tmp_path / "state", town, DEVICE)


@pytest.fixture
def stand(town: IdentityTown) -> Iterator[EstStand]:
    with EstStand(town, DEVICE).running() as running:
        yield running


def now(days: float = 0, *, is_trusted: bool = True) -> Moment:
    return Moment(SystemClock().wall_us() + round(days * DAY_US), is_trusted)


def crossed(new: Issuer, by: Issuer) -> x509.Certificate:
    """A certificate over a new root's key that another signs: how an old root vouches for its successor."""
    of = new.certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(of.subject)
        .issuer_name(by.certificate.subject)
        .public_key(of.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(of.not_valid_before_utc)
        .not_valid_after(of.not_valid_after_utc)
    )
    for extension in of.extensions:
        if not isinstance(extension.value, x509.AuthorityKeyIdentifier):
            builder = builder.add_extension(extension.value, critical=extension.critical)
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
    return builder.add_extension(above, critical=False).sign(by.key, hashes.SHA256())


# What goes well.


def test_a_claimed_device_gets_a_certificate_with_its_label_alone(node: Node, stand: EstStand) -> None:
    outcome = perform(node.order(stand))
    assert outcome.result is Result.DONE
    kept = node.folder.load()
    assert kept.certificate == outcome.certificate is not None
    assert kept.trust_file is not None
    (request,) = stand.requests
    assert request.is_signature_valid
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [*names] == [x509.UniformResourceIdentifier(DEVICE.urn)]
    # The first bundle came from anybody; the one that counts came over a connection that the root vouches for.
    assert stand.asked == ["cacerts", "cacerts", "simpleenroll"]


def test_before_the_claim_it_is_told_to_come_again(node: Node, stand: EstStand) -> None:
    stand.is_claimed = False
    outcome = perform(node.order(stand))
    assert (outcome.result, outcome.retry_s) == (Result.LATER, 1.0)
    assert node.folder.load().certificate is None
    stand.is_claimed = True
    assert perform(node.order(stand)).result is Result.DONE


def test_a_renewal_shows_the_certificate_and_asks_for_the_same_names_and_key(node: Node, stand: EstStand) -> None:
    perform(node.order(stand))
    before = node.folder.load()
    outcome = perform(node.order(stand, Step.RENEW))
    assert outcome.result is Result.DONE
    assert stand.asked[-1] == "simplereenroll"
    first, second = stand.requests
    assert first.public_key() == second.public_key()
    issued = x509.load_der_x509_certificate(stand.issued[0].der)
    assert second.subject == issued.subject
    assert outcome.certificate is not None
    assert before.certificate is not None
    assert outcome.certificate.serial != before.certificate.serial


def test_an_expired_certificate_is_followed_by_one_for_the_same_key_after_a_new_claim(
    node: Node, town: IdentityTown, stand: EstStand
) -> None:
    perform(node.order(stand))
    expired = node.folder.load()
    chain, key = town.server("later", starts_in=timedelta(days=90), ends_in=timedelta(days=120))
    with EstStand(town, DEVICE).running(chain, key) as later:
        later.issue = {"starts_in": timedelta(days=99), "ends_in": timedelta(days=190)}
        later.is_claimed = False
        assert perform(node.order(later, moment=now(100))).result is Result.LATER
        assert node.folder.load() == expired
        later.is_claimed = True
        assert perform(node.order(later, moment=now(100))).result is Result.DONE
    assert later.requests[-1].public_key() == stand.requests[0].public_key()
    assert node.folder.load().certificate != expired.certificate


# Who is believed.

BAD_SERVERS: dict[str, tuple[Callable[[IdentityTown], dict[str, Any]], Refusal]] = {
    "another authority": (
        lambda town: {"issuer": town.issuer("theirs", under=self_signed("Lichtmast test root"))},
        Refusal.SERVER_UNTRUSTED,
    ),
    "another name": (lambda _: {"hosts": ["est.example.nl"]}, Refusal.SERVER_NAME),
    "another IPv6 address": (lambda _: {"hosts": ["::2"]}, Refusal.SERVER_NAME),
    "expired": (
        lambda _: {"starts_in": timedelta(days=-9), "ends_in": timedelta(days=-1)},
        Refusal.SERVER_EXPIRED,
    ),
    "not yet valid": (
        lambda _: {"starts_in": timedelta(days=1), "ends_in": timedelta(days=9)},
        Refusal.SERVER_NOT_YET_VALID,
    ),
    "for clients": (lambda _: {"usage": CLIENT}, Refusal.SERVER_PURPOSE),
    "self-signed": (lambda _: {"issuer": self_signed("server")}, Refusal.SERVER_UNTRUSTED),
}


@pytest.mark.parametrize("bad", BAD_SERVERS)
@pytest.mark.parametrize("knows_the_root", ["", "knows the root"])
def test_a_bad_server_certificate_is_refused_and_nothing_is_asked_of_it(
    node: Node, town: IdentityTown, stand: EstStand, bad: str, knows_the_root: str
) -> None:
    spoil, refusal = BAD_SERVERS[bad]
    if knows_the_root:
        assert perform(node.order(stand, Step.REFRESH)).result is Result.DONE
    chain, key = town.server("bad", **spoil(town))
    with EstStand(town, DEVICE).running(chain, key) as rogue:
        outcome = perform(node.order(rogue))
    assert (outcome.result, outcome.refusal) == (Result.REFUSED, refusal)
    assert "simpleenroll" not in rogue.asked
    assert node.folder.load().certificate is None


def test_a_rogue_server_with_a_root_of_its_own_is_refused(node: Node, tmp_path: Path) -> None:
    theirs = IdentityTown(tmp_path / "theirs")
    with EstStand(theirs, DEVICE).running() as rogue:
        outcome = perform(node.order(rogue))
    assert (outcome.result, outcome.refusal) == (Result.REFUSED, Refusal.SERVER_UNTRUSTED)
    assert rogue.asked == ["cacerts"]
    assert node.folder.load().trust_file is None


def test_a_rogue_server_that_shows_our_root_beside_its_own_is_refused(
    node: Node, town: IdentityTown, tmp_path: Path
) -> None:
    theirs = IdentityTown(tmp_path / "theirs")
    with EstStand(theirs, DEVICE).running() as rogue:
        rogue.authorities = [town.root_issuer.certificate, *rogue.authorities]
        outcome = perform(node.order(rogue))
    assert (outcome.result, outcome.refusal) == (Result.REFUSED, Refusal.SERVER_UNTRUSTED)
    assert rogue.asked == ["cacerts"]


def test_a_certificate_that_nobody_can_date_is_believed_until_somebody_vouches_for_the_time(
    node: Node, town: IdentityTown
) -> None:
    """A floor is a time that it is not before: a certificate that begins after it may have begun."""
    chain, key = town.server("new", starts_in=timedelta(days=-1), ends_in=timedelta(days=9))
    with EstStand(town, DEVICE).running(chain, key) as stand:
        assert perform(node.order(stand, moment=now(-400, is_trusted=False))).result is Result.DONE
        assert perform(node.order(stand, moment=now(-400))).refusal is Refusal.SERVER_NOT_YET_VALID
        assert perform(node.order(stand, moment=now(10, is_trusted=False))).refusal is Refusal.SERVER_EXPIRED


# Roll-over.


def test_a_new_root_is_believed_through_the_old_ones_word_also_after_two_changes(
    node: Node, town: IdentityTown, stand: EstStand
) -> None:
    assert perform(node.order(stand)).result is Result.DONE
    second, third = self_signed("Lichtmast test root 2"), self_signed("Lichtmast test root 3")
    issuer = town.issuer("servers 3", under=third)
    chain, key = town.server("rolled", issuer=issuer)
    with EstStand(town, DEVICE).running(chain, key) as rolled:
        rolled.authorities = [
            town.root_issuer.certificate,
            crossed(third, second),
            third.certificate,
            crossed(second, town.root_issuer),
            second.certificate,
            issuer.certificate,
        ]
        assert perform(node.order(rolled, Step.REFRESH)).result is Result.DONE
        rolled.authorities = [third.certificate]  # and the old ones may go
        assert perform(node.order(rolled, Step.REFRESH)).result is Result.DONE
    assert perform(node.order(stand, Step.REFRESH)).refusal is None  # the label still pins the first


def test_a_new_root_that_nobody_vouches_for_is_not_believed(node: Node, town: IdentityTown, stand: EstStand) -> None:
    assert perform(node.order(stand)).result is Result.DONE
    new = self_signed("Lichtmast test root")
    chain, key = town.server("rolled", issuer=town.issuer("servers", under=new))
    with EstStand(town, DEVICE).running(chain, key) as rolled:
        rolled.authorities = [town.root_issuer.certificate, new.certificate]
        assert perform(node.order(rolled, Step.REFRESH)).refusal is Refusal.SERVER_UNTRUSTED


@pytest.mark.parametrize("name", ["its own", "another"])
def test_the_stolen_key_of_an_issuing_authority_makes_no_root(name: str) -> None:
    root = certifying.new_root("City", now().wall_us)
    stolen = certifying.new_issuing(certifying.AuthorityKind.DEVICES, root, "City", now().wall_us)
    subject = stolen.certificate.subject if name == "its own" else self_signed(name).certificate.subject
    begin_us, end_us = now().wall_us, now(3650).wall_us
    evil = certifying._authority(
        subject, subject, stolen.key.public_key(), stolen.key, begin_us, end_us, path_length=None
    )
    cross = crossed(Issuer(evil, stolen.key), Issuer(stolen.certificate, stolen.key))
    sent = [root.certificate, stolen.certificate, evil, cross]
    for trusted in ([], [root.certificate]):
        assert believed_roots(sent, trusted, certifying.pin_of(root.certificate)) == [root.certificate]


@pytest.mark.parametrize("bound", ["path length", "purpose", "name", "none"])
def test_a_root_is_vouched_for_without_bounds_and_under_its_name_or_not_at_all(bound: str) -> None:
    old, new = (certifying.new_root("City", now().wall_us) for _ in range(2))
    cross = certifying._authority(
        old.certificate.subject if bound == "name" else new.certificate.subject,
        old.certificate.subject,
        new.key.public_key(),
        old.key,
        now().wall_us,
        now(90).wall_us,
        path_length=0 if bound == "path length" else None,
        usage=x509.ExtendedKeyUsage(CLIENT) if bound == "purpose" else None,
    )
    believed = believed_roots([old.certificate, new.certificate, cross], [old.certificate], None)
    assert (new.certificate in believed) is (bound == "none")


# What is taken.


def another_key(town: IdentityTown) -> Reply:
    return bundle([x509.load_der_x509_certificate(town.device(DEVICE).der)])


WRONG_CERTIFICATES: dict[str, tuple[dict[str, Any], str]] = {
    "another device": ({"uris": ["urn:dev:lm:gm0402:lamp-0002"]}, "does not name"),
    "two names": ({"uris": [DEVICE.urn, "urn:dev:lm:gm0402:lamp-0002"]}, "does not name"),
    "no name": ({"uris": []}, "neither whose it is"),
    "for servers": ({"usage": SERVER}, "not one for clients"),
    "ended": ({"starts_in": timedelta(days=-9), "ends_in": timedelta(days=-1)}, "has ended"),
    "not begun": ({"starts_in": timedelta(days=1), "ends_in": timedelta(days=9)}, "not valid yet"),
    "an authority": ({"authority": True}, "0 certificates of devices"),
}


@pytest.mark.parametrize("wrong", WRONG_CERTIFICATES)
def test_a_certificate_that_is_not_ours_in_every_part_is_refused_and_the_old_one_stays(
    node: Node, stand: EstStand, wrong: str
) -> None:
    perform(node.order(stand))
    before = node.folder.load()
    stand.issue, told = WRONG_CERTIFICATES[wrong]
    outcome = perform(node.order(stand, Step.RENEW))
    assert outcome.result is Result.REFUSED
    assert told in outcome.told
    assert node.folder.load() == before


def test_a_certificate_over_another_key_or_under_another_root_is_refused(
    node: Node, town: IdentityTown, stand: EstStand
) -> None:
    stand.overrides["simpleenroll"] = lambda _: another_key(town)
    assert "over another key" in perform(node.order(stand)).told
    del stand.overrides["simpleenroll"]
    stand.issue = {"issuer": town.issuer("theirs", under=self_signed("theirs"))}
    assert "does not lead to a root" in perform(node.order(stand)).told
    stand.issue = {}
    stand.overrides["simpleenroll"] = lambda _: bundle(
        [x509.load_der_x509_certificate(town.device(DEVICE).der) for _ in range(2)]
    )
    assert "2 certificates of devices" in perform(node.order(stand)).told
    assert node.folder.load().certificate is None


# Hostile answers.

PKCS7 = "application/pkcs7-mime"
HOSTILE: dict[str, tuple[Reply, str]] = {
    "no base64": (Reply(200, b"\xff" * 100, content_type=PKCS7), "not base64"),
    "no PKCS#7": (Reply(200, b"aGVsbG8=", content_type=PKCS7), "not base64 of a PKCS#7"),
    "empty": (Reply(200, b"", content_type=PKCS7), "not base64 of a PKCS#7"),
    "too large": (Reply(200, b"A" * (limits.ANSWER_BYTES_MAX + 1), content_type=PKCS7), "more than"),
    "another kind": (Reply(200, b"<html>", content_type="text/html"), "something else than certificates"),
    "a redirect": (Reply(302, headers={"Location": "https://[::1]/"}), "sends elsewhere"),
    "refused": (Reply(403, "geweigerd: nie\x07t\nactief é".encode()), "geweigerd: nie t actief é"),
    "refused without a word": (Reply(403), "it answers 403"),
    "busy": (Reply(503, headers={"Retry-After": "999999"}), "later"),
    "a strange date": (Reply(503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), "later"),
    "a long list": (Reply(200, headers={f"X-{number}": "x" for number in range(200)}, content_type=PKCS7), "ended"),
    "a long header": (Reply(200, headers={"X": "x" * 70_000}, content_type=PKCS7), "ended"),
}


@pytest.mark.parametrize("operation", ["cacerts", "simpleenroll"])
@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_answer_is_one_plain_sentence(node: Node, stand: EstStand, hostile: str, operation: str) -> None:
    reply, told = HOSTILE[hostile]
    stand.overrides[operation] = lambda _: reply
    outcome = perform(node.order(stand))
    assert outcome.result in (Result.REFUSED, Result.UNREACHABLE)
    assert told in outcome.told or operation == "cacerts"
    assert len(outcome.told) < 400
    assert outcome.told.isprintable()
    assert outcome.retry_s is None or outcome.retry_s <= limits.LATER_MAX_S
    assert node.folder.load().certificate is None


@pytest.mark.parametrize("body", [b"", b"\0" * 300, b"HTTP/1.1 200 OK\r\n" * 100, b"HTTP/9.9 abc\r\n\r\n"])
def test_a_server_that_speaks_no_http_is_unreachable(
    node: Node, town: IdentityTown, stand: EstStand, body: bytes
) -> None:
    perform(node.order(stand, Step.REFRESH))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(town.server_certificate, town.server_key)
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listening:

        def serve() -> None:
            taken, _ = listening.accept()
            with context.wrap_socket(taken, server_side=True) as speaking:
                speaking.recv(1000)
                speaking.sendall(body)

        thread = threading.Thread(target=serve)
        thread.start()
        stand.port = listening.getsockname()[1]
        assert perform(node.order(stand)).result is Result.UNREACHABLE
        thread.join(10)


def test_nobody_there_is_unreachable(node: Node, stand: EstStand) -> None:
    stand.port = 1
    outcome = perform(node.order(stand))
    assert outcome.result is Result.UNREACHABLE
    assert "Connection refused" in outcome.told


def test_a_server_that_says_nothing_is_given_up(node: Node, stand: EstStand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_S", 0.2)
    monkeypatch.setattr(limits, "CONNECT_S", 0.2)
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as silent:
        stand.port = silent.getsockname()[1]
        assert perform(node.order(stand)).result is Result.UNREACHABLE


@given(st.binary(max_size=400))
def test_whatever_bytes_come_a_bundle_is_read_or_refused(body: bytes) -> None:
    with pytest.raises(CertificateError):
        read_bundle(body)


def test_a_truncated_bundle_is_refused_at_every_length(town: IdentityTown) -> None:
    body = bundle([town.root_issuer.certificate, town.devices.certificate]).body
    for size in itertools.chain(range(0, len(body) - 4, 7), [len(body) - 5]):
        with pytest.raises(CertificateError):
            read_bundle(body[:size])


def test_a_label_of_another_key_asks_for_nothing(node: Node, tmp_path: Path, stand: EstStand) -> None:
    other = Node(tmp_path / "other", stand.town, DEVICE)
    node.label = other.label
    outcome = perform(node.order(stand))
    assert outcome.result is Result.REFUSED
    assert "its label another" in outcome.told
    assert stand.asked == []


def test_a_request_is_for_p256(node: Node, stand: EstStand) -> None:
    perform(node.order(stand))
    key = stand.requests[0].public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
