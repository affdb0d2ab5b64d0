"""What the devices swear to: histories read back, one account a pack.

Will not look at the server, and will not trust a half line: what a killed process left of its last one is counted.
"""

import json
from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from lichtmast.firmware_sim.history import digest

SETTLING: Final = {"ack": "acked_us", "refused": "refused_us", "dropped": "dropped_us"}


class BooksError(ValueError):
    """A history cannot be read; the message names the file and the line."""


class PackKey(NamedTuple):
    """The identity of a pack: who sent it, in which life of its outbox, with which number."""

    device: str
    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.device} epoch {self.epoch} seq {self.seq}"


class Mark(NamedTuple):
    """Something that was done to the server, and when."""

    what: str
    t_us: int


@dataclass(slots=True)
class Account:
    """One pack as its device tells it. `attempts` of 0 with an answer is a device that contradicts itself."""

    digest: str
    payload: bytes = b""
    attempts: int = 0
    attempted_us: int | None = None
    acked_us: int | None = None
    refused_us: int | None = None
    dropped_us: int | None = None

    @property
    def answered(self) -> bool:
        """Whether the server said that it has this pack, stored or in quarantine."""
        return self.acked_us is not None or self.refused_us is not None


@dataclass(slots=True)
class Books:
    """All accounts of a run. `clashes` are numbers that were used for two different packs."""

    packs: dict[PackKey, Account] = field(default_factory=dict)
    marks: list[Mark] = field(default_factory=list)
    clashes: list[PackKey] = field(default_factory=list)
    half_lines: int = 0

    @property
    def devices(self) -> frozenset[str]:
        """Who speaks in them."""
        return frozenset(key.device for key in self.packs)

    @property
    def repeated(self) -> int:
        """How many attempts were repetitions: evidence that a fault bit."""
        return sum(max(account.attempts - 1, 0) for account in self.packs.values())

    def take(self, fields: Mapping[str, Any]) -> None:
        """Enter one line. Raises KeyError, TypeError or ValueError where it is none of a history."""
        op, t_us = fields["op"], int(fields["t_us"])
        if op == "mark":
            self.marks.append(Mark(str(fields["what"]), t_us))
            return
        key = PackKey(str(fields["device"]), int(fields["epoch"]), int(fields["seq"]))
        told = str(fields["digest"])
        account = self.packs.setdefault(key, Account(told))
        if op == "attempt":
            account.attempts += 1
            if account.attempted_us is None:
                account.attempted_us = t_us
            if "payload" in fields:
                account.payload = b64decode(fields["payload"], validate=True)
                told = digest(account.payload)
            if account.digest != told:
                self.clashes.append(key)
        elif op not in SETTLING:
            raise ValueError(f"unknown op {op!r}")
        elif getattr(account, SETTLING[op]) is None:
            setattr(account, SETTLING[op], t_us)


def read_books(paths: Iterable[Path]) -> Books:
    """Read histories. A last line without its end is what a kill leaves; any other wrong line raises BooksError."""
    books = Books()
    for path in paths:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    books.half_lines += 1
                    continue
                try:
                    books.take(json.loads(line))
                except (KeyError, TypeError, ValueError) as error:
                    raise BooksError(f"{path}:{number} is no line of a history") from error
    return books
