"""Who speaks to the door: one small record an endpoint, and a bounded table of them.

Does not authenticate anyone: a peer is an address and port that anyone can forge until it has echoed (see `echo`), or
where there is DTLS the endpoint that its layer made up for a session (see `dtls.session`).
"""

import math
from collections.abc import Callable
from typing import Final

from lichtmast.ingest.coap.limits import EXCHANGE_LIFETIME_S, MESSAGE_IDS

Address = tuple[str, int, int, int]
"""As the socket gives it: host, port, flow info, scope id. Of a session: device, number, 0, 0."""


class Peer:
    """One endpoint: its place in the duplicate table, its rate, its message ids, and until when it is verified.

    `sender` is the device that it is by its certificate; empty where nobody knows.
    """

    __slots__ = ("address", "due_s", "message_id", "number", "sender", "verified_until_s")

    def __init__(self, address: Address, number: int, message_id: int) -> None:
        self.address: Final = address
        self.number: Final = number
        self.due_s = 0.0
        self.message_id = message_id
        self.sender = ""
        self.verified_until_s = 0.0

    def next_message_id(self) -> bytes:
        """A message id of ours that this peer has not seen for the longest possible time (RFC 7252 section 4.4)."""
        self.message_id = (self.message_id + 1) % MESSAGE_IDS
        return self.message_id.to_bytes(2, "big")


class PeerTable:
    """At most `peers_max` peers, in two generations: who is silent for a whole generation is forgotten.

    Two dictionaries cost nothing per request, and forgetting is one assignment. A forgotten peer loses its duplicate
    table and its used-up rate; at the default rate a generation is long enough for both to be empty by then.
    """

    def __init__(self, peers_max: int, chance: Callable[[], float], *, authenticated: bool = False) -> None:
        self._chance = chance
        self._latest_of_device: dict[str, Peer] | None = {} if authenticated else None
        self.young: dict[Address, Peer] = {}
        self._old: dict[Address, Peer] = {}
        self._generation_max = max(1, peers_max // 2)
        self._turned_s = 0.0
        self._count = 0

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def admit(self, address: Address, now_s: float) -> Peer:
        """The peer of this address, that is not in `young`: an older one moves up, an unknown one is made."""
        peer = self._old.pop(address, None)
        if peer is None:
            self._count += 1
            # Numbers never repeat, so a forgotten peer's exchanges cannot be taken for its successor's.
            peer = Peer(address, self._count, int(self._chance() * MESSAGE_IDS))
            if self._latest_of_device is not None:
                self._recognise(peer, self._latest_of_device)
        if len(self.young) >= self._generation_max:
            self._turn(now_s)
        self.young[address] = peer
        return peer

    @staticmethod
    def _recognise(peer: Peer, latest_of_device: dict[str, Peer]) -> None:
        """A session begins: it is its device's, needs no proof of address, and goes on with the device's allowance.

        Bounded by the devices in the register: only who is admitted has a session.
        """
        peer.sender = peer.address[0]
        peer.verified_until_s = math.inf
        before = latest_of_device.get(peer.sender)
        peer.due_s = 0.0 if before is None else before.due_s
        latest_of_device[peer.sender] = peer

    def tick(self, now_s: float) -> None:
        """Forget who has been silent for a lifetime."""
        if now_s - self._turned_s >= EXCHANGE_LIFETIME_S:
            self._turn(now_s)

    def _turn(self, now_s: float) -> None:
        self._old = self.young
        self.young = {}
        self._turned_s = now_s
