"""What a fetch from the log brought: one element a pack, in log order, whoever sent it by whatever door."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from lichtmast.ingest.pipeline.roster import UNKNOWN, Roster
from lichtmast.store.port import Transport
from lichtmast.wire import topics
from lichtmast.wire.envelope import Enclosed, EnvelopeError, disclose
from lichtmast.wire.identity import IdentityError
from lichtmast.wire.replay import Action, Ordered, read_orders

_ENVELOPES: Final = frozenset({topics.COAP_DOOR_SUBJECT, topics.REPLAY_SUBJECT})
_1970: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
RECEPTION_SPREAD_US: Final = 100_000
"""Messages of one fetch that came within this time share the time of the last; asking each costs a tenth of the CPU."""


_COLUMNS: Final = (
    *("payload", "device", "sender", "received_us", "log_seq", "part", "content_format", "transport", "messages"),
)


class Message(Protocol):
    """What is used of a log message."""

    @property
    def subject(self) -> str:
        """Where it was published."""

    @property
    def payload(self) -> bytes:
        """What was published."""

    @property
    def stream_sequence(self) -> int:
        """Its position in the log."""

    @property
    def published(self) -> datetime:
        """When the log took it."""


@dataclass(slots=True)
class Arrivals:
    """Columns, one element a pack.

    `device` is the roster's row of the sender, or UNKNOWN; `sender` its name as far as the transport tells it (empty
    where it does not). `received_us` is when the door or the log took it, at most RECEPTION_SPREAD_US late.
    `content_format` is 0 where the transport tells none.
    """

    payload: list[bytes] = field(default_factory=list)
    device: list[int] = field(default_factory=list)
    sender: list[str] = field(default_factory=list)
    received_us: list[int] = field(default_factory=list)
    log_seq: list[int] = field(default_factory=list)
    part: list[int] = field(default_factory=list)
    content_format: list[int] = field(default_factory=list)
    transport: list[int] = field(default_factory=list)
    last_position: int = 0
    any_coap: bool = False
    messages: list[Message | None] = field(default_factory=list)
    """The log message of each pack whose time is shared; None where `received_us` is exact."""
    orders: dict[int, tuple[Ordered, int]] = field(default_factory=dict)
    """Rows, ascending, that no device sent: orders about the quarantine, and when the log took them. Such a row is the
    pack of the entry as it came in then; that of a discard is no pack at all."""

    def __len__(self) -> int:
        return len(self.payload)

    def make_exact(self, row: int) -> None:
        """Give a pack its own time of reception: where it has none itself, this becomes the reading's."""
        message = self.messages[row]
        if message is not None:
            self.received_us[row] = _microseconds(message.published)

    def ordered(self) -> npt.NDArray[np.bool_]:
        """Which packs came back from the quarantine."""
        rows: npt.NDArray[np.bool_] = np.zeros(len(self), np.bool_)
        rows[list(self.orders)] = True
        return rows

    def device_rows(self) -> npt.NDArray[np.int32]:
        """The column `device` as an array."""
        return np.array(self.device, np.int32)


def collect(messages: Sequence[Message], roster: Roster) -> Arrivals:
    """Lay out the messages of one fetch; envelopes are opened, all else is kept as it came."""
    first, last = messages[0].stream_sequence, messages[-1].stream_sequence
    subjects = [message.subject for message in messages]
    payloads = [message.payload for message in messages]
    count = len(messages)
    received_us = _received(messages)
    positions = list(range(first, last + 1))
    if len(positions) != count:  # messages in between were deleted from the log
        positions = [message.stream_sequence for message in messages]
    device_of = roster.device_of_subject
    devices = [device_of.get(subject, UNKNOWN) for subject in subjects]
    arrivals = Arrivals(
        payload=payloads,
        device=devices,
        sender=[
            roster.names[row] if row >= 0 else _sender(subject) for row, subject in zip(devices, subjects, strict=True)
        ],
        received_us=received_us,
        log_seq=positions,
        part=[0] * count,
        content_format=[0] * count,
        transport=[int(Transport.MQTT)] * count,
        last_position=last,
        messages=list(messages),
    )
    if not _ENVELOPES.isdisjoint(subjects):
        return _opened(arrivals, subjects, roster)
    return arrivals


def first_payload(subject: str, payload: bytes) -> bytes:
    """What `collect` makes the payload of the first pack of a log message."""
    with suppress(EnvelopeError):
        if subject == topics.COAP_DOOR_SUBJECT:
            return next((pack.payload for pack in disclose(payload)), payload)
        if subject == topics.REPLAY_SUBJECT:
            return next((_payload(order) for order in read_orders(payload)), payload)
    return payload


def _received(messages: Sequence[Message]) -> list[int]:
    first_us, last_us = _microseconds(messages[0].published), _microseconds(messages[-1].published)
    if last_us - first_us <= RECEPTION_SPREAD_US:
        return [last_us] * len(messages)
    return [_microseconds(message.published) for message in messages]


def _microseconds(moment: datetime) -> int:
    return (moment - _1970) // _MICROSECOND


def _sender(subject: str) -> str:
    try:
        return str(topics.device_of_subject(subject))
    except IdentityError:
        return ""


def _opened(closed: Arrivals, subjects: list[str], roster: Roster) -> Arrivals:
    """Replace each envelope by the packs in it. A damaged envelope stays as it is, for the quarantine."""
    opened = Arrivals(last_position=closed.last_position, any_coap=topics.COAP_DOOR_SUBJECT in subjects)
    for row, subject in enumerate(subjects):
        packs: Sequence[Enclosed | Ordered] = ()
        with suppress(EnvelopeError):
            if subject == topics.COAP_DOOR_SUBJECT:
                packs = disclose(closed.payload[row])
            elif subject == topics.REPLAY_SUBJECT:
                packs = orders = read_orders(closed.payload[row])
                ordered_us = _ordered_us(closed, row)
                opened.orders |= {at: (one, ordered_us) for at, one in enumerate(orders, len(opened))}
        if packs:
            _add(opened, packs, closed.log_seq[row], roster)
            continue
        for name in _COLUMNS:
            getattr(opened, name).append(getattr(closed, name)[row])
    return opened


def _add(opened: Arrivals, packs: Sequence[Enclosed | Ordered], log_seq: int, roster: Roster) -> None:
    """The packs of one envelope, each with its own sender and time."""
    count = len(packs)
    transport = Transport.COAP if isinstance(packs[0], Enclosed) else Transport.REPLAY
    opened.payload += [_payload(pack) for pack in packs]
    opened.device += [roster.device_of_name.get(pack.sender, UNKNOWN) for pack in packs]
    opened.sender += [pack.sender for pack in packs]
    opened.received_us += [pack.received_us for pack in packs]
    opened.log_seq += [log_seq] * count
    opened.part += range(count)
    opened.content_format += [pack.content_format for pack in packs]
    opened.transport += [int(transport)] * count
    opened.messages += [None] * count


def _payload(pack: Enclosed | Ordered) -> bytes:
    """A discard has none: what names it stands in its place, so that its line of the ledger has a digest."""
    if isinstance(pack, Ordered) and pack.action is Action.DISCARD:
        return pack.key
    return pack.payload


def _ordered_us(closed: Arrivals, row: int) -> int:
    message = closed.messages[row]
    return closed.received_us[row] if message is None else _microseconds(message.published)
