"""Whose connection is whose: what we admitted, held against the server's own list of connections. Sans-IO.

The server lists numbers; who is behind one we know because we were asked. A connection that we were not asked about
is nobody's, and does not stay: its device comes back and is asked about.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

import msgspec

from lichtmast.ingest.broker_settings import AUTH_TIMEOUT_S
from lichtmast.ingest.errors import BrokerError
from lichtmast.registry.identity.admission import Admission
from lichtmast.wire import DeviceId


@dataclass(frozen=True, slots=True)
class Session:
    """A connection that stands, or will in a moment: its number at the server, and on which certificate."""

    connection: int
    device: DeviceId
    serial: int
    not_after_us: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the server has taken from a connection since it stands."""

    messages: int
    size_bytes: int


class _Connection(msgspec.Struct):
    cid: int
    authorized_user: str = ""
    in_msgs: int = 0
    in_bytes: int = 0


class _Connections(msgspec.Struct):
    total: int
    connections: list[_Connection]


class _Answer(msgspec.Struct):
    data: _Connections


_decoder = msgspec.json.Decoder(_Answer)


def read_listing(answer: bytes, own_user: str) -> dict[int, Traffic]:
    """The connections of devices and what they sent, from the server's answer to CONNZ.

    Raises BrokerError where it is none, or not whole.
    Only our own clients have a user name there: a session with a name would not survive a reload (docs/adr/0031).
    """
    try:
        listed = _decoder.decode(answer).data
    except ValueError as error:
        raise BrokerError("the list of connections cannot be read") from error
    if len(listed.connections) < listed.total:
        raise BrokerError(f"only {len(listed.connections)} of {listed.total} connections were listed")
    devices = (one for one in listed.connections if one.authorized_user != own_user)
    return {one.cid: Traffic(one.in_msgs, one.in_bytes) for one in devices}


@dataclass(slots=True)
class Sessions:
    """What was admitted at one run of the server, whose numbers count from its start."""

    server_id: str = ""
    _admitted: dict[int, tuple[float, Session]] = field(default_factory=dict)

    def begin(self, server_id: str) -> bool:
        """Another server, or the same after a restart: what was admitted before is gone with it. Whether it is one."""
        if server_id == self.server_id:
            return False
        self.server_id = server_id
        self._admitted.clear()
        return True

    def admit(self, session: Session, now_s: float) -> None:
        """Remember whom a connection was given to."""
        self._admitted[session.connection] = now_s, session

    def forget_gone(self, listed: Collection[int], now_s: float) -> None:
        """Let go of what ended. Who was admitted a moment ago may not be in the list yet."""
        self._admitted = {
            number: known
            for number, known in self._admitted.items()
            if number in listed or known[0] > now_s - AUTH_TIMEOUT_S
        }

    def devices(self) -> dict[int, DeviceId]:
        """Whose connection each is, as far as we admitted it."""
        return {number: one.device for number, (_, one) in self._admitted.items()}

    def unwanted(self, listed: Collection[int], admission: Admission, now_us: int) -> dict[int, DeviceId | None]:
        """What has to go, and whose it is: sessions that the register took back, and connections of nobody."""
        refused: dict[int, DeviceId | None] = {
            number: one.device
            for number, (_, one) in self._admitted.items()
            if not admission.admits(one.device, one.serial, now_us)
        }
        return refused | {number: None for number in listed if number not in self._admitted}

    def drop(self, connections: Collection[int]) -> None:
        """They have been ended; whoever still stands after that is nobody's."""
        for number in connections:
            self._admitted.pop(number, None)
