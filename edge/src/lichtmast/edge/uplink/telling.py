"""What the way up says of its troubles, in the log and upstream, and how rarely: once, and not at each try.

Pure: time comes in. Will not: decide anything about a pack or a link.
"""

import logging
from collections.abc import Callable
from typing import Final

from lichtmast.edge.uplink import limits

_LOG: Final = logging.getLogger(__name__)
_UNHEARD_HINT: Final = "the broker takes packs and no server confirms them: is the device registered? tenant and name?"


class Telling:
    """Tell it what happens; the callables report upstream and get a reason."""

    def __init__(self, on_ack_refused: Callable[[str], None], on_pack_refused: Callable[[str], None]) -> None:
        self._on_ack_refused, self._on_pack_refused = on_ack_refused, on_pack_refused
        self.last_refusal = ""
        self._link = ""
        self._trouble = ""  # told, and nothing was confirmed since
        self._is_down = False
        self._refusals: dict[str, float] = {}
        self._ack_refused_at_s = float("-inf")
        self._acknowledged = False
        self._unheard_since_s: float | None = None

    def interrupted(self, link: str, reason: str) -> None:
        """A link broke, or could not be opened."""
        is_new = reason != self._trouble
        self._trouble = reason
        self._is_down |= is_new
        _LOG.log(
            logging.WARNING if is_new else logging.INFO, "uplink_interrupted", extra={"link": link, "reason": reason}
        )

    def opened(self, link: str, *, speaks: bool) -> None:
        """A link is open; one that `speaks` has an other side, where CoAP has an address so far."""
        self._link = link
        self._unheard_since_s = None
        if speaks:
            self._connected()

    def confirmed(self) -> None:
        """The server has a pack: what troubled before is over."""
        self._trouble = ""
        self._connected()

    def handed(self, now_s: float) -> None:
        """The broker took a pack."""
        if self._acknowledged:
            return
        if self._unheard_since_s is None:
            self._unheard_since_s = now_s
        elif now_s - self._unheard_since_s >= limits.UNHEARD_S:
            self._acknowledged = True  # or as good as: it is told once
            _LOG.warning("nobody_acknowledges", extra={"link": self._link, "hint": _UNHEARD_HINT})

    def acknowledged(self) -> None:
        """Somebody acknowledges, whatever it says."""
        self._acknowledged = True

    def pack_refused(self, seq: int, reason: str, now_s: float, detail: str = "") -> None:
        """The server refused a pack for good. `detail` is told too, and makes a reason no other."""
        reason = reason[: limits.REASON_LENGTH_MAX]
        text = self.last_refusal = (f"{reason}: {detail}" if detail else reason)[: limits.REASON_LENGTH_MAX]
        key = reason if reason in self._refusals or len(self._refusals) < limits.REASONS_MAX else ""
        is_due = now_s - self._refusals.get(key, float("-inf")) >= limits.REFUSAL_S
        _LOG.log(logging.WARNING if is_due else logging.INFO, "pack_refused", extra={"reason": text, "seq": seq})
        if is_due:
            self._refusals[key] = now_s
            self._on_pack_refused(text)

    def ack_refused(self, reason: str, now_s: float) -> None:
        """An acknowledgement is not believed."""
        _LOG.warning("acknowledgement_refused", extra={"reason": reason})
        if now_s - self._ack_refused_at_s >= limits.ACK_COMPLAINT_S:
            self._ack_refused_at_s = now_s
            self._on_ack_refused(reason)

    def _connected(self) -> None:
        if self._is_down:
            self._is_down = False
            _LOG.warning("uplink_connected", extra={"link": self._link})
