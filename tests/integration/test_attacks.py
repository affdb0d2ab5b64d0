"""What attackers try on a whole, real, running Lichtmast: each attempt is refused, and an operator can see that it was.

One town for all of them; each test has devices of its own. What one room refuses is tried in full in that room's tests:
here it is that the rooms, put together, refuse it and say so.
"""

import http.client
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import httpx2 as httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from est_client import Node
from identity_town import IdentityTown
from mqtt_bytes import connect
from secure_town import (
    ATTACKER,
    HOME,
    SERVER,
    TENANT,
    Certified,
    SecureTown,
    now_us,
    pack,
    secure_town,
    wait_until,
)
from v1_examples import IN_STORE, OF_NOBODY, v1_examples

from lichtmast.api.v1 import V1_NEEDS
from lichtmast.ingest.coap.dtls.testing import DtlsClient, client_context
from lichtmast.ingest.coap.message import code
from lichtmast.ingest.coap.testing import post, read
from lichtmast.registry import Registry
from lichtmast.registry.people import Grant, Role
from lichtmast.wire.label import pin_text, spki_pin

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
CONNACK_ACCEPTED = b"\x20\x02\x00\x00"
CONNACK_NOT_AUTHORISED = b"\x20\x02\x00\x05"
SUBACK_REFUSED = 0x80
WRONG_KEYS_MAX = 5
SPOOFED = 300


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureTown]:
    with secure_town(tmp_path_factory.mktemp("town")) as made:
        yield made


# Devices that are in service, and want to be others.


def packs_of(town: SecureTown, *devices: Certified) -> list[int]:
    """How many packs of each device are stored, once the log is empty."""
    accounts = town.running.audit()["accounts"]
    return [sum(one["stored"] for one in accounts if one["device"] == str(each.device)) for each in devices]


def test_nobody_publishes_or_hears_on_the_topics_of_another_device(town: SecureTown) -> None:
    thief, honest = town.certified("topic-thief"), town.certified("topic-honest")
    with town.mqtt(honest) as session:
        assert session.read(4) == CONNACK_ACCEPTED
        session.publish(f"lm/{TENANT}/topic-honest/up", pack(honest.device, 1))
    with town.mqtt(thief) as session:
        assert session.read(4) == CONNACK_ACCEPTED
        session.publish(f"lm/{TENANT}/topic-honest/up", pack(honest.device, 2))
        assert session.subscribe(f"lm/{TENANT}/topic-honest/cmd") == SUBACK_REFUSED
        assert session.subscribe("#") == SUBACK_REFUSED
        session.publish(f"lm/{TENANT}/topic-thief/up", pack(thief.device, 1))
    town.wait_refused(thief.device, "mqtt", "topic_not_allowed", 3)
    town.wait_logged("reason=topic_not_allowed", "device=gm0402/topic-thief")
    assert packs_of(town, thief, honest) == [1, 1]


def test_nobody_connects_under_another_devices_client_id(town: SecureTown) -> None:
    thief, honest = town.certified("id-thief"), town.certified("id-honest")
    with town.mqtt(honest) as standing, town.mqtt(thief, connect(honest.device.urn)) as session:
        assert standing.read(4) == CONNACK_ACCEPTED
        assert session.read(4) == CONNACK_NOT_AUTHORISED
        standing.publish(f"lm/{TENANT}/id-honest/up", pack(honest.device, 1))  # and is not thrown out by it
    town.wait_refused(thief.device, "mqtt", "client_id_mismatch")
    town.wait_logged("reason=client_id_mismatch", "device=gm0402/id-thief")


def test_a_pack_in_another_devices_name_is_the_thiefs_quarantine_and_not_the_others_reading(town: SecureTown) -> None:
    thief, honest = town.certified("name-thief"), town.certified("name-honest")
    with town.mqtt(thief) as session:
        assert session.read(4) == CONNACK_ACCEPTED
        session.publish(f"lm/{TENANT}/name-thief/up", pack(honest.device, 1))
    with town.coap(thief) as endpoint:
        assert endpoint.shake_hands()
        assert read(endpoint.ask(post(1, pack(honest.device, 2)))).code == code("4.03")
    reasons = {(one["device"], one["reason"]) for one in town.running.audit()["quarantined_by_reason"]}
    assert (str(thief.device), "identity_mismatch") in reasons
    assert packs_of(town, honest) == [0]


# Certificates that open no door.


def spoilt(town: SecureTown, flaw: str) -> Certified:
    """A device that enrolled here, and what is wrong with what it shows."""
    one = town.certified(f"cert-{flaw}", age_days={"expired": 100, "not-yet-valid": -2}.get(flaw, 0))
    if flaw == "revoked":
        answer = town.manager().post(
            f"/v1/devices/{TENANT}/cert-{flaw}/certificate-revocations", json={"reason": "keyCompromise"}
        )
        assert answer.is_success, answer.text
        with Registry.open(town.running.folder.registry) as registry:
            town.wait_revision(registry.revision())
    if flaw == "foreign":
        other_city = IdentityTown(town.scratch / "other-city").device(one.device)
        return replace(one, chain=other_city.certificate, key=other_city.key, der=other_city.der)
    return one


MQTT_REASONS = {
    "expired": "expired",
    "not-yet-valid": "not_yet_valid",
    "revoked": "revoked",
    "foreign": "foreign_issuer",
}
COAP_REASONS = MQTT_REASONS | {"foreign": "untrusted"}


@pytest.mark.parametrize("flaw", MQTT_REASONS)
def test_an_expired_a_future_a_revoked_and_a_foreign_certificate_open_no_door(town: SecureTown, flaw: str) -> None:
    shown = spoilt(town, flaw)
    _knock_at_mqtt(town, shown, MQTT_REASONS[flaw])
    _knock_at_coap(town, shown, COAP_REASONS[flaw])
    _knock_at_est(town, shown, flaw)


def _knock_at_mqtt(town: SecureTown, shown: Certified, reason: str) -> None:
    before = town.count("mqtt", "refused", reason)
    with suppress(OSError), town.mqtt(shown) as session:
        assert session.read(4) in {CONNACK_NOT_AUTHORISED, b""}
    wait_until(lambda: town.count("mqtt", "refused", reason) == before + 1, f"counted as {reason}")
    town.wait_logged(f"connection_refused reason={reason}")


def _knock_at_coap(town: SecureTown, shown: Certified, reason: str) -> None:
    before = town.count("coap", "dtls", "handshakes_failed", reason)
    with town.coap(shown) as endpoint:
        assert not endpoint.shake_hands()
    wait_until(lambda: town.count("coap", "dtls", "handshakes_failed", reason) == before + 1, f"counted as {reason}")
    town.wait_logged("coap_certificate_refused", f"reason={reason}", f"host={HOME}")


def _knock_at_est(town: SecureTown, shown: Certified, flaw: str) -> None:
    """Renewal by it: the TLS door sends away what is not valid, the register what it has revoked."""
    if flaw == "revoked":
        assert town.est("simplereenroll", shown.node.csr(), shown=shown).status == 403
        town.wait_refused(shown.device, "est", "certificate_revoked")
        town.wait_logged("est_refused reason=certificate_revoked", f"device={shown.device}")
        return
    with pytest.raises((OSError, http.client.HTTPException)):
        town.est("simplereenroll", shown.node.csr(), shown=shown)
    words = {
        "expired": "client_certificate_certificate_has_expired",
        "not-yet-valid": "client_certificate_certificate_is_not_yet_valid",
        "foreign": "client_certificate_",
    }
    town.wait_logged(f"tls_refused reason={words[flaw]}")


# Between label and certificate.


def test_a_request_that_names_other_devices_gets_no_certificate_and_the_claim_stays(town: SecureTown) -> None:
    node, claim = town.claimed("csr-names")
    victim = town.certified("csr-victim")
    for csr in (
        node.csr(common_name="csr-victim"),
        node.csr(uris=[victim.device.urn]),
        node.csr(uris=[node.device.urn, victim.device.urn]),
        node.csr(common_name="*", uris=[]),
    ):
        assert town.est("simpleenroll", csr).status == 400
    as_the_victim = node.csr(common_name="csr-victim", uris=[victim.device.urn])
    assert town.est("simpleenroll", as_the_victim).status == 403
    town.wait_refused(node.device, "est", "other_name")
    town.wait_logged("est_refused reason=csr_", "est_refused reason=other_name", f"device={node.device}")
    assert town.manager().get(f"/v1/claims/{claim}").json()["state"] == "open"
    assert town.est("simpleenroll", node.csr()).status == 200


def test_swapped_labels_certify_neither_node_as_the_other(town: SecureTown) -> None:
    """The label of one is on the pole of the other: what hangs there gets nothing, and the claim is not used up."""
    claimed, hanging = town.node("label-a"), town.node("label-b")
    claim = town.claim(claimed).json()["id"]
    assert town.est("simpleenroll", hanging.csr()).status == 202  # nobody has claimed that one
    as_the_other = hanging.csr(common_name="label-a", uris=[claimed.device.urn])
    assert town.est("simpleenroll", as_the_other).status == 403
    told = town.manager().get(f"/v1/claims/{claim}").json()
    assert (told["state"], told["wrongKeys"], told["certificateSerial"]) == ("open", 1, None)
    town.wait_logged("est_refused reason=other_name")
    assert any(one["action"] == "claim.wrong_key" for one in town.events(str(claimed.device)))
    assert town.est("simpleenroll", claimed.csr()).status == 200


def test_a_claim_that_is_sent_again_is_the_same_one_and_a_used_label_claims_nothing(town: SecureTown) -> None:
    node, place = town.node("claim-again"), town.lamppost()
    first, again = town.claim(node, place), town.claim(node, place)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert town.est("simpleenroll", node.csr()).status == 200
    used = town.claim(node, place)
    elsewhere = town.claim(node, town.lamppost())
    assert [(one.status_code, one.json()["reason"]) for one in (used, elsewhere)] == [
        (409, "in_service"),
        (409, "hangs_elsewhere"),
    ]
    refused = [one for one in town.events(str(node.device)) if one["action"] == "claim.refused"]
    assert len(refused) == 2
    assert {one["source"] for one in refused} == {HOME}


def test_a_request_that_is_replayed_from_another_host_gives_nothing_usable(town: SecureTown) -> None:
    """Whoever copies it may be first, and then holds a certificate without its key; the node gets the same one."""
    node, _ = town.claimed("csr-replay")
    csr = node.csr()
    stolen = town.est("simpleenroll", csr, source=ATTACKER)
    assert stolen.status == 200
    own = town.est("simpleenroll", csr)
    assert own.certificates == stolen.certificates
    enrolled = [one for one in town.events(str(node.device)) if one["action"] == "device.enrolled"]
    assert [one["source"] for one in enrolled] == [ATTACKER]  # once, and it is said who asked
    der = own.certificates[0].public_bytes(Encoding.DER)
    kept = town.kept(node, der)
    thief = replace(kept, key=town.kept(replace(node, key=ec.generate_private_key(ec.SECP256R1())), der).key)
    with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH"):
        town.mqtt(thief)
    with Registry.open(town.running.folder.registry) as registry:
        town.wait_revision(registry.revision())
    with town.mqtt(kept) as session:
        assert session.read(4) == CONNACK_ACCEPTED


def test_wrong_keys_for_a_claim_are_told_as_an_attack_and_keep_no_device_from_its_pole(town: SecureTown) -> None:
    node, claim = town.claimed("window")
    thief, before = Node(node.device), town.count("est", "refused", "other_key")
    for _ in range(WRONG_KEYS_MAX):
        assert town.est("simpleenroll", thief.csr(), source=ATTACKER).status == 403
    assert town.count("est", "refused", "other_key") == before + WRONG_KEYS_MAX
    town.wait_logged("est_refused reason=other_key", f"source={ATTACKER}")
    shown = town.manager().get(f"/v1/claims/{claim}").json()
    assert (shown["state"], shown["wrongKeys"]) == ("open", WRONG_KEYS_MAX)
    told = [(one["action"], one["source"]) for one in town.events(str(node.device))]
    assert told.count(("claim.wrong_key", ATTACKER)) == WRONG_KEYS_MAX
    assert ("claim.attacked", ATTACKER) in told
    assert town.est("simpleenroll", node.csr()).status == 200


# The wire.


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")  # it is deprecated, which is why it is tried
@pytest.mark.parametrize("door", ["http_port", "est_port", "mqtt_port"])
def test_no_tcp_port_falls_back_to_plaintext_or_to_older_tls(town: SecureTown, door: str) -> None:
    port = getattr(town.running, door)
    for said in (b"GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n", connect("urn:dev:lm:gm0402:lm-0")):
        with socket.create_connection((SERVER, port), 20, source_address=(ATTACKER, 0)) as stranger:
            stranger.sendall(said)
            with suppress(ConnectionError):
                assert stranger.recv(200)[:1] in {b"", b"\x15"}  # a TLS alert at most (RFC 8446 section 6)
    old = town.trust()
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(OSError), socket.create_connection((SERVER, port), 20, source_address=(ATTACKER, 0)) as raw:  # noqa: PT011 - alert or reset
        old.wrap_socket(raw, server_hostname=SERVER)
    if door == "mqtt_port":
        town.wait_logged("connection_refused reason=tls_version")
    else:
        town.wait_logged("tls_refused reason=http_request")
        town.wait_logged("tls_refused reason=unsupported_protocol")


def test_coap_falls_back_neither_to_plaintext_nor_to_older_dtls(town: SecureTown) -> None:
    before = dict(town.running.status()["doors"]["coap"]["dtls"]["discarded"])
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as stranger:
        stranger.bind((ATTACKER, 0))
        stranger.settimeout(1.0)
        stranger.sendto(bytes.fromhex("40010002bb2e77656c6c2d6b6e6f776e04636f7265"), (SERVER, town.running.coap_port))
        with pytest.raises(TimeoutError):
            stranger.recv(2_000)
    shown = town.certified("old-dtls")
    with town.coap(shown) as endpoint:
        endpoint.client = DtlsClient(
            client_context(town.root, shown.chain, shown.key, suites=b"ALL:@SECLEVEL=0", version=0xFEFF)
        )
        assert not endpoint.shake_hands()
    after = town.running.status()["doors"]["coap"]["dtls"]["discarded"]
    assert {name for name in after if after[name] > before.get(name, 0)} == {"no_session", "hello_version"}


def test_hellos_of_three_hundred_spoofed_sources_leave_no_session_and_no_handshake(town: SecureTown) -> None:
    shown = town.certified("flood-honest")
    before = town.running.status()["doors"]["coap"]["dtls"]
    hello = DtlsClient(client_context(town.root, None, None)).start()[0]
    for number in range(SPOOFED):
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as spoofed:  # who spoofs does not hear the answer
            spoofed.bind((f"2001:db8:f:{number:x}::1", 0))
            spoofed.sendto(hello, (SERVER, town.running.coap_port))
    with town.coap(shown) as endpoint:
        assert endpoint.shake_hands()
        assert read(endpoint.ask(post(1, pack(shown.device, 1)))).code == code("2.04")
        after = town.running.status()["doors"]["coap"]["dtls"]
    grown = {name: after[name] - before[name] for name in ("sessions", "handshakes_begun", "handshakes_open")}
    assert grown == {"sessions": 1, "handshakes_begun": 1, "handshakes_open": 0}
    assert after["cookies_sent"] - before["cookies_sent"] == SPOOFED + 1


def test_a_cookie_is_worth_nothing_from_another_address(town: SecureTown) -> None:
    shown = town.certified("cookie")
    with town.coap(shown) as endpoint:
        endpoint.socket.send(endpoint.client.start()[0])
        assert endpoint.socket.recv(2_000)[13] == 3  # HelloVerifyRequest (RFC 6347 section 4.3.2)
    with town.coap(shown) as honest:
        honest.socket.send(honest.client.start()[0])
        with_cookie = honest.client.receive(honest.socket.recv(2_000))[0]
        before = town.running.status()["doors"]["coap"]["dtls"]
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as replayer:
            replayer.bind((ATTACKER, 0))
            replayer.settimeout(5)
            replayer.sendto(with_cookie, (SERVER, town.running.coap_port))
            assert replayer.recv(2_000)[13] == 3  # no more than a cookie of its own
        after = town.running.status()["doors"]["coap"]["dtls"]
        assert after["discarded"].get("cookie", 0) == before["discarded"].get("cookie", 0) + 1
        assert after["handshakes_begun"] == before["handshakes_begun"]


# People.


def test_guessed_codes_are_slowed_down_in_the_guessers_network_and_the_owner_still_gets_in(town: SecureTown) -> None:
    owner = town.person("owner@hilversum.example", Grant(TENANT, Role.ENGINEER))
    tried = 0
    while (answer := town.sign_in(owner, f"2001:db8:bad::{tried + 1:x}", code="000000")).status_code == 401:
        tried += 1
        assert tried < 12, "nothing slows it down"  # five are free, then it is seconds, doubled each time
    assert answer.status_code == 429
    assert tried >= 5
    assert int(answer.headers["Retry-After"]) >= 1
    town.wait_logged(
        "sign_in_refused reason=wrong", "sign_in_refused reason=wait", f"source=2001:db8:bad::{tried + 1:x}"
    )
    assert town.sign_in(owner, HOME).status_code == 201


def test_somebody_of_another_municipality_reads_and_changes_nothing_of_this_one(town: SecureTown) -> None:
    mine, stranger = town.manager(), town.other_manager()
    places = [town.lamppost() for _ in range(4)]
    with Registry.open(town.running.folder.registry) as registry:
        examples = v1_examples(registry, TENANT, places, root_pin=town.authority.root_pin, now_us=now_us())
    assert set(examples) == set(V1_NEEDS)
    before = len(town.events_of(TENANT))
    answers = {
        key: stranger.request(key[0], example.url, json=example.body)
        for key, example in examples.items()
        if key not in OF_NOBODY
    }
    assert {key: one.status_code for key, one in answers.items() if one.status_code != 404} == {}
    assert len(town.events_of(TENANT)) == before, "nothing was changed"
    town.wait_logged("request_refused reason=other_tenant", "login=manager@amsterdam.example")
    # The same requests by somebody who may are answered: it was not the request.
    assert {
        key: answer.text
        for key, example in examples.items()
        if key not in OF_NOBODY | IN_STORE
        and not (answer := mine.request(key[0], example.url, json=example.body)).is_success
    } == {}


def test_a_token_in_an_address_is_refused_even_where_anybody_may_ask(town: SecureTown) -> None:
    with town.visitor() as visitor:
        for url in (
            "/v1.1/Things?token=anything",
            "/v1/devices?tenant=gm0402&access_token=x",
            "/?q=lm_0123abcd_secret",
        ):
            assert visitor.get(url).status_code == 400
    town.wait_logged("token_in_query_refused", f"source={ATTACKER}")
    assert "lm_0123abcd_secret" not in town.log


def test_a_post_from_another_site_or_for_another_host_does_nothing(town: SecureTown) -> None:
    browser, node = town.manager(), town.node("csrf")
    document = {"label": town.label(node).text, "assetId": town.lamppost().id}
    ours = {"Origin": town.running.url}
    del browser.headers["Sec-Fetch-Site"]  # each case says for itself what the browser says
    cases: list[tuple[dict[str, str], int]] = [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"} | ours, 403),
        ({"Host": "evil.example"} | ours, 400),
        ({"Host": "evil.example", "Origin": "https://evil.example"}, 400),
    ]
    for headers, status in cases:
        assert browser.post("/v1/claims", json=document, headers=headers).status_code == status, headers
    assert browser.get(f"/v1/claims?tenant={TENANT}&device=csrf").json()["items"] == []
    town.wait_logged("request_refused reason=other_site", "request_refused reason=other_host", f"source={HOME}")
    assert browser.post("/v1/claims", json=document, headers=ours).status_code == 201
    browser.headers["Sec-Fetch-Site"] = "same-origin"


def test_open_data_and_pages_name_no_device_no_serial_and_no_key(town: SecureTown) -> None:
    shown = town.certified("hidden-name")
    with town.mqtt(shown) as session:
        assert session.read(4) == CONNACK_ACCEPTED
        session.publish(f"lm/{TENANT}/hidden-name/up", pack(shown.device, 1))
    with Registry.open(town.running.folder.registry) as registry:
        record = registry.device(shown.device)
    assert record is not None
    secret = ("hidden-name", shown.serial, pin_text(spki_pin(shown.node.spki)), "urn:dev:lm")
    with town.visitor() as visitor:
        wait_until(lambda: str(record.asset_id) in visitor.get("/v1.1/Things?$top=1000").text, "the new lamppost")
        measured = f"/v1.1/Things({record.asset_id})/Datastreams?$expand=Observations"
        wait_until(lambda: "1e-08" in visitor.get(measured).text, "what it measured")
        bodies = {url: visitor.get(url) for url in _public(visitor, record.asset_id or 0)}
    assert {url: one.status_code for url, one in bodies.items() if one.status_code != 200} == {}
    found = {(url, word) for url, one in bodies.items() for word in secret if word.lower() in one.text.lower()}
    assert found == set()
    assert "1e-08" in bodies[measured].text
    assert bodies["/v1.1/Things"].headers.get("server") is None


def _public(visitor: httpx.Client, thing: int) -> list[str]:
    sets = [one["url"].partition("/v1.1/")[2] for one in visitor.get("/v1.1").json()["value"]]
    return [
        "/v1.1",
        *(f"/v1.1/{name}" for name in sets),
        "/v1.1/Things?$expand=Datastreams,Locations",
        f"/v1.1/Things({thing})/Datastreams?$expand=Observations",
        f"/v1.1/Things({thing})/Datastreams?$expand=Sensor,ObservedProperty",
        "/",
        "/healthz",
        "/map.geojson",
    ]
