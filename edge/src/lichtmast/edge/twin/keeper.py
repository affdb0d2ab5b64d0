"""Small files that are old or new and never half: written beside, synced, renamed, and the folder synced.

A file is a line with the SHA-256 of the rest, then the rest. A power cut leaves the old or the new one; a file that
was cut or altered by anything else is noticed when it is read.

Will not: know what the bytes mean, or be called from the event loop: an fsync on a card can take a second.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from lichtmast.edge.twin.errors import KeepError
from lichtmast.edge.twin.limits import FILE_BYTES_MAX
from lichtmast.wire.faultpoint import faultpoint

_DIGEST_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Kept:
    """What a file holds: nothing (both None), its bytes, or why it cannot be used."""

    content: bytes | None = None
    damage: str | None = None


class Keeper:
    """One small file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Kept:
        """What is there. Never raises: a file that cannot be used is told as damage."""
        try:
            with self.path.open("rb") as file:
                raw = file.read(FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            return Kept()
        except OSError as error:
            return Kept(damage=f"{self.path.name} cannot be read: {error.strerror}")
        digest, content = raw[:_DIGEST_LENGTH], raw[_DIGEST_LENGTH + 1 :]
        if len(raw) > FILE_BYTES_MAX or raw[_DIGEST_LENGTH : _DIGEST_LENGTH + 1] != b"\n" or digest != _digest(content):
            return Kept(damage=f"{self.path.name} is cut or altered")
        return Kept(content)

    def store(self, content: bytes) -> None:
        """Put new bytes in the place of the old. Raises KeepError; then the old ones are still there."""
        beside = self.path.with_name(f"{self.path.name}.new")
        try:
            with beside.open("wb") as file:
                file.write(_digest(content) + b"\n" + content)
                file.flush()
                os.fsync(file.fileno())
            faultpoint("edge.config_written")
            beside.replace(self.path)
            faultpoint("edge.config_renamed")
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise KeepError(
                f"{self.path} cannot be written: {error.strerror}; free the disk or mount it writable"
            ) from error


def _digest(content: bytes) -> bytes:
    return sha256(content).hexdigest().encode()
