"""DTLS 1.2 under the CoAP core as a state machine: datagrams and time in, plaintext with its device and datagrams out.

What it does: cookies, limits on handshakes, admission, sessions, their end. What it will not: sockets, clocks, CoAP.
Until an address has sent back its cookie nothing is kept for it. Handshakes and goodbyes wait in a queue for `work`, so
that whoever drives the layer can let the packs of standing sessions go first. OpenSSL alone touches keys and records;
its timer for repeated flights is its own.
"""

from collections import Counter, deque
from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import Final

from OpenSSL import SSL, crypto

from lichtmast.ingest.coap.dtls.context import Contexts
from lichtmast.ingest.coap.dtls.cookies import Cookies
from lichtmast.ingest.coap.dtls.handshake import Handshake, written
from lichtmast.ingest.coap.dtls.hello import (
    ClientHello,
    HelloRefused,
    hello_verify,
    is_client_hello,
    read_client_hello,
    version_alert,
)
from lichtmast.ingest.coap.dtls.limits import (
    HANDSHAKE_BYTES_MAX,
    HANDSHAKE_DEADLINE_S,
    RECORD_OVERHEAD_BYTES,
    REFUSALS_REPORTED_MAX,
    SEALED_BYTES_MAX,
)
from lichtmast.ingest.coap.dtls.rates import HandshakeRates
from lichtmast.ingest.coap.dtls.records import APPLICATION_DATA, is_one_record
from lichtmast.ingest.coap.dtls.session import Session
from lichtmast.ingest.coap.dtls.settings import Dtls
from lichtmast.ingest.coap.dtls.statistics import DtlsStatistics
from lichtmast.ingest.coap.peers import Address
from lichtmast.registry.identity import Admission

_NEVER_US: Final = 1 << 63


class DtlsLayer:
    """All handshakes and sessions of one port. Not thread-safe; `now_s` is monotonic, `now_us` is the wall clock's.

    What is to be sent collects in `outgoing`; whoever drives the layer sends it and empties the list.
    """

    def __init__(self, dtls: Dtls, secret: bytes) -> None:
        self._dtls = dtls
        self._cookies = Cookies(secret)
        self._rates = HandshakeRates(dtls.handshakes_per_s, dtls.subnet_handshakes_per_s)
        self.outgoing: list[tuple[bytes, Address]] = []
        self.refusals: list[tuple[str, str, str]] = []
        """Host, claimed device and reason of certificates that were refused since someone emptied the list; bounded."""
        self._handshakes: dict[Address, Handshake] = {}
        self._steps: deque[tuple[Handshake, bytes]] = deque()
        self._by_address: dict[Address, Session] = {}
        self._by_device: dict[str, Session] = {}
        self._by_number: dict[int, Session] = {}
        self._leaving: deque[Session] = deque()
        self._count = 0
        self._now_us = 0
        self._earliest_end_us = _NEVER_US
        self._failed: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self._discarded: Counter[str] = Counter()
        self._cookies_sent = self._begun = self._finished = self._bytes_received = self._bytes_sent = 0
        self.reload()

    def reload(self) -> None:
        """Read the certificates again for the handshakes to come. Raises CoapSettingsError, keeping the old ones."""
        self._contexts = Contexts(self._dtls, self._judge)

    # Datagrams.

    def receive(self, datagram: bytes, address: Address, now_s: float) -> Sequence[tuple[bytes, Address]]:
        """Take one datagram: the messages in it, each with its session's endpoint. Never raises."""
        if not datagram:
            return ()
        self._bytes_received += len(datagram)
        session = self._by_address.get(address)
        if session is not None and datagram[:1] == _APPLICATION_DATA and is_one_record(datagram):
            return self._open(session, datagram, now_s)
        handshake = self._handshakes.get(address)
        if is_client_hello(datagram):
            self._greet(datagram, address, now_s)
        elif handshake is not None and datagram[:1] != _APPLICATION_DATA:
            self._wait(handshake, datagram)
        elif session is not None:
            return self._open_many(session, datagram, now_s)
        else:
            self._discarded["no_session"] += 1
        return ()

    def seal(self, message: bytes, endpoint: Address) -> tuple[bytes, Address] | None:
        """A message to the session that has this endpoint, as datagram and address; None where it has ended."""
        session = self._by_number.get(endpoint[1])
        if session is None:
            return None
        try:
            session.connection.send(message)
            datagram = session.connection.bio_read(len(message) + RECORD_OVERHEAD_BYTES)
        except SSL.Error:
            self._end(session, "protocol")
            return None
        self._bytes_sent += len(datagram)
        return datagram, session.address

    def _open(self, session: Session, datagram: bytes, now_s: float) -> Sequence[tuple[bytes, Address]]:
        """One record: the way of nearly every datagram, so OpenSSL is asked once."""
        connection = session.connection
        connection.bio_write(datagram)
        try:
            message = connection.recv(SEALED_BYTES_MAX)
        except SSL.WantReadError:
            # Forged, damaged or replayed: OpenSSL drops the record and keeps the session (RFC 6347 section 4.1.2).
            self._discarded["record"] += 1
            return ()
        except SSL.Error:
            self._end(session, "protocol")
            return ()
        session.heard_s = now_s
        return ((message, session.endpoint),)

    def _open_many(self, session: Session, datagram: bytes, now_s: float) -> Sequence[tuple[bytes, Address]]:
        """Several records, a flight that is repeated, or an alert."""
        connection = session.connection
        connection.bio_write(datagram)
        messages: list[tuple[bytes, Address]] = []
        try:
            while True:
                messages.append((connection.recv(SEALED_BYTES_MAX), session.endpoint))
        except SSL.WantReadError:
            self._send(connection, session.address)
        except SSL.ZeroReturnError:
            self._end(session, "by_device")
        except SSL.Error:
            self._end(session, "protocol")
        if messages:
            session.heard_s = now_s
        else:
            self._discarded["record"] += 1
        return messages

    # Handshakes.

    def _greet(self, datagram: bytes, address: Address, now_s: float) -> None:
        """A ClientHello: its cookie first, whoever it is (sections 4.2.1 and 4.2.8)."""
        hello = read_client_hello(datagram)
        if isinstance(hello, HelloRefused):
            self._discarded[hello.value] += 1
            if hello is HelloRefused.VERSION:
                self._put(version_alert(datagram), address)
            return
        if not self._cookies.verify(address, hello.parameters, hello.cookie, now_s):
            self._discarded["cookie"] += bool(hello.cookie)
            self._cookies_sent += 1
            self._put(hello_verify(hello, self._cookies.make(address, hello.parameters, now_s)), address)
            return
        session, handshake = self._by_address.get(address), self._handshakes.get(address)
        if session is not None and session.random == hello.random:
            self._discarded["copy"] += 1
        elif handshake is not None and handshake.hello.random == hello.random:
            self._wait(handshake, datagram)
        elif not self._rates.admit(address, now_s):
            self._discarded["rate_limited"] += 1
        else:
            if handshake is not None:
                self._fail(handshake, "begun_again")
            elif len(self._handshakes) >= self._dtls.handshakes_max:
                # An honest one takes a second; the oldest is the likeliest to be nobody's any more.
                self._fail(next(iter(self._handshakes.values())), "crowded_out")
            self._begin(hello, datagram, address, now_s)

    def _begin(self, hello: ClientHello, datagram: bytes, address: Address, now_s: float) -> None:
        self._begun += 1
        handshake = self._handshakes[address] = Handshake(address, hello, now_s)
        self._wait(handshake, datagram)

    def _wait(self, handshake: Handshake, datagram: bytes) -> None:
        handshake.received_bytes += len(datagram)
        if handshake.received_bytes > HANDSHAKE_BYTES_MAX:
            self._fail(handshake, "too_large")
        else:
            self._steps.append((handshake, datagram))

    @property
    def has_work(self) -> bool:
        """Whether a handshake or a goodbye waits for `work`."""
        return bool(self._steps or self._leaving)

    def work(self, now_s: float, now_us: int) -> None:
        """Say one goodbye or take one step of one handshake: up to half a millisecond."""
        if self._leaving:
            self._say_goodbye(self._leaving.popleft())
            return
        if not self._steps:
            return
        handshake, datagram = self._steps.popleft()
        if handshake.ended:
            return
        self._now_us = now_us
        try:
            finished = handshake.advance(datagram, self._contexts)
        except SSL.Error as error:
            self._fail(handshake, handshake.reason(error))
            return
        if handshake.connection is not None:
            self._send(handshake.connection, handshake.address)
        if finished:
            self._admit(handshake, now_s)

    def _judge(self, connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, _sound: int) -> bool:
        handshake = connection.get_app_data()
        if not isinstance(handshake, Handshake):
            return False
        try:
            return handshake.judge(certificate, error, depth, self._dtls.admission(), self._now_us)
        except Exception:  # noqa: BLE001 - what no rule foresaw is refused; OpenSSL cannot pass an exception on
            handshake.refused = "fault"
            return False

    def _admit(self, handshake: Handshake, now_s: float) -> None:
        """The handshake is done: its device's session replaces the one before, wherever that was."""
        connection, admitted = handshake.connection, handshake.admitted
        if connection is None or admitted is None:
            self._fail(handshake, "no_certificate")
            return
        if not self._dtls.admission().admits(admitted.device, admitted.serial, self._now_us):
            self._fail(handshake, "not_admitted")  # revoked between its certificate and its last flight
            return
        self._leave(handshake)
        self._finished += 1
        self._count += 1
        address = handshake.address
        connection.set_app_data(None)
        session = Session(connection, admitted, address, handshake.hello.random, self._count, now_s)
        for before in (self._by_address.get(address), self._by_device.get(session.device)):
            if before is not None and before.endpoint[1] in self._by_number:
                self._end(before, "replaced", tell=before.address != address)
        if len(self._by_number) >= self._dtls.sessions_max:
            self._end(min(self._by_number.values(), key=lambda one: one.heard_s), "evicted")
        self._by_address[address] = self._by_device[session.device] = self._by_number[self._count] = session
        self._earliest_end_us = min(self._earliest_end_us, admitted.not_after_us)

    def _fail(self, handshake: Handshake, reason: str) -> None:
        self._leave(handshake)
        self._failed[reason] += 1
        if handshake.refused:
            if self._dtls.on_refused is not None:
                self._dtls.on_refused(handshake.claimed, reason)
            if len(self.refusals) < REFUSALS_REPORTED_MAX:
                self.refusals.append((handshake.address[0], handshake.claimed, reason))
        for datagram in handshake.farewell():
            self._put(datagram, handshake.address)

    def _leave(self, handshake: Handshake) -> None:
        handshake.ended = True
        del self._handshakes[handshake.address]

    # Time, and the end of sessions.

    def tick(self, now_s: float, now_us: int) -> None:
        """Act on time. Call it every TICK_S."""
        self._now_us = now_us
        for handshake in list(self._handshakes.values()):
            if now_s - handshake.begun_s >= HANDSHAKE_DEADLINE_S:
                self._fail(handshake, "timeout")
            elif handshake.connection is not None:
                self._repeat(handshake, handshake.connection)
        if now_us >= self._earliest_end_us:
            self._end_expired(now_us)

    def _repeat(self, handshake: Handshake, connection: SSL.Connection) -> None:
        try:
            handshake.repeat()
        except SSL.Error:
            self._fail(handshake, "timeout")
        else:
            self._send(connection, handshake.address)

    def _end_expired(self, now_us: int) -> None:
        for session in list(self._by_number.values()):
            if session.admitted.not_after_us <= now_us:
                self._end(session, "expired")
        self._earliest_end_us = min((one.admitted.not_after_us for one in self._by_number.values()), default=_NEVER_US)

    def renew(self, admission: Admission, now_us: int) -> int:
        """End at once every session that this admission does not bear; how many those are."""
        refused = [
            session
            for session in self._by_number.values()
            if not admission.admits(session.admitted.device, session.admitted.serial, now_us)
        ]
        for session in refused:
            self._end(session, "not_admitted")
        return len(refused)

    def close(self) -> None:
        """End every session, and say all goodbyes."""
        for session in list(self._by_number.values()):
            self._end(session, "closed")
        while self._leaving:
            self._say_goodbye(self._leaving.popleft())

    def _end(self, session: Session, reason: str, *, tell: bool = True) -> None:
        del self._by_number[session.endpoint[1]]
        if self._by_address.get(session.address) is session:
            del self._by_address[session.address]
        if self._by_device.get(session.device) is session:
            del self._by_device[session.device]
        self._ended[reason] += 1
        if tell:
            # Nothing of it is heard from here on; to seal 5,000 goodbyes at once would keep the others waiting.
            self._leaving.append(session)

    def _say_goodbye(self, session: Session) -> None:
        try:
            session.connection.shutdown()
        except SSL.Error:
            return  # a session that has failed has nothing more to say
        self._send(session.connection, session.address)

    def _send(self, connection: SSL.Connection, address: Address) -> None:
        for datagram in written(connection):
            self._put(datagram, address)

    def _put(self, datagram: bytes, address: Address) -> None:
        self._bytes_sent += len(datagram)
        self.outgoing.append((datagram, address))

    def sighted(self) -> list[tuple[str, IPv6Address]]:
        """Devices that have a session, and from where."""
        return [(name, IPv6Address(session.address[0])) for name, session in self._by_device.items()]

    def statistics(self) -> DtlsStatistics:
        """What was counted, and what is held now."""
        return DtlsStatistics(
            cookies_sent=self._cookies_sent,
            handshakes_begun=self._begun,
            handshakes_finished=self._finished,
            handshakes_failed=dict(self._failed),
            handshakes_open=len(self._handshakes),
            sessions=len(self._by_number),
            sessions_ended=dict(self._ended),
            discarded={reason: count for reason, count in self._discarded.items() if count},
            bytes_received=self._bytes_received,
            bytes_sent=self._bytes_sent,
        )


_APPLICATION_DATA: Final = bytes((APPLICATION_DATA,))
