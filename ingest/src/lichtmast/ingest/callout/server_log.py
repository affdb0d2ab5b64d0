"""What the server refuses by itself, and tells in its log file only: handshakes, passwords, topics of others.

MQTT 3.1.1 has no word for a denied publish, and TLS ends a handshake before anybody is asked about it. So that these
are counted and shown like every other refusal, the server's log is read along. `refusal_of` is the sans-IO half.
"""

import os
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final

from lichtmast.ingest.callout import limits
from lichtmast.ingest.callout.rules import CalloutReason, RefusedConnection
from lichtmast.registry.identity.admission import AdmissionReason
from lichtmast.wire import DeviceId
from lichtmast.wire.identity import IdentityError


class ServerReason(StrEnum):
    """Why the server refuses without asking us."""

    TLS_VERSION = "tls_version"
    FOREIGN_ISSUER = "foreign_issuer"
    HANDSHAKE_FAILED = "handshake_failed"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105 - a reason
    TOPIC_NOT_ALLOWED = "topic_not_allowed"
    PAYLOAD_TOO_LARGE = "payload_too_large"


_LINE: Final = re.compile(
    r"\[ERR\] (?P<source>\S+?):\d+ - mid:\d+ -(?: (?P<client>\"(?:[^\"\\]|\\.)*\") -)? (?P<said>.+)"
)
_MEANINGS: Final = (
    ("TLS handshake error: tls: client didn't provide a certificate", CalloutReason.NO_CERTIFICATE),
    ("TLS handshake error: tls: client offered only unsupported versions", ServerReason.TLS_VERSION),
    ("signed by unknown authority", ServerReason.FOREIGN_ISSUER),
    ("certificate has expired or is not yet valid: current time", AdmissionReason.EXPIRED),
    ("incompatible key usage", AdmissionReason.NOT_A_DEVICE_CERTIFICATE),
    ("TLS handshake error: EOF", None),  # somebody knocked and went
    ("TLS handshake error", ServerReason.HANDSHAKE_FAILED),
    ("authentication error - User ", ServerReason.WRONG_PASSWORD),
    ("Publish Violation", ServerReason.TOPIC_NOT_ALLOWED),
    ("Subscription Violation", ServerReason.TOPIC_NOT_ALLOWED),
    ("maximum payload exceeded", ServerReason.PAYLOAD_TOO_LARGE),
)


def refusal_of(line: str, own_users: tuple[str, ...]) -> RefusedConnection | None:
    """The refusal that a line of the log tells; None for every other line, and for what the callout was asked about."""
    found = _LINE.search(line)
    if found is None:
        return None
    said = found["said"]
    reason = next((reason for text, reason in _MEANINGS if text in said), None)
    if reason is None:
        return None
    if reason is ServerReason.WRONG_PASSWORD and not said.endswith(tuple(f'User "{name}"' for name in own_users)):
        return None  # a name of nobody's goes through the callout
    if reason is AdmissionReason.EXPIRED and " is before " in said:
        reason = AdmissionReason.NOT_YET_VALID
    client = (found["client"] or '""')[1:-1][: limits.SHOWN_CHARACTERS_MAX]
    is_signed_in = reason in (ServerReason.TOPIC_NOT_ALLOWED, ServerReason.PAYLOAD_TOO_LARGE)
    return RefusedConnection(_device(client) if is_signed_in else None, reason, found["source"].strip("[]"), client)


def _device(client: str) -> DeviceId | None:
    """Whose session it is: the callout let in nobody under another client id."""
    try:
        return DeviceId.from_urn(client)
    except IdentityError:
        return None


class LogFile:
    """A log file that grows and is rotated; what stood in it at the beginning is not read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        self._file.seek(0, os.SEEK_END)
        self._rest = b""

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def new_lines(self) -> Iterator[str]:
        """What was written since the last call, as far as lines are whole, and no more than LOG_READ_BYTES."""
        read = self._file.read(limits.LOG_READ_BYTES)
        if not read and self._is_rotated():
            self._file.close()
            self._file = self._path.open("rb")
            read = self._file.read(limits.LOG_READ_BYTES)
        *lines, self._rest = (self._rest + read).split(b"\n")
        self._rest = self._rest[-limits.LOG_READ_BYTES :]
        return (line.decode("utf-8", "replace") for line in lines)

    def _is_rotated(self) -> bool:
        try:
            return self._path.stat().st_ino != os.fstat(self._file.fileno()).st_ino
        except FileNotFoundError:  # in the middle of it
            return False
