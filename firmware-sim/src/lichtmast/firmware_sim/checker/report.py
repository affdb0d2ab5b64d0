"""The checker's verdict, for people and for programs.

Will not decide anything: `judge` fills it.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

FAULTS_NAMED_MAX: Final = 1_000
"""So many faults of each kind are named; beyond it they are counted."""


class Fault(NamedTuple):
    """One thing that is wrong. `kind` is a word for programs, `message` names the pack and says what is wrong."""

    kind: str
    message: str


class Counts(NamedTuple):
    """Packs: A attempted, K known to be on disk by the device, S stored, Q in quarantine, O still in outboxes, D drops.

    Those of the jargon: A = S + Q + O + D, and K lies within S + Q.
    """

    attempted: int
    acknowledged: int
    stored: int
    quarantined: int
    outbox: int
    dropped: int


class Recovery(NamedTuple):
    """After something was done: seconds to the first acknowledgement that followed, None where none did."""

    what: str
    first_ack_s: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """`faults` is empty where everything balances and the fault of the run has bitten."""

    faults: tuple[Fault, ...]
    counts: Counts
    readings: int
    repeated: int
    duplicates: int
    bites: Mapping[str, int]
    recoveries: tuple[Recovery, ...] = ()
    seed: int | None = None
    paths: Mapping[str, int] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def as_json(self) -> dict[str, Any]:
        """Everything, with the faults named up to a limit for each kind."""
        return {
            "sound": self.sound,
            "seed": self.seed,
            "counts": self.counts._asdict(),
            "readings": self.readings,
            "repeated": self.repeated,
            "duplicates": self.duplicates,
            "bites": dict(self.bites),
            "paths": dict(self.paths),
            "recoveries": [one._asdict() for one in self.recoveries],
            "fault_counts": dict(Counter(one.kind for one in self.faults)),
            "faults": [one._asdict() for one in _named(self.faults)],
        }

    def text(self) -> str:
        """A page for people: the sums first, then each fault in a line."""
        counts = self.counts
        lines = [
            "sound" if self.sound else f"{len(self.faults)} FAULTS",
            f"  seed {self.seed}" if self.seed is not None else "",
            f"  A attempted {counts.attempted}, K acknowledged {counts.acknowledged}",
            f"  S stored {counts.stored}, Q quarantined {counts.quarantined}",
            f"  O still in outboxes {counts.outbox}, D dropped and declared {counts.dropped}",
            f"  {self.readings} readings; {self.repeated} attempts repeated, {self.duplicates} duplicates received",
        ]
        lines += [f"  rows by {name}: {rows}" for name, rows in self.paths.items()]
        lines += [f"  bite: {name} {count}" for name, count in self.bites.items()]
        lines += [
            f"  after {one.what!r}: "
            + ("no acknowledgement" if one.first_ack_s is None else f"acknowledged again in {one.first_ack_s:.2f} s")
            for one in self.recoveries
        ]
        named = list(_named(self.faults))
        lines += [f"  {one.kind}: {one.message}" for one in named]
        if len(named) < len(self.faults):
            lines.append(f"  ... and {len(self.faults) - len(named)} more")
        return "\n".join(line for line in lines if line)

    def keep(self, folder: Path, histories: Iterable[Path]) -> Path:
        """Put a failing run aside: its histories, the report as text and JSON. Returns the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for path in histories:
            if path.exists():
                shutil.copy2(path, folder / path.name)
        (folder / "report.json").write_text(json.dumps(self.as_json(), indent=1, ensure_ascii=False), encoding="utf-8")
        (folder / "report.txt").write_text(self.text() + "\n", encoding="utf-8")
        return folder


def _named(faults: Iterable[Fault]) -> list[Fault]:
    counted: Counter[str] = Counter()
    named: list[Fault] = []
    for one in faults:
        counted[one.kind] += 1
        if counted[one.kind] <= FAULTS_NAMED_MAX:
            named.append(one)
    return named
