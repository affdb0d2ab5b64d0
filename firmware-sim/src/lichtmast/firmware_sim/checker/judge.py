"""The verdict: the devices' books against all that the server shows (I1 to I4, I8).

As in Jepsen a result is ok, refused or unknown: a pack whose attempt nobody answered may be stored, at most once. Pure:
histories and rows come in, a report goes out. Nothing of the server's own code decides here, only the wire's decoder.

    K within S + Q      what a device was told is on disk, is there
    S within A          nothing is there that nobody sent
    one row per key     and each with the bytes, values and times that were sent
    A = S + Q + O + D   every number has one fate
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from lichtmast.firmware_sim.checker.books import Books, PackKey
from lichtmast.firmware_sim.checker.evidence import Evidence, Fate, Row
from lichtmast.firmware_sim.checker.report import Counts, Fault, Recovery, Report
from lichtmast.firmware_sim.checker.rows import RowFaults, Sent, compare, learn_series, same, sent_readings
from lichtmast.firmware_sim.history import digest

_US: Final = 1_000_000


def check(
    books: Books,
    evidence: Evidence,
    *,
    drained: bool = True,
    closed: bool = True,
    fingerprint: Callable[[bytes], object] | None = None,
    bites: Mapping[str, int] | None = None,
    seed: int | None = None,
) -> Report:
    """Judge a run.

    `drained`: devices had the time to hear of every pack, so one without an answer is a fault. `closed`: nobody but
    these devices has ever spoken, so every other row is a phantom. `fingerprint` is how the server's ledger makes its
    digests. Each of `bites` is a count that proves that the run's fault did something; 0 makes the run vacuous.
    """
    sent = sent_readings(books)
    fates = _Fates.of(books, evidence, sent, closed=closed)
    faults = [
        *_vacuous(bites or {}),
        *_devices_contradict_themselves(books),
        *_ledger(books, evidence, fates, fingerprint, closed=closed),
        *_quarantine(books, evidence, fates),
        *_drops(books, evidence, fates),
        *_conservation(books, evidence, fates, drained=drained),
        *_readings(evidence, fates),
        *_paths_agree(evidence),
        *_shown(evidence),
        *_audit(evidence, fates, closed=closed),
    ]
    return Report(
        faults=tuple(faults),
        counts=fates.counts,
        readings=len(sent),
        repeated=books.repeated,
        duplicates=sum(one.fate is Fate.DUPLICATE for one in evidence.arrivals or ()),
        bites=bites or {},
        recoveries=tuple(_recoveries(books)),
        seed=seed,
        paths={name: len(rows) for name, rows in evidence.paths.items()},
    )


@dataclass(frozen=True, slots=True)
class _Fates:
    """What became of each pack by the server's own word: S, Q, D; and by the devices': K, O."""

    stored: Counter[PackKey]
    quarantined: Counter[PackKey]
    replayed: Counter[PackKey]
    dropped: frozenset[PackKey]
    outbox: frozenset[PackKey]
    rows: Mapping[str, RowFaults]
    counts: Counts

    @classmethod
    def of(cls, books: Books, evidence: Evidence, sent: list[Sent], *, closed: bool) -> "_Fates":
        rows: dict[str, RowFaults] = {}
        for name, found in evidence.paths.items():
            series = evidence.series if evidence.series is not None else learn_series(sent, found)
            rows[name] = compare(sent, found, series, closed=closed)
        replayed = Counter(one.key for one in evidence.arrivals or () if one.fate is Fate.REPLAYED)
        if evidence.arrivals is None:  # without the ledger the rows themselves tell, and the refusals
            stored = Counter(dict.fromkeys((key for one in rows.values() for key in one.found), 1))
            refused = (key for key, account in books.packs.items() if account.refused_us is not None)
            quarantined = Counter(dict.fromkeys(refused, 1))
        else:
            stored = Counter(one.key for one in evidence.arrivals if one.fate is Fate.STORED) + replayed
            quarantined = Counter(one.key for one in evidence.arrivals if one.fate is Fate.QUARANTINED) - replayed
        if evidence.dropped is None:
            declared = (key for key, account in books.packs.items() if account.dropped_us is not None)
            dropped = frozenset(key for key in declared if key not in stored and key not in quarantined)
        else:
            dropped = frozenset(evidence.dropped)
        if evidence.outbox is None:
            outbox = frozenset(
                key
                for key, account in books.packs.items()
                if not account.answered and not (key in stored or key in quarantined or key in dropped)
            )
        else:
            outbox = frozenset(evidence.outbox)
        counts = Counts(
            attempted=len(books.packs),
            acknowledged=sum(account.answered for account in books.packs.values()),
            stored=len(stored),
            quarantined=len(quarantined),
            outbox=len(outbox - stored.keys() - quarantined.keys()),
            dropped=len(dropped),
        )
        return cls(stored, quarantined, replayed, dropped, outbox, rows, counts)


def _vacuous(bites: Mapping[str, int]) -> Iterator[Fault]:
    for name, count in bites.items():
        if count <= 0:
            yield Fault("vacuous", f"{name} is {count}: the fault did not bite, so this run proves nothing")


def _devices_contradict_themselves(books: Books) -> Iterator[Fault]:
    for key in books.clashes:
        yield Fault("number_reused", f"{key}: the device used this number for two different packs")
    for key, account in books.packs.items():
        if not account.attempts and account.answered:
            yield Fault("answered_unasked", f"{key}: answered, but the device never attempted it")


def _ledger(
    books: Books,
    evidence: Evidence,
    fates: _Fates,
    fingerprint: Callable[[bytes], object] | None,
    *,
    closed: bool,
) -> Iterator[Fault]:
    """K within S + Q, S within A, one line a key, equal digests."""
    for key, account in books.packs.items():
        if account.acked_us is not None and key not in fates.stored and key not in fates.quarantined:
            yield Fault("acknowledged_and_lost", f"{key}: acknowledged, but neither stored nor in quarantine")
        if account.refused_us is not None and key not in fates.quarantined and key not in fates.replayed:
            yield Fault("refused_and_lost", f"{key}: refused, so it belongs in quarantine, but it is not there")
    kept = fates.stored + fates.quarantined
    devices = books.devices
    for key, times in kept.items():
        if times > 1:
            yield Fault("stored_twice", f"{key}: {times} times in the ledger as stored or quarantined")
        if key not in books.packs and (closed or key.device in devices):
            yield Fault("phantom_pack", f"{key}: in the ledger, but no device ever sent it")
    if fingerprint is None:
        return
    for one in evidence.arrivals or ():
        sent = books.packs.get(one.key)
        if sent is not None and sent.payload and one.digest is not None and one.digest != fingerprint(sent.payload):
            yield Fault("other_bytes", f"{one.key}: the ledger's digest is not that of the pack that was sent")


def _quarantine(books: Books, evidence: Evidence, fates: _Fates) -> Iterator[Fault]:
    """Every pack that the ledger or an answer calls refused lies in quarantine with exactly its bytes."""
    if evidence.quarantine is None:
        return
    held = {digest(payload) for payload in evidence.quarantine}
    for key in fates.quarantined:
        sent = books.packs.get(key)
        if sent is not None and sent.digest not in held:
            yield Fault("quarantine_lost", f"{key}: quarantined, but its bytes are not in the quarantine")


def _drops(books: Books, evidence: Evidence, fates: _Fates) -> Iterator[Fault]:
    """What the server counts as dropped was declared by its device and never came; what was declared is counted."""
    if evidence.dropped is None:
        return
    for key, account in books.packs.items():
        came = key in fates.stored or key in fates.quarantined
        if account.dropped_us is not None and not came and key not in fates.dropped:
            yield Fault("drop_uncounted", f"{key}: declared as dropped by its device, but the server does not count it")
        if account.dropped_us is None and key in fates.dropped:
            yield Fault("drop_invented", f"{key}: counted as dropped, but its device never declared that")
    for key in fates.dropped:
        if key in fates.stored or key in fates.quarantined:
            yield Fault("dropped_and_there", f"{key}: counted as dropped, but it is there")


def _conservation(books: Books, evidence: Evidence, fates: _Fates, *, drained: bool) -> Iterator[Fault]:
    """A = S + Q + O + D: each number has exactly one fate, and after a drained run none is open."""
    for key, account in books.packs.items():
        there = key in fates.stored or key in fates.quarantined
        if key in fates.stored and key in fates.quarantined:
            yield Fault("two_fates", f"{key}: stored and in quarantine")
        if account.answered or key in fates.dropped or account.dropped_us is not None:
            continue
        if not there and evidence.outbox is not None and key not in fates.outbox:
            yield Fault("nowhere", f"{key}: sent, not answered, and neither stored, quarantined, dropped nor kept")
        elif drained:
            where = "although the server has it" if there else "and the server does not have it"
            yield Fault("unanswered", f"{key}: sent and never answered, {where}")


def _readings(evidence: Evidence, fates: _Fates) -> Iterator[Fault]:
    """One row for each reading of a stored pack, with its value and time; and no other rows."""
    for path, rows in fates.rows.items():
        for one, row in rows.altered:
            yield Fault("altered", f"{one}: sent {one.value!r}, {path} shows {row.value!r}")
        for one, row in rows.shifted:
            yield Fault(
                "shifted", f"{one}: sent at {one.time_us} us, {path} shows it {row.time_us - one.time_us:+d} us away"
            )
        for one in rows.doubled:
            yield Fault("row_twice", f"{one} at {one.time_us} us: {path} shows it more than once")
        for row in rows.phantoms:
            yield Fault(
                "phantom_row",
                f"datastream {row.datastream} at {row.time_us} us: {path} shows {row.value!r}, which no device sent",
            )
        for one in rows.missing if path in evidence.partial else [*rows.missing, *rows.invisible]:
            if one.key in fates.stored:
                yield Fault("row_lost", f"{one} at {one.time_us} us: its pack is stored, but {path} does not show it")
        for key in rows.found - fates.stored.keys():
            yield Fault("row_unbooked", f"{key}: {path} shows readings of it, but the ledger does not call it stored")


def _paths_agree(evidence: Evidence) -> Iterator[Fault]:
    """Two ways to read the same store show the same: what one shows of a datastream, the other shows too.

    A datastream of which one shows nothing at all is the business of `_readings`.
    """
    (first, *others) = evidence.paths.items() or [("", ())]
    for name, rows in others:
        both = {row.datastream for row in first[1]} & {row.datastream for row in rows}
        here, there = ({row[:2]: row.value for row in one if row.datastream in both} for one in (first[1], rows))
        for place in here.keys() ^ there.keys():
            only, without = (first[0], name) if place in here else (name, first[0])
            yield Fault("paths_differ", f"datastream {place[0]} at {place[1]} us: {only} shows it, {without} does not")
        for place in here.keys() & there.keys():
            if not same(here[place], there[place]):
                yield Fault(
                    "paths_differ",
                    f"datastream {place[0]} at {place[1]} us: {first[0]} shows {here[place]!r}, "
                    f"{name} {there[place]!r}",
                )


def _shown(evidence: Evidence) -> Iterator[Fault]:
    """I8: a value that somebody has seen is still there."""
    for path, rows in evidence.paths.items():
        there: dict[tuple[int, int], Row] = {(row.datastream, row.time_us): row for row in rows}
        for seen in evidence.shown:
            row = there.get((seen.datastream, seen.time_us))
            if row is None or not same(row.value, seen.value):
                now = "nothing" if row is None else repr(row.value)
                yield Fault(
                    "vanished",
                    f"datastream {seen.datastream} at {seen.time_us} us: somebody was shown {seen.value!r}, "
                    f"{path} shows {now}",
                )


def _audit(evidence: Evidence, fates: _Fates, *, closed: bool) -> Iterator[Fault]:
    """The server's own books balance, and come to the same sums as ours."""
    if evidence.audit is None:
        return
    told = evidence.audit.get("faults", [])
    for one in told if isinstance(told, list) else [told]:
        yield Fault("audit", str(one))
    if not closed or evidence.arrivals is None:
        return
    for name, ours in (("stored", sum(fates.stored.values())), ("dropped", len(fates.dropped))):
        theirs = evidence.audit.get(name)
        if theirs is not None and theirs != ours:
            yield Fault("audit", f"the server's audit counts {theirs} {name}, the devices' books {ours}")


def _recoveries(books: Books) -> Iterator[Recovery]:
    acks = sorted(account.acked_us for account in books.packs.values() if account.acked_us is not None)
    for mark in books.marks:
        at = bisect_right(acks, mark.t_us)
        yield Recovery(mark.what, (acks[at] - mark.t_us) / _US if at < len(acks) else None)
