"""Before the cookie: what is read of a ClientHello, what is answered, and that nothing is kept (RFC 6347, 4.2.1)."""

import pytest
from dtls_town import hello_bytes
from hypothesis import given
from hypothesis import strategies as st
from identity_town import IdentityTown

from lichtmast.ingest.coap.dtls.cookies import Cookies
from lichtmast.ingest.coap.dtls.hello import (
    ClientHello,
    HelloRefused,
    hello_verify,
    is_client_hello,
    read_client_hello,
    version_alert,
)
from lichtmast.ingest.coap.dtls.limits import COOKIE_BYTES, COOKIE_TURN_S, FLIGHT_BYTES_MAX, RATE_BURST_S, SUBNETS_MAX
from lichtmast.ingest.coap.dtls.rates import HandshakeRates
from lichtmast.ingest.coap.dtls.records import in_datagrams, is_one_record
from lichtmast.ingest.coap.dtls.testing import DtlsClient, client_context

HERE = ("2001:db8::1", 40_001, 0, 0)


def read(datagram: bytes) -> ClientHello:
    assert is_client_hello(datagram)
    hello = read_client_hello(datagram)
    assert isinstance(hello, ClientHello)
    return hello


def test_a_hello_is_read_with_all_that_its_cookie_is_bound_to() -> None:
    hello = read(hello_bytes(cookie=b"biscuit", session_id=b"before", suites=b"\xc0\x2b\xc0\xae"))
    assert (hello.random, hello.cookie, hello.suites) == (b"r" * 32, b"biscuit", b"\xc0\x2b\xc0\xae")
    assert hello.parameters == b"\xfe\xfd" + b"r" * 32 + b"\x06before" + b"\x00\x04\xc0\x2b\xc0\xae" + b"\x01\x00"


def test_openssl_s_own_hello_is_read(town: IdentityTown) -> None:
    (datagram,) = DtlsClient(client_context(town.root, None, None)).start()
    hello = read(datagram)
    assert hello.cookie == b""
    assert b"\xc0\x2b" in hello.suites


def test_the_request_for_a_cookie_is_smaller_than_the_smallest_hello_and_names_its_record() -> None:
    datagram = hello_bytes()
    answer = hello_verify(read(datagram), b"c" * COOKIE_BYTES)
    assert len(answer) < len(datagram)
    assert (answer[:5], answer[5:11]) == (b"\x16\xfe\xff\x00\x00", b"\x00\x00\x00\x00\x00\x07")
    assert is_one_record(answer)
    assert len(version_alert(datagram)) == 15


@pytest.mark.parametrize(
    ("datagram", "refused"),
    [
        (hello_bytes(version=b"\xfe\xff"), HelloRefused.VERSION),
        (hello_bytes()[:-1], HelloRefused.MALFORMED),
        (hello_bytes() + b"\x00", HelloRefused.MALFORMED),
        (b"\x16\x03\x03" + hello_bytes()[3:], HelloRefused.MALFORMED),
        (hello_bytes(version=b"\x03\x03"), HelloRefused.MALFORMED),
        (hello_bytes()[:17] + b"\x00\x01" + hello_bytes()[19:], HelloRefused.MALFORMED),
        (hello_bytes()[:19] + b"\x00\x00\x09" + hello_bytes()[22:], HelloRefused.FRAGMENTED),
        (hello_bytes()[:22] + b"\x00\x00\x09" + hello_bytes()[25:], HelloRefused.FRAGMENTED),
        (hello_bytes()[:59] + b"\xff" + hello_bytes()[60:], HelloRefused.MALFORMED),
        (hello_bytes()[:60] + b"\xff" + hello_bytes()[61:], HelloRefused.MALFORMED),
        (hello_bytes()[:61] + b"\xff\xff" + hello_bytes()[63:], HelloRefused.MALFORMED),
    ],
    ids=["1.0", "cut", "longer", "tls", "tls-body", "number", "offset", "fragment", "session-id", "cookie", "suites"],
)
def test_a_hello_that_is_not_whole_or_not_ours_is_refused(datagram: bytes, refused: HelloRefused) -> None:
    assert refused is read_client_hello(datagram)


@given(st.binary(max_size=120), st.integers(0, 66))
def test_no_bytes_whatever_make_it_raise_or_read_past_the_end(noise: bytes, at: int) -> None:
    datagram = hello_bytes()
    damaged = datagram[:at] + noise + datagram[at + len(noise) :]
    for one in (noise, damaged, b"\x16" + noise):
        if is_client_hello(one):
            hello = read_client_hello(one)
            if isinstance(hello, ClientHello):
                assert len(hello.random) == 32
                assert len(hello.parameters) + len(hello.cookie) < len(one)


# Cookies.


def test_a_cookie_counts_for_its_address_and_hello_only() -> None:
    cookies = Cookies(b"s" * 32)
    parameters = read(hello_bytes()).parameters
    cookie = cookies.make(HERE, parameters, 1_000.0)
    assert cookies.verify(HERE, parameters, cookie, 1_000.0)
    for address in (("2001:db8::2", 40_001, 0, 0), ("2001:db8::1", 40_002, 0, 0), ("2001:db8::1", 40_001, 0, 3)):
        assert not cookies.verify(address, parameters, cookie, 1_000.0), address
    for other in (hello_bytes(random=b"R" * 32), hello_bytes(suites=b"\xc0\xae"), hello_bytes(session_id=b"x")):
        assert not cookies.verify(HERE, read(other).parameters, cookie, 1_000.0)
    for bad in (b"", cookie[:-1], cookie + b"x", bytes(COOKIE_BYTES)):
        assert not cookies.verify(HERE, parameters, bad, 1_000.0)
    assert not Cookies(b"S" * 32).verify(HERE, parameters, cookie, 1_000.0)


def test_a_cookie_lives_through_the_next_turn_and_no_longer() -> None:
    cookies = Cookies(b"s" * 32)
    begin_s = 40 * COOKIE_TURN_S
    cookie = cookies.make(HERE, b"hello", begin_s)
    assert cookies.verify(HERE, b"hello", cookie, begin_s + 2 * COOKIE_TURN_S - 0.01)
    assert not cookies.verify(HERE, b"hello", cookie, begin_s + 2 * COOKIE_TURN_S)
    assert 2 * COOKIE_TURN_S <= 60


# Rates.


def test_one_subnet_s_flood_leaves_room_for_the_others_until_all_is_used_up() -> None:
    rates = HandshakeRates(per_s=8, subnet_per_s=4)
    flood = [rates.admit((f"2001:db8:0:1:{number:x}::", number, 0, 0), 0.0) for number in range(20)]
    assert flood.count(True) == 4 * RATE_BURST_S
    assert rates.admit(("2001:db8:0:2::1", 1, 0, 0), 0.0)
    assert rates.admit(("fe80::1%lo", 1, 0, 1), 0.0)
    others = [rates.admit((f"2001:db8:1:{number:x}::1", 1, 0, 0), 0.0) for number in range(20)]
    assert others.count(True) == 8 * RATE_BURST_S - 4 * RATE_BURST_S - 2
    assert rates.admit(("2001:db8:0:1::1", 1, 0, 0), 0.25), "a moment later there is room again"


def test_subnets_whose_allowance_is_whole_are_forgotten() -> None:
    rates = HandshakeRates(per_s=1e9, subnet_per_s=10)
    for number in range(3 * SUBNETS_MAX):
        assert rates.admit((f"2001:db8:{number >> 8:x}:{number & 255:x}::1", 1, 0, 0), number * 0.001)
    assert len(rates) <= SUBNETS_MAX


# Records.


def test_a_flight_is_cut_between_records_and_never_longer_than_the_smallest_mtu_carries() -> None:
    records = [b"\x16\xfe\xfd" + bytes(8) + size.to_bytes(2, "big") + bytes(size) for size in (600, 600, 1_219, 10, 20)]
    datagrams = list(in_datagrams(b"".join(records)))
    assert b"".join(records) == b"".join(datagrams)
    assert [records[0] + records[1], records[2], records[3] + records[4]] == datagrams
    assert max(map(len, datagrams)) <= FLIGHT_BYTES_MAX
    assert FLIGHT_BYTES_MAX + 40 + 8 == 1_280
    assert list(in_datagrams(b"")) == []


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> IdentityTown:
    return IdentityTown(tmp_path_factory.mktemp("town"))
