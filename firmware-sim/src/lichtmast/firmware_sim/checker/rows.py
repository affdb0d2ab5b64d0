"""Every stored reading against every reading that was sent: none lost, none twice, none altered, none invented.

Will not know a register: which datastream carries which series is given, or learned from the rows themselves.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lichtmast.firmware_sim.checker.books import Account, Books, PackKey
from lichtmast.firmware_sim.checker.evidence import Row, Value
from lichtmast.wire import PackError, decode
from lichtmast.wire.senml import sniff

Series = tuple[str, str]
"""(device, suffix)."""


class Sent(NamedTuple):
    """One reading as it left its device."""

    key: PackKey
    suffix: str
    time_us: int
    value: Value

    def __str__(self) -> str:
        return f"{self.key} {self.suffix}"


@dataclass(slots=True)
class RowFaults:
    """What is wrong with the rows of one path; what is missing is judged by the pack's fate."""

    altered: list[tuple[Sent, Row]] = field(default_factory=list)
    doubled: list[Sent] = field(default_factory=list)
    shifted: list[tuple[Sent, Row]] = field(default_factory=list)
    phantoms: list[Row] = field(default_factory=list)
    missing: list[Sent] = field(default_factory=list)
    invisible: list[Sent] = field(default_factory=list)
    """Readings of series of which this path shows nothing at all."""
    found: set[PackKey] = field(default_factory=set)
    """Packs of which at least one reading was recognised."""


def sent_readings(books: Books) -> list[Sent]:
    """Every reading of every pack whose bytes the history has. A pack that is no pack has none."""
    return [one for key, account in books.packs.items() for one in _readings(key, account)]


def _readings(key: PackKey, account: Account) -> Iterator[Sent]:
    if not account.payload or account.attempted_us is None:
        return
    try:
        pack = decode(account.payload, sniff(account.payload), account.attempted_us)
    except PackError:
        return  # wrong on purpose: it belongs in quarantine, as bytes
    for record in pack.records:
        if record.value is not None and not isinstance(record.value, bytes):  # no profile has a series of bytes or sums
            yield Sent(key, pack.suffix_of(record), record.time_us, record.value)


def compare(sent: Iterable[Sent], rows: Sequence[Row], series: Mapping[Series, int], *, closed: bool) -> RowFaults:
    """Match each row with the reading that it is. `closed`: no other device exists, so any other row is a phantom."""
    found = RowFaults()
    visible = {row.datastream for row in rows}
    wanted: dict[tuple[int, int], Sent] = {}
    for one in sent:
        datastream = series.get((one.key.device, one.suffix))
        if datastream is None or datastream not in visible:
            found.invisible.append(one)
        else:
            wanted.setdefault((datastream, one.time_us), one)  # of equal keys the store keeps the first
    ours = set(series.values())
    seen: set[tuple[int, int]] = set()
    strangers: list[Row] = []
    for row in rows:
        place = (row.datastream, row.time_us)
        reading = wanted.get(place)
        if reading is None:
            if closed or row.datastream in ours:
                strangers.append(row)
            continue
        found.found.add(reading.key)
        if place in seen:
            found.doubled.append(reading)
        elif not same(row.value, reading.value):
            found.altered.append((reading, row))
        seen.add(place)
    lost: dict[tuple[int, Value], list[Sent]] = defaultdict(list)
    for (datastream, _), reading in ((place, one) for place, one in wanted.items() if place not in seen):
        lost[datastream, reading.value].append(reading)
    for row in strangers:
        if alike := lost.get((row.datastream, row.value)):
            reading = alike.pop(0)
            found.found.add(reading.key)
            found.shifted.append((reading, row))
        else:
            found.phantoms.append(row)
    found.missing += [one for alike in lost.values() for one in alike]
    return found


def learn_series(sent: Sequence[Sent], rows: Sequence[Row]) -> dict[Series, int]:
    """Which datastream carries which series, by where its times and values are found.

    A match of time and value weighs as much as many of time alone. Truth values of one device that are equal in every
    pack cannot be told apart; then any choice is as good, and the order of the profile decides.
    """
    at: dict[int, list[Sent]] = defaultdict(list)
    for one in sent:
        at[one.time_us].append(one)
    votes: Counter[tuple[Series, int]] = Counter()
    for row in rows:
        for one in at.get(row.time_us, ()):
            votes[(one.key.device, one.suffix), row.datastream] += 100 if same(row.value, one.value) else 1
    order = {series: place for place, series in enumerate(dict.fromkeys((one.key.device, one.suffix) for one in sent))}
    learned: dict[Series, int] = {}
    taken: set[int] = set()
    for (series, datastream), _ in sorted(votes.items(), key=lambda vote: (-vote[1], vote[0][1], order[vote[0][0]])):
        if series not in learned and datastream not in taken:
            learned[series] = datastream
            taken.add(datastream)
    return learned


def same(stored: Value, sent: Value) -> bool:
    """Whether they are the same value; a truth value may have become a number on the way."""
    if isinstance(stored, str) or isinstance(sent, str):
        return stored == sent
    return float(stored) == float(sent)
