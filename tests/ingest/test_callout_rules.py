"""Who may connect, as rules: a question of the server, an admission, an answer. No sockets."""

import itertools
import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped] # it ships no types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity_town import Credentials, IdentityTown

from lichtmast.ingest.broker_keys import Issuer, verified_claims
from lichtmast.ingest.broker_settings import ACCOUNT
from lichtmast.ingest.callout import limits
from lichtmast.ingest.callout.line import Message, Protocol
from lichtmast.ingest.callout.refusals import Refusals
from lichtmast.ingest.callout.request import Request, read_request
from lichtmast.ingest.callout.rules import CalloutReason, RefusedConnection, answer, judge
from lichtmast.ingest.callout.server_log import LogFile, ServerReason, refusal_of
from lichtmast.ingest.callout.sessions import Session, Sessions, Traffic, read_listing
from lichtmast.ingest.errors import BrokerError
from lichtmast.registry.identity.admission import Admission, AdmissionReason
from lichtmast.wire import DeviceId

DEVICE = DeviceId("gm0402", "lm-0")
OWN_USERS = ("lichtmast", "callout", "system")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> IdentityTown:
    return IdentityTown(tmp_path_factory.mktemp("town"))


def now_of(one: Credentials) -> int:
    return (one.not_before_us + one.not_after_us) // 2


def request_of(one: Credentials) -> Request:
    return Request("UUSER", 30, "2001:db8::7", one.device.urn, True, False, one.der, one.not_after_us)  # noqa: FBT003 - MQTT, no password


def judged(request: Request, admission: Admission, now_us: int) -> Session | RefusedConnection:
    return judge(request, admission, now_us, is_held=lambda _: False)


class Server:
    """What signs questions: a nats-server's key, and the claims that ours was seen to send."""

    def __init__(self) -> None:
        self._keys = nkeys.from_seed(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_SERVER))
        self.id: str = self._keys.public_key.decode()

    def claims(self, one: Credentials) -> dict[str, Any]:
        return {
            "aud": "nats-authorization-request",
            "exp": one.not_after_us // 1_000_000,
            "iss": self.id,
            "nats": {
                "server_id": {"name": "lichtmast", "id": self.id},
                "user_nkey": "UUSER",
                "client_info": {"host": "::1", "id": 30, "type": "mqtt", "mqtt_id": one.device.urn},
                "connect_opts": {"protocol": 0},
                "client_tls": {"version": "1.3", "verified_chains": [[one.certificate.read_text(), "issuer"]]},
            },
        }

    def ask(self, claims: dict[str, Any], header: bytes = b'{"typ":"JWT","alg":"ed25519-nkey"}') -> bytes:
        body = b".".join(_encode(part) for part in (header, json.dumps(claims).encode()))
        return body + b"." + _encode(self._keys.sign(body))


def _encode(content: bytes) -> bytes:
    return urlsafe_b64encode(content).rstrip(b"=")


def decoded(token: str | None) -> dict[str, Any]:
    assert token is not None
    claims: dict[str, Any] = json.loads(urlsafe_b64decode(token.split(".")[1] + "=="))
    return claims


def test_a_device_of_the_register_is_admitted_under_its_own_name(town: IdentityTown) -> None:
    one = town.device(DEVICE)
    assert judged(request_of(one), town.admission(), now_of(one)) == Session(30, DEVICE, one.serial, one.not_after_us)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"client_id": "urn:dev:lm:gm0402:lm-1"}, CalloutReason.CLIENT_ID_MISMATCH),
        ({"client_id": ""}, CalloutReason.CLIENT_ID_MISMATCH),
        ({"client_id": "URN:dev:lm:gm0402:lm-0"}, CalloutReason.CLIENT_ID_MISMATCH),
        ({"is_mqtt": False}, CalloutReason.NOT_MQTT),
        ({"has_credentials": True}, CalloutReason.CREDENTIALS_GIVEN),
        ({"certificate_der": None}, CalloutReason.NO_CERTIFICATE),
        ({"certificate_der": b"junk"}, AdmissionReason.NOT_A_DEVICE_CERTIFICATE),
        ({"source": "::ffff:c000:201"}, CalloutReason.NOT_IPV6),
        ({"source": "somewhere"}, CalloutReason.NOT_IPV6),
        ({"until_us": 1}, CalloutReason.TOO_LATE),
    ],
    ids=str,
)
def test_whatever_does_not_agree_is_refused(change: dict[str, Any], reason: str, town: IdentityTown) -> None:
    one = town.device(DEVICE)
    verdict = judged(replace(request_of(one), **change), town.admission(), now_of(one))
    assert isinstance(verdict, RefusedConnection)
    assert verdict.reason == reason


def test_a_question_that_the_server_gave_up_on_gets_no_answer_and_any_other_refusal_one(town: IdentityTown) -> None:
    one, issuer = town.device(DEVICE), Issuer()
    for change, is_answered in (({"until_us": 1}, False), ({"client_id": "x"}, True)):
        asked = replace(request_of(one), **change)
        verdict = judged(asked, town.admission(), now_of(one))
        token = answer(asked, verdict, issuer, "NSERVER", now_of(one))
        assert (token is not None) is is_answered


def test_what_the_register_refuses_is_refused_with_its_reason(town: IdentityTown) -> None:
    good, unknown = town.device(DEVICE), town.device("lm-5", issued=False)
    late = town.device("lm-6", starts_in=timedelta(days=-9), ends_in=timedelta(days=-1))
    found = {
        "revoked": judged(request_of(good), town.admission(revoked=[good]), now_of(good)),
        "asleep": judged(request_of(good), town.admission(asleep=[DEVICE]), now_of(good)),
        "unknown": judged(request_of(unknown), town.admission(), now_of(unknown)),
        "expired": judged(replace(request_of(late), until_us=2**62), town.admission(), late.not_after_us),
        "early": judged(request_of(good), town.admission(), good.not_before_us - 1),
    }
    assert {name: (one.reason, one.device) for name, one in found.items() if isinstance(one, RefusedConnection)} == {
        "revoked": (AdmissionReason.REVOKED, DEVICE),
        "asleep": (AdmissionReason.NOT_ACTIVE, DEVICE),
        "unknown": (AdmissionReason.UNKNOWN_DEVICE, unknown.device),
        "expired": (AdmissionReason.EXPIRED, late.device),
        "early": (AdmissionReason.NOT_YET_VALID, DEVICE),
    }


def test_the_right_that_is_given_is_exactly_the_designs() -> None:
    issuer, request = Issuer(), Request("UUSER", 30, "::1", DEVICE.urn, True, False, b"", 0)  # noqa: FBT003 - as above
    session = Session(30, DEVICE, 0xABC, 5_000_000_000)
    told = decoded(answer(request, session, issuer, "NSERVER", 7_000_000))
    assert (told["sub"], told["aud"], told["iss"]) == ("UUSER", "NSERVER", issuer.public)
    right = decoded(told["nats"]["jwt"])
    assert (right["sub"], right["aud"], right["exp"]) == ("UUSER", ACCOUNT, 5_000)
    assert "name" not in right, "a reload ends sessions that have one"
    assert right["nats"]["pub"] == {"allow": ["lm.gm0402.lm-0.up", "lm.gm0402.lm-0.ev", "lm.gm0402.lm-0.state"]}
    assert right["nats"]["sub"] == {
        "allow": [
            *("lm.gm0402.lm-0.ack", "lm.gm0402.lm-0.cfg", "lm.gm0402.lm-0.cmd"),
            *("$MQTT.sub.>", "$MQTT.deliver.pubrel.>"),
        ]
    }
    assert right["nats"]["allowed_connection_types"] == ["MQTT"]
    assert "bearer_token" not in right["nats"]


def test_a_refused_client_is_told_nothing_but_that() -> None:
    request = Request("UUSER", 30, "::1", DEVICE.urn, True, False, b"", 0)  # noqa: FBT003 - as above
    told = {
        json.dumps(decoded(answer(request, RefusedConnection(None, reason, "", ""), Issuer(), "N", 0))["nats"])
        for reason in {*CalloutReason, *AdmissionReason} - {CalloutReason.TOO_LATE}
    }
    assert len(told) == 1


def test_a_question_is_read_as_the_server_sends_it(town: IdentityTown) -> None:
    one, server = town.device(DEVICE), Server()
    request = read_request(server.ask(server.claims(one)), server.id)
    assert request == replace(request_of(one), source="::1", until_us=one.not_after_us // 1_000_000 * 1_000_000)


@pytest.mark.parametrize("key", ["user", "pass", "jwt", "nkey", "auth_token"])
def test_any_password_or_token_counts_as_credentials(key: str, town: IdentityTown) -> None:
    server = Server()
    claims = server.claims(town.device(DEVICE))
    claims["nats"]["connect_opts"][key] = "x"
    request = read_request(server.ask(claims), server.id)
    assert request is not None
    assert request.has_credentials


def test_a_certificate_that_the_server_did_not_verify_counts_as_none(town: IdentityTown) -> None:
    one, server = town.device(DEVICE), Server()
    claims = server.claims(one)
    claims["nats"]["client_tls"] = {"certs": [one.certificate.read_text()]}
    request = read_request(server.ask(claims), server.id)
    assert request is not None
    assert request.certificate_der is None


def test_a_question_that_this_server_did_not_sign_is_none(town: IdentityTown) -> None:
    one, server, other = town.device(DEVICE), Server(), Server()
    claims = server.claims(one)
    sound = server.ask(claims)
    assert read_request(sound, server.id) is not None
    bad = {
        "another server's": other.ask(claims),
        "another issuer": server.ask(claims | {"iss": other.id}),
        "another purpose": server.ask(claims | {"aud": "something-else"}),
        "no algorithm": server.ask(claims, b'{"typ":"JWT","alg":"none"}'),
        "unsigned": b".".join([*sound.split(b".")[:2], b""]),
        "one bit": sound[:200] + bytes([sound[200] ^ 1]) + sound[201:],
        "too long": sound + b"A" * limits.REQUEST_BYTES_MAX,
        "no question": server.ask({"aud": "nats-authorization-request", "iss": server.id, "exp": 1, "nats": {}}),
        "no PEM": server.ask(
            claims | {"nats": claims["nats"] | {"client_tls": {"verified_chains": [["no certificate"]]}}}
        ),
    }
    assert {name for name, token in bad.items() if read_request(token, server.id) is not None} == set()


@given(st.binary(max_size=300), st.text(max_size=70))
def test_any_bytes_are_a_question_or_none(token: bytes, server_id: str) -> None:
    assert verified_claims(token, server_id) is None
    assert read_request(token, server_id) is None


def test_who_sent_too_much_is_told_so_only_after_he_has_proven_who_he_is(town: IdentityTown) -> None:
    one = town.device(DEVICE)
    asked, admission, now_us = request_of(one), town.admission(), now_of(one)
    held = judge(asked, admission, now_us, is_held=lambda device: device == DEVICE)
    assert held == RefusedConnection(DEVICE, CalloutReason.RATE_LIMITED, asked.source, asked.client_id)
    stranger = replace(asked, client_id="urn:dev:lm:gm0402:lm-1")
    refused = judge(stranger, admission, now_us, is_held=lambda _: True)
    assert isinstance(refused, RefusedConnection)
    assert refused.reason is CalloutReason.CLIENT_ID_MISMATCH


def listing(*users: str, total: int | None = None) -> bytes:
    connections = [
        {"cid": number, "authorized_user": user, "in_msgs": 3, "in_bytes": 300} for number, user in enumerate(users, 10)
    ]
    total = len(users) if total is None else total
    return json.dumps({"server": {}, "data": {"total": total, "connections": connections}}).encode()


def test_sessions_that_the_register_took_back_and_connections_of_nobody_have_to_go(town: IdentityTown) -> None:
    kept, gone = town.device("lm-10"), town.device("lm-11")
    sessions = Sessions()
    sessions.begin("N1")
    for number, one in ((11, kept), (12, gone), (20, gone)):  # the last is on its way, and not listed yet
        sessions.admit(Session(number, one.device, one.serial, one.not_after_us), 100.0)
    listed = read_listing(listing("lichtmast", "", "", "stranger"), "lichtmast")
    assert listed == {11: Traffic(3, 300), 12: Traffic(3, 300), 13: Traffic(3, 300)}
    sessions.forget_gone(listed.keys(), 101.0)
    now_us = now_of(kept)
    assert sessions.unwanted(listed.keys(), town.admission(), now_us) == {13: None}
    unwanted = sessions.unwanted(listed.keys(), town.admission(revoked=[gone]), now_us)
    assert unwanted == {12: gone.device, 20: gone.device, 13: None}
    sessions.drop(unwanted)
    assert sessions.unwanted({11}, town.admission(revoked=[gone]), now_us) == {}
    assert sessions.unwanted({11, 12}, town.admission(), now_us) == {12: None}, "it should have gone"


def test_sessions_are_forgotten_when_they_end_and_when_the_server_starts_anew(town: IdentityTown) -> None:
    one = town.device("lm-12")
    session = Session(11, one.device, one.serial, one.not_after_us)
    sessions = Sessions()
    sessions.begin("N1")
    sessions.admit(session, 100.0)
    sessions.forget_gone((), 105.0)
    assert sessions.unwanted({11}, town.admission(), now_of(one)) == {}
    sessions.forget_gone((), 200.0)
    assert sessions.unwanted({11}, town.admission(), now_of(one)) == {11: None}
    sessions.admit(session, 200.0)
    sessions.begin("N1")
    assert sessions.unwanted({11}, town.admission(), now_of(one)) == {}
    sessions.begin("N2")
    assert sessions.unwanted({11}, town.admission(), now_of(one)) == {11: None}


@pytest.mark.parametrize("told", [b"", b"{}", b'{"error":{"code":500}}', listing("lichtmast", total=2)])
def test_a_list_that_is_not_whole_is_no_list(told: bytes) -> None:
    with pytest.raises(BrokerError):
        read_listing(told, "lichtmast")


def test_a_flood_of_refusals_is_counted_in_full_and_said_once_a_second() -> None:
    refusals = Refusals()
    one = RefusedConnection(DEVICE, CalloutReason.TOO_LATE, "::1", 'x"\n' * 10)
    said = [refusals.count(one, number / 1_000) for number in range(2_500)]
    lines = [line for line in said if line]
    assert len(lines) == 3
    assert lines[1].endswith("also=999")
    assert "\n" not in lines[0]
    assert refusals.by_reason == {"too_late": 2_500}
    assert refusals.count(replace(one, reason=CalloutReason.NOT_MQTT), 2.4) is not None


HEAD = "[23941] 2026/11/22 03:21:54.682684 [ERR] [2001:db8::7]:33268 - mid:41 - "
CLIENT = '"urn:dev:lm:gm0402:lm-0" - '


@pytest.mark.parametrize(
    ("line", "reason", "device"),
    [
        (HEAD + "TLS handshake error: tls: client didn't provide a certificate", CalloutReason.NO_CERTIFICATE, None),
        (
            HEAD + "TLS handshake error: tls: client offered only unsupported versions: [303]",
            ServerReason.TLS_VERSION,
            None,
        ),
        (
            HEAD + "TLS handshake error: tls: failed to verify certificate: x509: certificate signed by unknown "
            'authority (possibly because of "x509: ECDSA verification failure")',
            ServerReason.FOREIGN_ISSUER,
            None,
        ),
        (
            HEAD + "TLS handshake error: tls: failed to verify certificate: x509: certificate has expired or is not "
            "yet valid: current time 2026-11-22T03:21:54Z is after 2026-11-21T03:21:54Z (CN=lm-3 SHA-256: f9)",
            AdmissionReason.EXPIRED,
            None,
        ),
        (
            HEAD + "TLS handshake error: tls: failed to verify certificate: x509: certificate has expired or is not "
            "yet valid: current time 2026-11-22T03:21:54Z is before 2026-11-23T03:21:54Z (CN=lm-3 SHA-256: 85)",
            AdmissionReason.NOT_YET_VALID,
            None,
        ),
        (
            HEAD + "TLS handshake error: tls: failed to verify certificate: x509: certificate specifies an "
            "incompatible key usage (CN=lm-4 SHA-256: 4f)",
            AdmissionReason.NOT_A_DEVICE_CERTIFICATE,
            None,
        ),
        (HEAD + "TLS handshake error: remote error: tls: bad certificate", ServerReason.HANDSHAKE_FAILED, None),
        (HEAD + CLIENT + 'authentication error - User "lichtmast"', ServerReason.WRONG_PASSWORD, None),
        (
            HEAD + CLIENT + 'Publish Violation - Subject "lm.gm0402.lm-1.up"',
            ServerReason.TOPIC_NOT_ALLOWED,
            DEVICE,
        ),
        (HEAD + CLIENT + 'Subscription Violation - Subject ">", SID >', ServerReason.TOPIC_NOT_ALLOWED, DEVICE),
        (HEAD + CLIENT + "maximum payload exceeded: 2000025 vs 1048576", ServerReason.PAYLOAD_TOO_LARGE, DEVICE),
    ],
    ids=lambda one: one if isinstance(one, str) and " " not in one else "",
)
def test_what_the_server_refuses_by_itself_is_read_from_its_log(
    line: str, reason: str, device: DeviceId | None
) -> None:
    found = refusal_of(line, OWN_USERS)
    assert found is not None
    assert (found.reason, found.device, found.source) == (reason, device, "2001:db8::7")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[23941] 2026/11/22 03:21:46.551828 [INF] Server is ready",
        HEAD + "TLS handshake error: EOF",
        HEAD + CLIENT + "authentication error",
        HEAD + CLIENT + 'authentication error - User "somebody"',
        HEAD + CLIENT + "unable to connect: authentication error",
    ],
)
def test_what_is_no_refusal_or_was_asked_about_is_not_counted_again(line: str) -> None:
    assert refusal_of(line, OWN_USERS) is None


def test_a_stranger_cannot_write_refusals_of_others_into_the_log() -> None:
    """The server quotes what a client calls itself."""
    forged = r'"x\" - Publish Violation - \"urn:dev:lm:gm0402:lm-0" - '
    found = refusal_of(HEAD + forged + "TLS handshake error: odd", OWN_USERS)
    assert found is not None
    assert found.device is None


def test_the_log_is_followed_through_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    path.write_text("old line\n")
    log = LogFile(path)
    with path.open("a") as file:
        file.write("one\ntw")
        file.flush()
        assert list(log.new_lines()) == ["one"]
        file.write("o\nthree\n")
    path.rename(tmp_path / "server.log.1")
    path.write_text("four\n")
    assert list(log.new_lines()) == ["two", "three"]
    assert list(log.new_lines()) == ["four"]
    assert list(log.new_lines()) == []
    log.close()


GREETING = b'INFO {"server_id":"N1","x":1}\r\nPING\r\n'
STREAM = GREETING + b"MSG a.b 1 _INBOX.x 5\r\nab\r\nc\r\nMSG c 1 0\r\n\r\n+OK\r\nPONG\r\nPING\r\n"


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_the_protocol_is_read_the_same_however_it_is_cut(cuts: list[int]) -> None:
    protocol, messages, pings = Protocol(), [], 0
    edges = [0, *sorted(cuts), len(STREAM)]
    for begin, end in itertools.pairwise(edges):
        some, more = protocol.feed(STREAM[begin:end])
        messages += some
        pings += more
    assert messages == [Message(b"a.b", b"_INBOX.x", b"ab\r\nc"), Message(b"c", b"", b"")]
    assert (pings, protocol.pongs, protocol.greeting) == (2, 1, {"server_id": "N1", "x": 1})


@pytest.mark.parametrize(
    "received",
    [
        b"MSG\r\n",
        b"MSG a 1 x\r\n",
        b"MSG a 1 -4\r\n",
        b"MSG a 1 99999999999\r\n",
        b"INFO {\r\n",
        b"-ERR 'Authorization Violation'\r\n",
        b"x" * (limits.LINE_BYTES_MAX + 3),
    ],
)
def test_what_is_no_protocol_is_one_kind_of_error(received: bytes) -> None:
    with pytest.raises(BrokerError):
        Protocol().feed(received)
