"""DTLS 1.2 as this device speaks it, over OpenSSL's memory BIO: one session with one server (RFC 6347, RFC 7925).

`DtlsSession` takes datagrams and gives datagrams; `open_dtls` puts it on a socket. pyOpenSSL (the extra `coaps`) is
imported with this module. Chain, name and dates are checked as `identity.tls` does for TLS.

Will not: resume a session, renegotiate, or speak DTLS 1.0.
"""

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL, crypto

from lichtmast.edge.identity.refusals import IdentityRefusedError, Refusal, of_alert, of_verification
from lichtmast.edge.identity.tls import Credentials, Moment, dates_refusal
from lichtmast.edge.uplink import limits
from lichtmast.edge.uplink.errors import LinkRefusedError, UplinkError

_DTLS_1_2: Final = 0xFEFD
_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME (x509_vfy.h)."""
_OP_NO_RENEGOTIATION: Final = 1 << 30
"""SSL_OP_NO_RENEGOTIATION (ssl.h)."""
_SUITES: Final = b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305"
_HEADER_BYTES: Final = 13
"""Of a record (RFC 6347 section 4.1); its last two are the length of what follows."""


class DtlsSession:
    """A session as a client. Raises IdentityRefusedError when it is refused, UplinkError when it ends otherwise."""

    def __init__(self, credentials: Credentials, host: str, moment: Moment) -> None:
        self._host = host.partition("%")[0]
        self._moment = moment
        self._wrong = 0
        self._connection = SSL.Connection(self._context(credentials))
        self._connection.set_connect_state()
        self._connection.set_ciphertext_mtu(limits.DTLS_DATAGRAM_BYTES)
        if ":" not in self._host:
            self._connection.set_tlsext_host_name(self._host.encode("idna"))
        self.is_open = False
        self._has_heard = False

    def begin(self) -> list[bytes]:
        """The first flight."""
        self._handshake()
        return self._flight()

    def received(self, datagram: bytes) -> tuple[list[bytes], list[bytes]]:
        """What a datagram says once it is decrypted, and what to answer."""
        self._connection.bio_write(datagram)
        heard: list[bytes] = []
        if not self.is_open:
            self._handshake()
        if self.is_open:
            heard += self._read()
        return heard, self._flight()

    def sealed(self, plaintext: bytes) -> list[bytes]:
        """A datagram of ours, encrypted."""
        try:
            self._connection.send(plaintext)
        except SSL.Error as error:
            raise UplinkError("the DTLS session has ended; it is made anew") from error
        return self._flight()

    def timeout_s(self) -> float | None:
        """When `timed_out` should be called, from now; None while nothing is waited for."""
        return None if self.is_open else self._connection.DTLSv1_get_timeout()

    def timed_out(self) -> list[bytes]:
        """The last flight once more (section 4.2.4)."""
        try:
            self._connection.DTLSv1_handle_timeout()
        except SSL.Error as error:
            raise UplinkError("the server does not answer the DTLS handshake") from error
        return self._flight()

    def end(self) -> list[bytes]:
        """Say goodbye."""
        with contextlib.suppress(SSL.Error):
            self._connection.shutdown()
        return self._flight()

    def _context(self, credentials: Credentials) -> SSL.Context:
        context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
        context.set_min_proto_version(_DTLS_1_2)
        context.set_max_proto_version(_DTLS_1_2)
        context.set_cipher_list(_SUITES)
        context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_TICKET | _OP_NO_RENEGOTIATION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        try:
            context.load_verify_locations(str(credentials.trust))
            context.use_certificate_chain_file(str(credentials.certificate))
            context.use_privatekey_file(str(credentials.key))
        except SSL.Error as error:
            raise UplinkError("the kept certificate and key cannot be used; run lichtmast-edge check") from error
        store = context.get_cert_store()
        if store is not None:
            store.set_flags(crypto.X509StoreFlags.X509_STRICT | _NO_CHECK_TIME)
        context.set_verify(SSL.VERIFY_PEER, self._verified)
        return context

    def _verified(self, _connection: object, _certificate: object, wrong: int, _depth: int, is_sound: int) -> bool:
        if not is_sound and not self._wrong:
            self._wrong = wrong
        return bool(is_sound)

    def _handshake(self) -> None:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.Error as error:
            if self._wrong:
                raise IdentityRefusedError(of_verification(self._wrong)) from error
            raise _ending(error) from error
        self._check()
        self.is_open = True

    def _read(self) -> Iterator[bytes]:
        while True:
            try:
                heard = self._connection.recv(limits.DTLS_PLAINTEXT_BYTES)
            except SSL.WantReadError:
                return
            except SSL.ZeroReturnError as error:
                if not self._has_heard:  # it knows us now, and wants nothing of us
                    raise IdentityRefusedError(Refusal.NOT_ADMITTED) from error
                raise UplinkError("the server ended the DTLS session; it is made anew") from error
            except SSL.Error as error:
                raise _ending(error) from error
            self._has_heard = True
            yield heard

    def _check(self) -> None:
        """What OpenSSL was not asked: the server's name, and its dates by our time."""
        leaf = self._connection.get_peer_certificate(as_cryptography=True)
        if leaf is None:
            raise IdentityRefusedError(Refusal.SERVER_UNTRUSTED)
        if not _names(leaf, self._host):
            raise IdentityRefusedError(Refusal.SERVER_NAME)
        if not _is_for_servers(leaf):
            raise IdentityRefusedError(Refusal.SERVER_PURPOSE)
        begin_s, end_s = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
        refusal = dates_refusal(begin_s, end_s, self._moment)
        if refusal is not None:
            raise IdentityRefusedError(refusal)

    def _flight(self) -> list[bytes]:
        """What OpenSSL wants sent: its records, as many to a datagram as every IPv6 link carries."""
        raw = bytearray()
        while True:
            try:
                raw += self._connection.bio_read(limits.DTLS_FLIGHT_BYTES)
            except SSL.Error:  # WantReadError: there is no more
                break
        datagrams: list[bytes] = []
        while raw:
            size = _HEADER_BYTES + int.from_bytes(raw[_HEADER_BYTES - 2 : _HEADER_BYTES], "big")
            record, raw = bytes(raw[:size]), raw[size:]
            if datagrams and len(datagrams[-1]) + size <= limits.DTLS_DATAGRAM_BYTES:
                datagrams[-1] += record
            else:
                datagrams.append(record)
        return datagrams


class DtlsSocket(asyncio.DatagramProtocol):
    """A session on a connected socket. `on_plaintext` and `on_end` are called in the loop."""

    def __init__(self, session: DtlsSession) -> None:
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self.on_plaintext: Callable[[bytes], None] = lambda _: None  # nothing comes before something is asked
        self.on_end: Callable[[Exception], None] = lambda _: None
        self.ended: Exception | None = None

    async def wait_open(self) -> None:
        """Until the handshake is done. Raises IdentityRefusedError, UplinkError."""
        await self._opened

    def send(self, plaintext: bytes) -> None:
        """Send a datagram."""
        self._do(lambda: ([], self._session.sealed(plaintext)))

    def close(self) -> None:
        """Say goodbye, and close the socket."""
        self._put(self._session.end())
        self._leave()

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - a DatagramTransport, as asyncio promises
        """Begin the handshake."""
        self._transport = transport
        self._do(lambda: ([], self._session.begin()))

    def datagram_received(self, data: bytes, _address: object) -> None:
        """Hand on what it says."""
        self._do(lambda: self._session.received(data))

    def error_received(self, error: Exception) -> None:
        """The network says that nobody is there."""
        reason = getattr(error, "strerror", None) or type(error).__name__
        self._end(UplinkError(f"the network cannot deliver to the CoAP server: {reason}"))

    def _do(self, act: Callable[[], tuple[list[bytes], list[bytes]]]) -> None:
        if self.ended is not None:
            return
        try:
            heard, answers = act()
        except (IdentityRefusedError, UplinkError) as error:
            self._put(self._session.end())  # an alert, perhaps
            self._end(error)
            return
        self._put(answers)
        if self._session.is_open and not self._opened.done():
            self._opened.set_result(None)
        for one in heard:
            self.on_plaintext(one)
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wait_s = self._session.timeout_s()
        self._timer = None
        if wait_s is not None and self.ended is None:
            self._timer = self._loop.call_later(
                wait_s + limits.HAIR_S, self._do, lambda: ([], self._session.timed_out())
            )

    def _put(self, datagrams: list[bytes]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            for one in datagrams:
                self._transport.sendto(one)

    def _end(self, error: Exception) -> None:
        self.ended = error
        if not self._opened.done():
            self._opened.set_exception(error)
        self._leave()
        self.on_end(error)

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()
        if not self._opened.done():
            self._opened.cancel()


@contextlib.asynccontextmanager
async def open_dtls(
    address: str, port: int, credentials: Credentials, host: str, moment: Moment
) -> AsyncIterator[DtlsSocket]:
    """An open session with the server at an address. Raises UplinkError."""
    where = f"the CoAP server at [{address}]:{port}"
    session = await asyncio.to_thread(DtlsSession, credentials, host, moment)
    try:
        _, opened = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: DtlsSocket(session), remote_addr=(address, port)
        )
    except OSError as error:
        raise UplinkError(f"no UDP socket to {where}: {error.strerror}") from error
    try:
        async with asyncio.timeout(limits.DTLS_OPEN_S):
            await opened.wait_open()
        yield opened
    except IdentityRefusedError as error:
        raise LinkRefusedError(where, error.refusal) from error
    except TimeoutError as error:
        raise UplinkError(f"{where} does not answer the DTLS handshake") from error
    finally:
        opened.close()


def _names(leaf: x509.Certificate, host: str) -> bool:
    """Whether a certificate names a host, letter by letter: our servers' certificates hold no wildcards."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    if ":" in host:
        return ipaddress.IPv6Address(host) in names.get_values_for_type(x509.IPAddress)
    return host.lower().rstrip(".") in [one.lower() for one in names.get_values_for_type(x509.DNSName)]


def _is_for_servers(leaf: x509.Certificate) -> bool:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return ExtendedKeyUsageOID.SERVER_AUTH in usage


def _ending(error: SSL.Error) -> IdentityRefusedError | UplinkError:
    """What an error of OpenSSL comes to: an alert about our certificate, or an end."""
    reasons = [str(one[2]) for one in (error.args[0] if error.args and isinstance(error.args[0], list) else [])]
    for reason in reasons:
        if "alert" in reason:
            return IdentityRefusedError(of_alert(reason))
    return UplinkError(f"the DTLS session broke: {reasons[0] if reasons else type(error).__name__}")
