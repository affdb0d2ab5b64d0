"""The DTLS layer without a socket: handshakes good and bad, sessions, replays, forgeries, and what it may hold."""

import time
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from dtls_town import DtlsTown, Line, connected, hello_bytes, now_us
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from identity_town import SERVER, Credentials, self_signed
from OpenSSL import SSL

from lichtmast.ingest.coap import CoapSettingsError
from lichtmast.ingest.coap.dtls import DtlsLayer
from lichtmast.ingest.coap.dtls.hello import ClientHello, hello_verify, read_client_hello
from lichtmast.ingest.coap.dtls.limits import FLIGHT_BYTES_MAX, HANDSHAKE_BYTES_MAX, HANDSHAKE_DEADLINE_S
from lichtmast.ingest.coap.dtls.testing import CCM_8, GCM, DtlsClient
from lichtmast.ingest.coap.peers import Address

LAYER = Path(__file__).parents[2] / "ingest" / "src" / "lichtmast" / "ingest" / "coap" / "dtls"
CCM = b"ECDHE-ECDSA-AES128-CCM"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> DtlsTown:
    return DtlsTown(tmp_path_factory.mktemp("town"))


@pytest.fixture(scope="module")
def lamp(town: DtlsTown) -> Credentials:
    return town.device("lm-0001")


@pytest.fixture(scope="module")
def other(town: DtlsTown) -> Credentials:
    return town.device("lm-0002")


@pytest.fixture(autouse=True)
def _all_admitted(town: DtlsTown) -> None:
    town.admit()


def verified(layer: DtlsLayer, address: Address, **hello: Any) -> bytes:  # noqa: ANN401 - passed on
    """The smallest ClientHello with the cookie that the layer gives it."""
    layer.receive(hello_bytes(**hello), address, 1.0)
    ((answer, to),) = layer.outgoing
    layer.outgoing.clear()
    assert to == address
    return hello_bytes(**hello, cookie=answer[28:])


def half_open(town: DtlsTown, layer: DtlsLayer, credentials: Credentials, port: int = 5) -> Address:
    """The address of a client that went silent after the server's first flight."""
    line = Line(layer, DtlsClient(town.context(credentials)), port, "2001:db8::5")
    for _ in range(2):
        there = line.client.start() if not line.sent else line.client.receive(line.answers()[0])
        line.sent += there
        layer.receive(there[0], line.address, 1.0)
    assert len(line.answers()) > 0
    return line.address


# Handshakes.


@pytest.mark.parametrize("suite", [GCM, CCM])
def test_a_device_is_known_by_its_certificate_and_both_sides_are_heard(
    town: DtlsTown, lamp: Credentials, suite: bytes
) -> None:
    layer = town.layer()
    line = Line(layer, DtlsClient(town.context(lamp, suites=suite)))
    line.start()
    assert line.client.is_open, line.client.failure
    connection = line.client.connection
    assert (suite.decode(), "DTLSv1.2") == (connection.get_cipher_name(), connection.get_protocol_version_name())
    assert line.hears(b"ping")
    ((_, endpoint),) = line.received
    assert endpoint[0] == "gm0402/lm-0001"
    assert layer.sighted() == [("gm0402/lm-0001", IPv6Address(line.address[0]))]
    sealed = layer.seal(b"pong", endpoint)
    assert sealed is not None
    datagram, address = sealed
    line.client.receive(datagram)
    assert (line.client.messages, line.address) == ([b"pong"], address)
    statistics = layer.statistics()
    assert (
        statistics.cookies_sent,
        statistics.handshakes_begun,
        statistics.handshakes_finished,
        statistics.handshakes_open,
        statistics.sessions,
    ) == (1, 1, 1, 0, 1)
    assert statistics.bytes_received == sum(map(len, line.sent))


def test_no_datagram_of_a_handshake_needs_a_larger_mtu_than_ipv6_promises(town: DtlsTown, lamp: Credentials) -> None:
    layer = town.layer()
    line = Line(layer, DtlsClient(town.context(lamp)))
    sizes: list[int] = []
    there = line.client.start()
    while there:
        for datagram in there:
            layer.receive(datagram, line.address, 1.0)
        back = line.answers()
        sizes += map(len, back)
        there = [one for datagram in back for one in line.client.receive(datagram)]
    assert line.client.is_open
    assert 500 < max(sizes) <= FLIGHT_BYTES_MAX


def test_a_device_that_knows_only_ccm_8_is_served_where_the_operator_says_so(town: DtlsTown, lamp: Credentials) -> None:
    for ccm_8 in (False, True):
        layer = town.layer(ccm_8=ccm_8)
        line = Line(layer, DtlsClient(town.context(lamp, suites=CCM_8)))
        line.start()
        assert ccm_8 is line.client.is_open
        assert layer.statistics().handshakes_failed == ({} if ccm_8 else {"no_shared_suite": 1})
    both = Line(layer, DtlsClient(town.context(lamp, suites=b"ECDHE-ECDSA-AES128-CCM8:" + GCM + b":@SECLEVEL=0")))
    both.start()
    assert both.client.connection.get_cipher_name() == GCM.decode(), "who knows a better suite never gets this one"


def make_none(_town: DtlsTown) -> None:
    """No certificate at all."""


def make_foreign(town: DtlsTown) -> Credentials:
    return town.device("lm-0010", issuer=self_signed("Lichtmast test devices"))


def make_of_servers(town: DtlsTown) -> Credentials:
    return town.device("lm-0010", issuer=town.town.servers)


def make_expired(town: DtlsTown) -> Credentials:
    return town.device("lm-0010", ends_in=timedelta(minutes=-5))


def make_not_yet(town: DtlsTown) -> Credentials:
    return town.device("lm-0010", starts_in=timedelta(minutes=5))


def make_server(town: DtlsTown) -> Credentials:
    return town.device("lm-0010", usage=SERVER)


def make_authority(town: DtlsTown) -> Credentials:
    return town.device("lm-0010", authority=True)


def make_renamed(town: DtlsTown) -> Credentials:
    return town.device("lm-0010", uris=["urn:dev:lm:gm0402:lm-0001"], common_name="lm-0010")


def make_nameless(town: DtlsTown) -> Credentials:
    return town.device("lm-0010", uris=[])


def make_rsa(town: DtlsTown) -> Credentials:
    return town.device("lm-0010", key=rsa.generate_private_key(65_537, 2_048))


def make_p384(town: DtlsTown) -> Credentials:
    return town.device("lm-0010", key=ec.generate_private_key(ec.SECP384R1()))


def make_unlogged(town: DtlsTown) -> Credentials:
    return town.device("lm-0001", admitted=False)


def make_stranger(town: DtlsTown) -> Credentials:
    return town.device("lm-0099", admitted=False)


def make_revoked(town: DtlsTown) -> Credentials:
    made = town.device("lm-0010")
    town.admit(revoked=[made])
    return made


def make_asleep(town: DtlsTown) -> Credentials:
    made = town.device("lm-0010")
    town.admit(asleep=[made])
    return made


@pytest.mark.usefixtures("lamp")
@pytest.mark.parametrize(
    ("make", "reason", "alert"),
    [
        (make_none, "no_certificate", "handshake failure"),
        (make_foreign, "untrusted", "unknown ca"),
        (make_of_servers, "untrusted", "unknown ca"),
        (make_expired, "expired", "certificate expired"),
        (make_not_yet, "not_yet_valid", "bad certificate"),
        (make_server, "wrong_purpose", "unsupported certificate"),
        (make_authority, "wrong_purpose", "unsupported certificate"),
        (make_renamed, "not_a_device_certificate", "certificate unknown"),
        (make_nameless, "not_a_device_certificate", "certificate unknown"),
        (make_rsa, "not_a_device_certificate", "certificate unknown"),
        (make_p384, "not_a_device_certificate", "certificate unknown"),
        (make_unlogged, "unknown_serial", "certificate unknown"),
        (make_stranger, "unknown_device", "certificate unknown"),
        (make_revoked, "revoked", "certificate revoked"),
        (make_asleep, "not_active", "certificate unknown"),
    ],
)
def test_a_certificate_that_is_not_in_order_gets_an_alert_that_says_so_and_no_session(
    tmp_path: Path, make: Callable[[DtlsTown], Credentials | None], reason: str, alert: str
) -> None:
    town = DtlsTown(tmp_path)
    town.device("lm-0001")
    spoilt = make(town)
    layer = town.layer()
    line = Line(layer, DtlsClient(town.context(spoilt)))
    line.start()
    assert not line.client.is_open
    assert line.client.failure.endswith(f"alert {alert}")
    statistics = layer.statistics()
    assert ({reason: 1}, 0, 0) == (statistics.handshakes_failed, statistics.sessions, statistics.handshakes_open)
    assert [reason] == [one for _, _, one in layer.refusals] or spoilt is None


def test_a_chain_of_a_hundred_certificates_is_cut_off_before_it_is_verified(tmp_path: Path) -> None:
    town = DtlsTown(tmp_path)
    issuer, chain = town.town.devices, b""
    for number in range(100):
        issuer = town.town.issuer(f"between {number}", under=issuer)
        chain = issuer.pem + chain
    far = town.device("lm-0001", issuer=issuer)
    far.certificate.write_bytes(far.certificate.read_bytes() + chain)
    layer = town.layer()
    line = Line(layer, DtlsClient(town.context(far)))
    line.start()
    assert not line.client.is_open
    assert layer.statistics().handshakes_failed == {"too_large": 1}


def test_between_a_device_and_the_authority_that_is_trusted_there_is_nothing(tmp_path: Path) -> None:
    town = DtlsTown(tmp_path)
    trusted = self_signed("an authority that allows others below it")
    town.town.trust_also(trusted)
    between = town.town.issuer("between", under=trusted)
    layer = town.layer()
    connected(town, layer, town.device("lm-0001", issuer=trusted))
    far = town.device("lm-0002", issuer=between)
    far.certificate.write_bytes(far.certificate.read_bytes() + between.pem)
    line = Line(layer, DtlsClient(town.context(far)), 40_002)
    line.start()
    assert layer.statistics().handshakes_failed == {"untrusted": 1}


def test_a_fault_while_a_certificate_is_judged_lets_nobody_in(
    town: DtlsTown, lamp: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = town.layer()
    monkeypatch.setattr(town, "admission", None)
    line = Line(layer, DtlsClient(town.context(lamp)))
    line.start()
    assert (layer.statistics().handshakes_failed, layer.statistics().sessions) == ({"fault": 1}, 0)


def test_a_device_that_is_revoked_between_its_certificate_and_its_last_flight_gets_no_session(
    tmp_path: Path,
) -> None:
    town = DtlsTown(tmp_path)
    lamp = town.device()
    layer = town.layer()
    line = Line(layer, DtlsClient(town.context(lamp), mtu_bytes=256))
    there = line.client.start()
    for _ in range(2):
        for datagram in there:
            layer.receive(datagram, line.address, 1.0)
        there = [one for datagram in line.answers() for one in line.client.receive(datagram)]
    *first, last = there
    for datagram in first:
        layer.receive(datagram, line.address, 1.0)
    assert line.answers() == []
    town.admit(revoked=[lamp])
    layer.receive(last, line.address, 1.0)
    line.answers()
    assert (layer.statistics().handshakes_failed, layer.statistics().sessions) == ({"not_admitted": 1}, 0)


@pytest.mark.parametrize("suites", [b"\x00\xa8\xc0\xa8", b"\x13\x01", b"\x00\x2f"], ids=["psk", "1.3", "rsa"])
def test_a_client_without_a_suite_of_ours_is_told_so_and_keeps_nothing_busy(town: DtlsTown, suites: bytes) -> None:
    layer = town.layer()
    address: Address = ("2001:db8::7", 5, 0, 0)
    layer.receive(verified(layer, address, suites=suites), address, 1.0)
    layer.work(1.0, now_us())
    ((alert, _),) = layer.outgoing
    assert alert[:3] + alert[13:] == b"\x15\xfe\xfd\x02\x28", "handshake_failure"
    assert (layer.statistics().handshakes_failed, layer.statistics().handshakes_open) == ({"no_shared_suite": 1}, 0)


def test_a_client_for_dtls_1_0_gets_an_alert_and_nothing_is_kept(town: DtlsTown) -> None:
    layer = town.layer()
    layer.receive(hello_bytes(version=b"\xfe\xff"), ("2001:db8::7", 5, 0, 0), 1.0)
    ((alert, _),) = layer.outgoing
    assert alert[13:] == b"\x02\x46", "protocol_version"
    assert layer.statistics().discarded == {"hello_version": 1}


def test_a_session_is_never_resumed_so_that_revocation_holds(tmp_path: Path) -> None:
    town = DtlsTown(tmp_path)
    lamp = town.device()
    layer = town.layer()
    context = town.context(lamp)
    first = Line(layer, DtlsClient(context))
    first.start()
    session = first.client.connection.get_session()
    assert session is not None
    town.admit(revoked=[lamp])
    second = Line(layer, DtlsClient(context), 40_002)
    second.client.connection.set_session(session)
    second.start()
    assert not second.client.is_open
    assert layer.statistics().handshakes_failed == {"revoked": 1}


def test_a_renegotiation_is_refused_and_the_session_goes_on(town: DtlsTown, lamp: Credentials) -> None:
    layer = town.layer()
    line = connected(town, layer, lamp)
    line.client.connection.renegotiate()
    with pytest.raises(SSL.WantReadError):
        line.client.connection.do_handshake()
    datagram = line.client.connection.bio_read(4_096)
    assert datagram[0] == 22
    layer.receive(datagram, line.address, 1.0)
    (alert,) = line.answers()
    assert alert[0] == 21
    statistics = layer.statistics()
    assert (statistics.handshakes_begun, statistics.sessions, statistics.handshakes_open) == (1, 1, 0)


# Loss, order, copies.


@pytest.mark.slow
def test_a_handshake_survives_the_loss_of_any_one_datagram(town: DtlsTown) -> None:
    mtu_bytes = 500  # more datagrams to lose
    whole = Line(town.layer(), DtlsClient(town.context(town.device("lm-0100")), mtu_bytes=mtu_bytes))
    whole.start()
    datagrams = whole._count
    assert datagrams >= 8
    layer = town.layer()
    lines = [
        Line(layer, DtlsClient(town.context(town.device(f"lm-1{k:03}")), mtu_bytes=mtu_bytes), 41_000 + k)
        for k in range(1, datagrams + 1)
    ]
    for k, line in enumerate(lines, 1):
        line.carry(line.client.start(), lose=lambda number, k=k: number == k)  # type: ignore[misc]  # bound default
    assert any(not line.client.is_open for line in lines), "or nothing was lost"
    wait_open(layer, lines)
    assert all(line.hears(b"here") for line in lines)
    assert layer.statistics().sessions == len(lines)


@pytest.mark.slow
@pytest.mark.parametrize(
    "order",
    [lambda flight: flight[::-1], lambda flight: flight + flight, lambda flight: [*flight[1:], *flight[:1], *flight]],
    ids=["reversed", "twice", "mixed"],
)
def test_a_handshake_survives_flights_out_of_order_and_copies_of_them(
    town: DtlsTown, lamp: Credentials, order: Callable[[list[bytes]], list[bytes]]
) -> None:
    layer = town.layer()
    line = Line(layer, DtlsClient(town.context(lamp), mtu_bytes=500))
    line.carry(line.client.start(), order=order)
    wait_open(layer, [line])
    assert line.hears(b"here")
    assert layer.statistics().handshakes_finished == 1


def wait_open(layer: DtlsLayer, lines: list[Line]) -> None:
    """Let both sides repeat what is overdue until all handshakes are done; OpenSSL's timers are its own."""
    deadline_s = time.monotonic() + 20
    while not all(line.client.is_open for line in lines):
        assert time.monotonic() < deadline_s, [line.client.failure for line in lines if not line.client.is_open]
        time.sleep(0.02)
        layer.tick(1.0, now_us())
        for line in lines:
            line.carry([one for answer in line.answers() for one in line.client.receive(answer)])
            line.carry(line.client.repeat())


def test_messages_may_overtake_each_other_but_none_counts_twice(town: DtlsTown, lamp: Credentials) -> None:
    layer = town.layer()
    line = connected(town, layer, lamp)
    sealed = [line.client.seal(b"%d" % number) for number in range(40)]
    heard = [message for one in sealed[::-1] + sealed for message, _ in layer.receive(one, line.address, 1.0)]
    assert [b"%d" % number for number in range(39, -1, -1)] == heard
    assert layer.statistics().discarded == {"record": 40}
    for number in range(100):
        line.hears(b"on %d" % number)
    assert list(layer.receive(sealed[0], line.address, 1.0)) == [], "behind the window"


def test_several_messages_in_one_datagram_are_all_heard(town: DtlsTown, lamp: Credentials) -> None:
    layer = town.layer()
    line = connected(town, layer, lamp)
    datagram = line.client.seal(b"one") + line.client.seal(b"two") + b"\x17\xfe\xfd cut"
    assert [message for message, _ in layer.receive(datagram, line.address, 1.0)] == [b"one", b"two"]


def test_a_pack_goes_ahead_of_handshakes_that_wait(town: DtlsTown, lamp: Credentials) -> None:
    layer = town.layer()
    line = connected(town, layer, lamp)
    for number in range(50):
        address: Address = ("2001:db8:1::1", number, 0, 0)
        layer.receive(verified(layer, address), address, 1.0)
    assert [message for message, _ in layer.receive(line.client.seal(b"first"), line.address, 1.0)] == [b"first"]
    assert layer.has_work
    assert layer.statistics().handshakes_open == 50


# Sessions and who replaces whom.


def test_a_device_that_restarted_keeps_its_old_session_until_the_new_one_is_finished(
    town: DtlsTown, lamp: Credentials
) -> None:
    layer = town.layer()
    old = connected(town, layer, lamp)
    new = DtlsClient(town.context(lamp))
    (hello,) = new.start()
    layer.receive(hello, old.address, 1.0)
    assert old.hears(b"a hello without cookie changes nothing")
    old.client.messages.clear()
    assert layer.statistics().handshakes_begun == 1
    line = Line(layer, DtlsClient(town.context(lamp)))
    there = line.client.start()
    for _ in range(2):
        for datagram in there:
            layer.receive(datagram, line.address, 1.0)
        there = [one for datagram in line.answers() for one in line.client.receive(datagram)]
    assert layer.statistics().handshakes_open == 1
    assert [message for message, _ in layer.receive(old.client.seal(b"half-way"), old.address, 1.0)] == [b"half-way"]
    line.carry(there)
    assert line.hears(b"new")
    assert list(layer.receive(old.client.seal(b"too late"), old.address, 1.0)) == []
    assert (layer.statistics().sessions, layer.statistics().sessions_ended) == (1, {"replaced": 1})


def test_a_device_that_moved_has_one_session_and_its_old_address_is_told(town: DtlsTown, lamp: Credentials) -> None:
    layer = town.layer()
    old = connected(town, layer, lamp, 40_001)
    new = connected(town, layer, lamp, 40_002)
    old.carry([one for answer in old.answers() for one in old.client.receive(answer)])
    assert old.client.is_closed
    assert new.hears(b"here")
    assert layer.statistics().sessions == 1
    assert old.received == []


def test_beyond_the_most_sessions_the_one_that_is_silent_longest_ends(town: DtlsTown) -> None:
    layer = town.layer(sessions_max=2)
    lines: list[Line] = []
    for number in range(3):
        if number == 2:
            lines[0].now_s = 7.0
            assert lines[0].hears(b"still here")
        lines.append(connected(town, layer, town.device(f"lm-2{number:03}"), 42_000 + number))
    assert (layer.statistics().sessions, layer.statistics().sessions_ended) == (2, {"evicted": 1})
    assert [one.hears(b"who is left") for one in lines] == [True, False, True]


def test_beyond_the_most_handshakes_the_oldest_makes_room_and_half_open_ones_end(
    town: DtlsTown, lamp: Credentials, other: Credentials
) -> None:
    layer = town.layer(handshakes_max=3)
    for port in range(5):
        half_open(town, layer, other, port)
    statistics = layer.statistics()
    assert (statistics.handshakes_open, statistics.handshakes_failed) == (3, {"crowded_out": 2})
    connected(town, layer, lamp)
    assert layer.statistics().handshakes_open == 2
    layer.tick(1.0 + HANDSHAKE_DEADLINE_S - 0.1, now_us())
    assert layer.statistics().handshakes_open == 2
    layer.tick(1.0 + HANDSHAKE_DEADLINE_S, now_us())
    statistics = layer.statistics()
    assert (statistics.handshakes_open, statistics.handshakes_failed) == (0, {"crowded_out": 3, "timeout": 2})


def test_more_handshakes_than_a_subnet_may_begin_are_not_begun(town: DtlsTown, lamp: Credentials) -> None:
    layer = town.layer(subnet_handshakes_per_s=4.0)
    for number in range(15):
        address: Address = ("2001:db8:6::5", number, 0, 0)
        layer.receive(verified(layer, address), address, 1.0)
    assert (layer.statistics().handshakes_begun, layer.statistics().discarded) == (8, {"rate_limited": 7})
    connected(town, layer, lamp)


def test_a_copy_of_a_hello_begins_nothing_again(town: DtlsTown, lamp: Credentials) -> None:
    layer = town.layer()
    line = connected(town, layer, lamp)
    with_cookie = line.sent[1]
    layer.receive(with_cookie, line.address, 1.0)
    assert (layer.statistics().handshakes_begun, layer.statistics().discarded) == (1, {"copy": 1})
    address: Address = ("2001:db8::5", 1, 0, 0)
    for _ in range(2):
        layer.receive(verified(layer, address), address, 1.0)
    assert (layer.statistics().handshakes_begun, layer.statistics().handshakes_open) == (2, 1)
    layer.receive(verified(layer, address, random=b"R" * 32), address, 1.0)
    assert (layer.statistics().handshakes_begun, layer.statistics().handshakes_open) == (3, 1)
    assert layer.statistics().handshakes_failed == {"begun_again": 1}


def test_a_session_ends_with_its_certificate(tmp_path: Path) -> None:
    town = DtlsTown(tmp_path)
    short, long = town.device("lm-0001", ends_in=timedelta(minutes=5)), town.device("lm-0002")
    layer = town.layer()
    lines = [connected(town, layer, short, 40_001), connected(town, layer, long, 40_002)]
    layer.tick(1.0, short.not_after_us - 1)
    assert layer.statistics().sessions == 2
    layer.tick(1.0, short.not_after_us)
    for line in lines:
        line.carry([one for answer in line.answers() for one in line.client.receive(answer)])
    assert [line.client.is_closed for line in lines] == [True, False]
    assert layer.statistics().sessions_ended == {"expired": 1}
    layer.tick(1.0, long.not_after_us)
    assert layer.statistics().sessions == 0


def test_a_new_admission_ends_the_sessions_that_it_refuses_and_no_others(tmp_path: Path) -> None:
    town = DtlsTown(tmp_path)
    devices = [town.device(f"lm-000{number}") for number in range(4)]
    layer = town.layer()
    lines = [connected(town, layer, one, 40_000 + number) for number, one in enumerate(devices)]
    admission = town.admit(revoked=[devices[0]], asleep=[devices[2]])
    assert layer.renew(admission, now_us()) == 2
    assert layer.renew(admission, now_us()) == 0
    for line in lines:
        line.carry([one for answer in line.answers() for one in line.client.receive(answer)])
    assert [line.client.is_closed for line in lines] == [True, False, True, False]
    again = Line(layer, DtlsClient(town.context(devices[0])), 45_000)
    again.start()
    assert not again.client.is_open
    assert layer.statistics().sessions_ended == {"not_admitted": 2}


def test_a_device_that_says_goodbye_is_forgotten_and_its_answers_go_nowhere(town: DtlsTown, lamp: Credentials) -> None:
    layer = town.layer()
    line = connected(town, layer, lamp)
    line.hears(b"last words")
    ((_, endpoint),) = line.received
    line.carry(line.client.close())
    assert (layer.statistics().sessions, layer.statistics().sessions_ended) == (0, {"by_device": 1})
    assert layer.seal(b"answer", endpoint) is None
    connected(town, layer, lamp)
    assert layer.seal(b"answer", endpoint) is None, "not to its next session either"


def test_closing_says_goodbye_to_everybody(town: DtlsTown, lamp: Credentials) -> None:
    layer = town.layer()
    line = connected(town, layer, lamp)
    layer.close()
    line.carry([one for answer in line.answers() for one in line.client.receive(answer)])
    assert line.client.is_closed


def test_new_certificate_files_are_for_new_handshakes_and_broken_ones_change_nothing(tmp_path: Path) -> None:
    town = DtlsTown(tmp_path)
    lamp = town.device()
    layer = town.layer()
    line = connected(town, layer, lamp)
    before = line.client.connection.get_peer_certificate(as_cryptography=True)
    town.town.server()
    layer.reload()
    assert line.hears(b"the old session goes on")
    after = connected(town, layer, lamp, 40_002).client.connection.get_peer_certificate(as_cryptography=True)
    assert before != after
    for file in (town.town.server_key, town.town.device_trust, town.town.server_certificate):
        content = file.read_bytes()
        file.write_bytes(b"-----BEGIN RUBBISH")
        with pytest.raises(CoapSettingsError, match=r"cannot speak DTLS with .*write them again"):
            layer.reload()
        file.write_bytes(content)
    connected(town, layer, lamp, 40_003)


def test_devices_of_an_authority_that_came_with_a_roll_over_are_trusted_beside_the_others(tmp_path: Path) -> None:
    town = DtlsTown(tmp_path)
    next_issuer = town.town.issuer("Lichtmast next devices")
    old, new = town.device("lm-0001"), town.device("lm-0002", issuer=next_issuer)
    layer = town.layer()
    town.town.trust_also(next_issuer)
    layer.reload()
    connected(town, layer, old, 40_001)
    connected(town, layer, new, 40_002)


@pytest.mark.parametrize(
    "changes",
    [{"sessions_max": 0}, {"handshakes_max": 0}, {"handshakes_per_s": 0.0}, {"subnet_handshakes_per_s": -1.0}],
)
def test_limits_that_cannot_work_are_refused(town: DtlsTown, changes: dict[str, Any]) -> None:
    with pytest.raises(CoapSettingsError, match=next(iter(changes))):
        town.dtls(**changes)


# Forgeries and floods.


def test_a_cookie_from_another_address_gets_another_cookie_and_nothing_else(town: DtlsTown) -> None:
    layer = town.layer()
    stolen = verified(layer, ("2001:db8::5", 1, 0, 0))
    layer.receive(stolen, ("2001:db8::6", 1, 0, 0), 1.0)
    layer.receive(stolen, ("2001:db8::5", 1, 0, 0), 61.0)
    statistics = layer.statistics()
    assert (statistics.handshakes_begun, statistics.handshakes_open, statistics.discarded) == (0, 0, {"cookie": 2})
    hello = read_client_hello(stolen)
    assert isinstance(hello, ClientHello)
    assert [len(hello_verify(hello, b"c" * 16))] * 2 == [len(answer) for answer, _ in layer.outgoing]


@pytest.mark.slow
def test_ten_thousand_forged_hellos_keep_memory_flat_and_get_back_less_than_they_sent(town: DtlsTown) -> None:
    layer = town.layer()
    hello = hello_bytes()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(10_000):
            layer.receive(hello, (f"2001:db8::{number:x}", number, 0, 0), 1.0)
            layer.outgoing.clear()
        grown_bytes = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    statistics = layer.statistics()
    assert grown_bytes < 8_192
    assert (
        statistics.cookies_sent,
        statistics.handshakes_begun,
        statistics.handshakes_open,
        statistics.sessions,
    ) == (10_000, 0, 0, 0)
    assert statistics.bytes_sent <= statistics.bytes_received
    assert not layer.has_work


def test_forged_and_damaged_records_leave_a_session_as_it_is(town: DtlsTown, lamp: Credentials) -> None:
    layer = town.layer()
    line = connected(town, layer, lamp)
    sealed = line.client.seal(b"true")
    forged = [
        sealed[:3] + b"\x00\x00" + sealed[5:],  # an epoch that is over
        sealed[:3] + b"\x00\x02" + sealed[5:],  # one that has not begun
        sealed[:3] + b"\xff\xff" + sealed[5:],
        sealed[:10] + b"\x63" + sealed[11:],  # another record number
        sealed[:-1] + bytes([sealed[-1] ^ 1]),
        sealed[:1] + b"\xfe\xff" + sealed[3:],
        sealed[:20],
        sealed[:11] + b"\xff\xff" + sealed[13:],
        b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x28",  # a fatal alert in the clear
        b"\x15\xfe\xfd\x00\x01" + bytes(6) + b"\x00\x02\x01\x00",  # a goodbye that nobody sealed
        b"\x14\xfe\xfd" + bytes(8) + b"\x00\x01\x01",  # change cipher spec
        b"\x16\xfe\xfd\x00\x01" + bytes(6) + b"\x00\x0c" + bytes(12),
        b"",
        b"\x17",
        b"\x40\x02\x00\x01\xb2up",  # CoAP in the clear
    ]
    assert [()] * len(forged) == [tuple(layer.receive(one, line.address, 1.0)) for one in forged]
    assert layer.receive(sealed, line.address, 1.0) != ()
    assert (layer.statistics().sessions, layer.statistics().sessions_ended) == (1, {})


def test_bytes_without_end_from_one_handshake_end_it(town: DtlsTown, lamp: Credentials) -> None:
    layer = town.layer()
    address = half_open(town, layer, lamp)
    assert layer.statistics().handshakes_open == 1
    for _ in range(HANDSHAKE_BYTES_MAX // 1_000 + 1):
        layer.receive(b"\x16\xfe\xfd" + bytes(997), address, 1.0)
    while layer.has_work:
        layer.work(1.0, now_us())
    assert (layer.statistics().handshakes_failed, layer.statistics().handshakes_open) == ({"too_large": 1}, 0)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_datagrams_whatever_make_it_raise_or_end_a_session(
    town: DtlsTown, lamp: Credentials, other: Credentials, data: st.DataObject
) -> None:
    layer = town.layer(handshakes_max=2)
    line = connected(town, layer, lamp)
    silent = half_open(town, layer, other)
    seeds = [*line.sent, line.client.seal(b"x"), hello_bytes()][:5]
    for _ in range(data.draw(st.integers(1, 8))):
        seed = data.draw(st.sampled_from(seeds))
        at = data.draw(st.integers(0, 2_000)) % len(seed)
        noise = data.draw(st.binary(max_size=40))
        layer.receive(
            seed[:at] + noise + seed[at + len(noise) :], data.draw(st.sampled_from([line.address, silent])), 1.0
        )
        if layer.has_work:
            layer.work(1.0, now_us())
    layer.tick(1.0, now_us())
    line.answers()
    statistics = layer.statistics()
    assert (statistics.sessions, statistics.handshakes_open <= 2) == (1, True)
    assert line.hears(b"still here")
