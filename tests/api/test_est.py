"""EST (RFC 7030, RFC 8951): how a node gets its certificate, and what everybody else hears. Real TLS, real register."""

import http.client
import logging
import random
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from est_client import CSR_TYPE, ROOT, Answer, Node, ask
from est_town import ENGINEER, HOUR_US, TENANT, EstTown, serving
from starlette.routing import Route

from lichtmast.api import limits
from lichtmast.api.est import EST_NEEDS, EstReason, PayloadError
from lichtmast.api.est.app import new_throttle
from lichtmast.api.est.payload import CSR_ATTRIBUTES, body_of, read_body
from lichtmast.api.throttle import Rate, Throttle
from lichtmast.registry import DeviceStatus
from lichtmast.registry.identity import ClaimState, EnrolmentReason
from lichtmast.registry.pki import CsrFlaw
from lichtmast.wire import DeviceId
from lichtmast.wire.label import spki_pin


class Est:
    """A town and its EST server."""

    def __init__(self, town: EstTown, port: int) -> None:
        self.town = town
        self.port = port

    def ask(self, operation: str, **more: object) -> Answer:
        return ask(self.port, operation, **{"context": self.town.trusting(), **more})  # type: ignore[arg-type]  # as ask's

    def enrolled(self, name: str) -> tuple[Node, bytes]:
        """A node with its first certificate, as PEM."""
        node = self.town.node(name)
        self.town.claim(node)
        answer = self.ask("simpleenroll", csr=node.csr())
        assert answer.status == 200, answer.text
        return node, answer.certificates[0].public_bytes(Encoding.PEM)

    def device_status(self, node: Node) -> DeviceStatus:
        record = self.town.registry.device(node.device)
        assert record is not None
        return record.status


@pytest.fixture(scope="module")
def est(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Est]:
    with EstTown.open(tmp_path_factory.mktemp("est")) as town:
        app = town.est_app(
            clock_s=lambda: town.registry.revision() * 100.0
        )  # never throttled: see the throttle's own test
        with serving(app, town.tls_files(), town.device_trust) as port:
            yield Est(town, port)


# Whom to trust.


def test_cacerts_holds_the_pinned_root_and_what_is_under_it(est: Est) -> None:
    answer = est.ask("cacerts")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/pkcs7-mime"
    assert answer.headers["content-transfer-encoding"] == "base64"
    held = {one.public_bytes(Encoding.DER) for one in answer.certificates}
    assert held == set(est.town.authority.est_bundle_der)


def test_csrattrs_asks_for_a_p256_key_and_sha256(est: Est) -> None:
    answer = est.ask("csrattrs")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/csrattrs"
    told = subprocess.run(
        ["openssl", "asn1parse", "-inform", "DER"], input=b64decode(answer.body), capture_output=True, check=True
    ).stdout.decode()
    assert [name for name in ("id-ecPublicKey", "prime256v1", "ecdsa-with-SHA256") if name in told] == [
        "id-ecPublicKey",
        "prime256v1",
        "ecdsa-with-SHA256",
    ]
    assert len(CSR_ATTRIBUTES) == CSR_ATTRIBUTES[1] + 2


# Enrolling.


def test_a_claimed_node_gets_one_certificate_of_its_own_key_and_name(est: Est) -> None:
    node = est.town.node("lamp-0001")
    est.town.claim(node)
    answer = est.ask("simpleenroll", csr=node.csr())
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
    assert answer.headers["cache-control"] == "no-store"
    (certificate,) = answer.certificates
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [node.device.urn]
    assert certificate.public_key() == node.key.public_key()
    assert est.device_status(node) is DeviceStatus.ACTIVE


def test_the_same_request_again_gets_the_same_certificate(est: Est) -> None:
    node, first = est.enrolled("lamp-0002")
    again = est.ask("simpleenroll", csr=node.csr())
    assert again.certificates[0].public_bytes(Encoding.PEM) == first


def test_a_known_node_that_nobody_claimed_is_told_to_come_again(est: Est) -> None:
    answer = est.ask("simpleenroll", csr=est.town.node("lamp-0003").csr())
    assert answer.status == 202
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "no engineer has claimed it" in answer.text


def test_a_node_whose_claim_has_expired_waits_for_the_next(est: Est) -> None:
    node = est.town.node("lamp-0004")
    est.town.claim(node)
    est.town.shift_us = 25 * HOUR_US
    try:
        assert est.ask("simpleenroll", csr=node.csr()).status == 202
    finally:
        est.town.shift_us = 0


def test_two_requests_at_once_get_one_certificate(est: Est) -> None:
    node = est.town.node("lamp-0005")
    est.town.claim(node)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: est.ask("simpleenroll", csr=node.csr()), range(8)))
    assert {one.status for one in answers} == {200}
    assert len({one.certificates[0].serial_number for one in answers}) == 1
    assert len(est.town.registry.identity.certificates(node.device)) == 1


def test_names_may_be_left_out_of_a_request(est: Est) -> None:
    node = est.town.node("lamp-0006")
    est.town.claim(node)
    assert est.ask("simpleenroll", csr=node.csr(common_name=None, uris=())).status == 200


STRANGERS = ["unknown key", "no name", "staged device, other key", "other name", "unknown device"]


@pytest.mark.parametrize("who", STRANGERS)
def test_a_request_that_is_not_by_a_pinned_key_tells_nothing_of_what_there_is(est: Est, who: str) -> None:
    victim = est.town.node(f"victim-{STRANGERS.index(who)}")
    est.town.claim(victim)
    stranger = Node(victim.device)
    csr = {
        "unknown key": stranger.csr(uris=()),
        "no name": stranger.csr(common_name=None, uris=()),
        "staged device, other key": stranger.csr(),
        "other name": victim.csr(common_name="lamp-9999", uris=["urn:dev:lm:gm0402:lamp-9999"]),
        "unknown device": Node(DeviceId(TENANT, "lamp-7777")).csr(),
    }[who]
    answer = est.ask("simpleenroll", csr=csr)
    assert answer.status == 403
    assert answer.text == (
        "No certificate for this key; compare the key and the name of the node with its label, the log of the server "
        "says more.\n"
    )
    assert est.device_status(victim) is DeviceStatus.CLAIMED
    assert est.town.registry.identity.certificates(victim.device) == []


def test_brute_force_is_counted_and_keeps_no_device_from_its_pole(est: Est) -> None:
    node = est.town.node("lamp-0007")
    claim = est.town.claim(node)
    for _ in range(5):
        assert est.ask("simpleenroll", csr=Node(node.device).csr()).status == 403
    attacked = est.town.registry.identity.claim(claim.id)
    assert attacked is not None
    assert (attacked.wrong_keys, attacked.state(est.town.now_us())) == (5, ClaimState.OPEN)
    assert est.ask("simpleenroll", csr=node.csr()).status == 200


@pytest.mark.parametrize("status", ["suspended", "retired"])
def test_who_proves_the_key_of_a_device_out_of_service_hears_that_it_is(est: Est, status: str) -> None:
    node, _ = est.enrolled(f"lamp-{status}")
    identity = est.town.registry.identity
    change = identity.suspend if status == "suspended" else identity.retire
    change(node.device, at_us=est.town.now_us())
    answer = est.ask("simpleenroll", csr=node.csr())
    assert answer.status == 403
    assert answer.text.startswith(f"The device is {status}")


# Renewing.


def test_a_node_renews_over_the_certificate_that_it_has(est: Est) -> None:
    node, first = est.enrolled("lamp-0010")
    answer = est.ask("simplereenroll", csr=node.csr(), context=est.town.showing(node, first))
    assert answer.status == 200, answer.text
    (renewed,) = answer.certificates
    assert renewed.serial_number != x509.load_pem_x509_certificate(first).serial_number
    assert renewed.public_key() == node.key.public_key()
    old = est.ask("simplereenroll", csr=node.csr(), context=est.town.showing(node, first))
    assert old.certificates == [renewed], "the old one is good until it ends, and its answer may have got lost"


def test_without_a_certificate_nothing_is_renewed(est: Est) -> None:
    node, _ = est.enrolled("lamp-0011")
    answer = est.ask("simplereenroll", csr=node.csr())
    assert answer.status == 401
    assert answer.headers["www-authenticate"]
    assert "simpleenroll" in answer.text


def test_a_certificate_of_another_device_renews_nothing(est: Est) -> None:
    node, _ = est.enrolled("lamp-0012")
    thief, stolen = est.enrolled("lamp-0013")
    answer = est.ask("simplereenroll", csr=node.csr(), context=est.town.showing(thief, stolen))
    assert answer.status == 403
    assert len(est.town.registry.identity.certificates(node.device)) == 1
    named = thief.csr(common_name=node.device.device, uris=[node.device.urn])
    assert est.ask("simplereenroll", csr=named, context=est.town.showing(thief, stolen)).status == 403


def test_a_revoked_certificate_renews_nothing(est: Est) -> None:
    node, first = est.enrolled("lamp-0014")
    est.town.registry.identity.revoke_certificates(node.device, at_us=est.town.now_us())
    answer = est.ask("simplereenroll", csr=node.csr(), context=est.town.showing(node, first))
    assert answer.status == 403
    assert answer.text.startswith("The certificate shown is revoked")


def test_a_node_whose_certificate_expired_recovers_after_an_engineer_claims_it_again(est: Est) -> None:
    node, first = est.enrolled("lamp-0015")
    est.town.shift_us = 100 * 24 * HOUR_US
    try:
        assert est.ask("simplereenroll", csr=node.csr(), context=est.town.showing(node, first)).status == 403
        assert est.ask("simpleenroll", csr=node.csr()).status == 202
        est.town.claim(node)
        assert est.ask("simpleenroll", csr=node.csr()).status == 200
    finally:
        est.town.shift_us = 0


# What is no request.


def signed(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("csr", "said"),
    [
        (b"\x30\x03\x02\x01\x00", "no PKCS#10 request"),
        (signed(rsa.generate_private_key(65537, 2048)), "P-256"),
        (signed(ec.generate_private_key(ec.SECP384R1())), "P-256"),
        (
            Node(DeviceId(TENANT, "lamp-0020")).csr(
                uris=["urn:dev:lm:gm0402:lamp-0020", "urn:dev:lm:gm0402:lamp-0021"]
            ),
            "",
        ),
        (Node(DeviceId(TENANT, "lamp-0020")).csr(uris=["http://example.org/"]), ""),
    ],
    ids=["no request", "RSA", "P-384", "two names", "a foreign name"],
)
def test_a_malformed_request_is_400_with_what_is_wrong(est: Est, csr: bytes, said: str) -> None:
    answer = est.ask("simpleenroll", csr=csr)
    assert answer.status == 400
    assert answer.text.startswith("The certificate request is refused: ")
    assert said in answer.text


def test_a_request_whose_signature_is_not_by_its_key_is_refused(est: Est) -> None:
    csr = bytearray(est.town.node("lamp-0022").csr())
    csr[-1] ^= 1
    assert est.ask("simpleenroll", csr=bytes(csr)).status == 400


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "empty"),
        (b"%%%%", "not base64"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n", "PEM"),
        (bytes.fromhex("3082012f"), "DER"),
    ],
)
def test_a_body_that_is_not_base64_of_der_is_400_with_the_next_step(est: Est, body: bytes, said: str) -> None:
    answer = est.ask("simpleenroll", body=body)
    assert answer.status == 400
    assert said in answer.text


def test_white_space_and_either_content_transfer_encoding_are_taken(est: Est) -> None:
    node = est.town.node("lamp-0023")
    est.town.claim(node)
    der = node.csr()
    for encoding in ({}, {"Content-Transfer-Encoding": "base64"}, {"Content-Transfer-Encoding": "binary"}):
        for body in (b64encode(der), body_of(der), body_of(der).replace(b"\n", b"\r\n "), b"\n" + b64encode(der)):
            answer = est.ask("simpleenroll", body=body, headers={"Content-Type": CSR_TYPE, **encoding})
            assert answer.status == 200, (encoding, body, answer.text)


def test_another_media_type_is_415(est: Est) -> None:
    for media in ("application/json", "text/plain", ""):
        assert est.ask("simpleenroll", body=b"MIIB", headers={"Content-Type": media}).status == 415


def test_one_byte_more_than_the_limit_is_refused_declared_or_not(est: Est) -> None:
    most = b"A" * limits.EST_BODY_BYTES_MAX
    assert est.ask("simpleenroll", body=most).status == 400  # read, and no request
    assert est.ask("simpleenroll", body=most + b"A").status == 413
    chunked = {"Content-Type": CSR_TYPE, "Transfer-Encoding": "chunked"}
    answer = est.ask("simpleenroll", body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(most) + 1, most + b"A"), headers=chunked)
    assert answer.status == 413


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        (f"{ROOT}/serverkeygen", "POST", 404),
        (f"{ROOT}/fullcmc", "POST", 404),
        (f"{ROOT}/{TENANT}/cacerts", "GET", 404),
        ("/", "GET", 404),
        ("/v1/claims", "GET", 404),
        (f"{ROOT}/cacerts/", "GET", 404),
        (f"{ROOT}/simpleenroll", "GET", 405),
        (f"{ROOT}/cacerts", "POST", 405),
    ],
)
def test_nothing_else_is_on_this_listener(est: Est, path: str, method: str, status: int) -> None:
    answer = est.ask(path, method=method)
    assert answer.status == status
    assert answer.headers["content-type"].startswith("text/plain")


# Limits, counts and logs.


def test_a_refusal_is_logged_with_device_reason_and_source_and_never_bytes(
    est: Est, caplog: pytest.LogCaptureFixture
) -> None:
    node = est.town.node("lamp-0030")
    csr = Node(node.device).csr()
    with caplog.at_level(logging.WARNING):
        est.ask("simpleenroll", csr=csr)
    line = next(one for one in caplog.messages if "reason=other_key" in one)
    assert "operation=simpleenroll" in line
    assert f"device={node.device}" in line
    assert "source=::1" in line
    assert b64encode(csr).decode()[:40] not in caplog.text


def test_a_network_that_asks_too_often_is_told_when_to_come_again(tmp_path: Path) -> None:
    with EstTown.open(tmp_path) as town:
        clock = [0.0]
        app = town.est_app(clock_s=lambda: clock[0])
        with serving(app, town.tls_files(), town.device_trust) as port:
            est = Est(town, port)
            statuses = [est.ask("simpleenroll", body=b"%").status for _ in range(limits.EST_NETWORK_BURST)]
            assert set(statuses) == {400}
            refused = est.ask("simpleenroll", csr=town.node("lamp-0001").csr())
            assert refused.status == 429
            assert est.ask("cacerts").status == 200, "reading is counted for itself"
            assert int(refused.headers["retry-after"]) >= 1
            clock[0] += 1 / limits.EST_NETWORK_PER_S
            assert est.ask("simpleenroll", body=b"%").status == 400
            told = app.state.statistics()
            assert told.answered == {"cacerts": 1}
            assert told.refused == {"too_many_requests": 1, "not_base64": limits.EST_NETWORK_BURST + 1}


def test_an_authority_that_cannot_sign_is_503_and_burns_no_claim(tmp_path: Path) -> None:
    with EstTown.open(tmp_path) as town:
        node = town.node("lamp-0001")
        town.claim(node)
        with serving(town.est_app(), town.tls_files(), town.device_trust) as port:
            est = Est(town, port)
            for file in (tmp_path / "authority").glob("devices*.key"):
                file.rename(file.with_suffix(".away"))
            town.authority._issuers.clear()
            answer = est.ask("simpleenroll", csr=node.csr())
            assert answer.status == 503, answer.text
            assert answer.headers["retry-after"]
            for file in (tmp_path / "authority").glob("*.away"):
                file.rename(file.with_suffix(".key"))
            assert est.ask("simpleenroll", csr=node.csr()).status == 200


def test_a_bucket_gives_its_burst_and_then_its_rate_to_each_network_and_to_all() -> None:
    throttle = Throttle(Rate(2, 1.0), Rate(3, 10.0), kept_max=2)
    assert [throttle.wait_s(("a", "all"), 0.0) for _ in range(2)] == [0.0, 0.0]
    assert throttle.wait_s(("a", "all"), 0.0) == 1.0
    assert throttle.wait_s(("b", "all"), 0.0) == 0.0
    assert throttle.wait_s(("b", "all"), 0.0) == pytest.approx(0.1)  # everybody's three are gone
    assert throttle.wait_s(("b", "all"), 0.1) == 0.0
    assert throttle.wait_s(("a", "all"), 0.5) == 0.5
    assert throttle.wait_s(("a", "all"), 1.0) == 0.0
    assert throttle.wait_s(("c", "all"), 1.1) == 0.0  # pushes out b, the longest quiet
    assert throttle.wait_s(("c", "all"), 0.0) == 0.0  # a clock that goes back takes nothing


def test_a_flood_from_one_site_keeps_nobody_elsewhere_from_asking() -> None:
    throttle, chance = new_throttle(), random.Random(1)  # noqa: S311 - the order of a test
    flood = [(chance.uniform(0, 60), f"network {number % 100}", "site") for number in range(400 * 60)]
    honest = [(chance.uniform(30, 60), "home", "elsewhere") for _ in range(100)]
    waits = [(network, throttle.wait_s((network, site, "all"), at_s)) for at_s, network, site in sorted(flood + honest)]
    assert [wait_s for network, wait_s in waits if network == "home"] == [0.0] * 100


@pytest.mark.parametrize("body", [b"", b"\x30\x80", b"====", b"AAA", "é".encode(), b"-----"])
def test_any_other_body_raises_one_kind_of_error(body: bytes) -> None:
    with pytest.raises(PayloadError):
        read_body(body)


def test_the_pin_of_a_label_is_the_pin_of_the_request(est: Est) -> None:
    node = est.town.node("lamp-0031")
    assert node.label(est.town.authority.root_pin).key_pin == spki_pin(node.spki)
    assert ENGINEER.name in {one.opened_by for one in est.town.registry.identity.claims(TENANT, limit=1)}


def test_every_reason_and_every_operation_stands_in_the_reference() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/reference/est.md").read_text()
    reasons = [*EstReason, *(f"csr_{flaw}" for flaw in CsrFlaw), *EnrolmentReason]
    assert [one for one in reasons if f"`{one}`" not in page] == []
    assert [path for method, path in EST_NEEDS if f"`{method} {path}`" not in page] == []


def test_the_table_of_needs_and_the_routes_are_the_same(est: Est) -> None:
    routes = [route for route in est.town.est_app().routes if isinstance(route, Route)]
    served = {(method, route.path) for route in routes for method in (route.methods or set()) - {"HEAD"}}
    assert served == set(EST_NEEDS)


def test_whom_the_register_refuses_is_told_to_whoever_keeps_the_book(tmp_path: Path) -> None:
    with EstTown.open(tmp_path) as town:
        told: list[tuple[DeviceId | None, str]] = []
        app = town.est_app(on_refused=lambda device, reason: told.append((device, reason)))
        with serving(app, town.tls_files(), town.device_trust) as port:
            est, node = Est(town, port), town.node("lamp-0001")
            est.ask("simpleenroll", csr=Node(node.device).csr())
            est.ask("simpleenroll", csr=Node(node.device).csr(common_name=None, uris=()))
            est.ask("simpleenroll", csr=Node(DeviceId(node.device.tenant, "invented-1")).csr())
            est.ask("simpleenroll", body=b"%")
        assert told == [(node.device, "other_key"), (None, "unknown_key"), (None, "unknown_device")]


def test_a_length_that_is_declared_too_long_is_refused_before_the_body_comes(est: Est) -> None:
    connection = http.client.HTTPSConnection("::1", est.port, context=est.town.trusting(), timeout=10)
    connection.putrequest("POST", f"{ROOT}/simpleenroll")
    connection.putheader("Content-Type", CSR_TYPE)
    connection.putheader("Content-Length", str(limits.EST_BODY_BYTES_MAX + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
