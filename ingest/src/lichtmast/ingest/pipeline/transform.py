"""The heart of the pipeline: arrivals in, one store batch and the acknowledgements out. No I/O, no clock.

Two steps, because some packs are doubtful until the store was asked: `prepare` decodes everything and advances the
sequences; it returns the keys that only the store knows. `settle` takes the store's answers and makes the batch.
After a failed commit the transform is thrown away: its sequences are ahead of the store.
"""

from dataclasses import dataclass
from functools import partial
from itertools import groupby

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from xxhash import xxh3_64_intdigest

from lichtmast.ingest import decode
from lichtmast.ingest.pipeline import tables
from lichtmast.ingest.pipeline.arrivals import Arrivals
from lichtmast.ingest.pipeline.judge import Accepted, Rejected, judge
from lichtmast.ingest.pipeline.origin import Origin, origin_of
from lichtmast.ingest.pipeline.prepared import PENDING, Prepared, Rows, no_rows
from lichtmast.ingest.pipeline.replays import Held, released, settle_loose_orders, settle_orders
from lichtmast.ingest.pipeline.roster import BOOLEAN, UNKNOWN, Roster
from lichtmast.ingest.pipeline.sequence import Progress, Sequences, Standing
from lichtmast.store.port import Batch, Outcome, PackKey, Transport
from lichtmast.wire import limits
from lichtmast.wire.acknowledgement import Refused
from lichtmast.wire.quality import Quality
from lichtmast.wire.refusal import Refusal
from lichtmast.wire.replay import Action


@dataclass(frozen=True, slots=True)
class Settled:
    """One transaction for the store, and what to tell the devices once it is on disk."""

    batch: Batch
    origin: Origin
    standings: dict[str, Standing]
    packs: int
    readings: int
    quarantined: int
    duplicates: int
    refusals: dict[Refusal, int]


class Transform:
    """Turns arrivals into batches. Holds the roster (the register's copy) and the sequences (the ledger's copy)."""

    def __init__(self, roster: Roster, sequences: Sequences) -> None:
        self._sequences = sequences
        self.renew(roster)

    @property
    def roster(self) -> Roster:
        """The devices as known now."""
        return self._roster

    def renew(self, roster: Roster) -> None:
        """Go on with another roster."""
        self._roster = roster
        self._current: list[Progress | None] = [None] * len(roster.names)

    def prepare(self, arrivals: Arrivals) -> Prepared:
        """Decode, identify, resolve, and advance the sequences."""
        count = len(arrivals)
        prepared = Prepared(
            arrivals,
            [xxh3_64_intdigest(raw) for raw in arrivals.payload],
            [None] * count,
            [None] * count,
            np.full(count, PENDING, np.int8),
            {},
            no_rows(),
        )
        done = self._read_fast(prepared)
        for row in np.flatnonzero(~done).tolist():
            if row not in arrivals.orders or arrivals.orders[row][0].action is Action.REPLAY:
                self._judge(prepared, row)
        self._sequence(prepared)
        return prepared

    def _read_fast(self, prepared: Prepared) -> npt.NDArray[np.bool_]:
        """Take what the fast way is certain about; returns which packs are done."""
        arrivals, roster = prepared.arrivals, self._roster
        done: npt.NDArray[np.bool_] = np.zeros(len(arrivals), np.bool_)
        columns = decode.read_columns(arrivals.payload, roster.suffix_codes, roster.unit_codes)
        if columns is None or not roster.names:
            return done
        devices = arrivals.device_rows()[columns.rows]
        known = roster.device_of_urn.get
        named = np.array([known(name, UNKNOWN) for name in columns.base_name], np.int32)
        own = (named == devices) & (devices >= 0)
        pack = columns.pack
        device = devices[pack]
        suffix, unit = columns.suffix, columns.unit
        profile = roster.profile_of[device]
        datastream = roster.datastreams[device, suffix]
        kind_is_boolean = roster.kinds[profile, suffix] == BOOLEAN
        kind_fits = (roster.kinds[profile, suffix] <= BOOLEAN) & (kind_is_boolean == columns.is_boolean)
        received_us = np.array(arrivals.received_us, np.int64)[columns.rows][pack]
        fits = (datastream >= 0) & kind_fits
        fits &= (unit == 0) | (unit == roster.units[profile, suffix])
        fits &= columns.time_us >= received_us - limits.TIME_PAST_MAX_S * 1_000_000
        fits &= columns.time_us <= received_us + limits.TIME_FUTURE_MAX_S * 1_000_000
        fit = np.logical_and.reduceat(fits, columns.starts) & columns.sound & own & roster.active[devices]
        done[columns.rows[fit]] = True
        if fit.all() and len(fit) == len(arrivals):
            prepared.epochs, prepared.seqs = list(columns.epoch), list(columns.seq)
        else:
            for at, row in zip(np.flatnonzero(fit).tolist(), columns.rows[fit].tolist(), strict=True):
                prepared.epochs[row], prepared.seqs[row] = columns.epoch[at], columns.seq[at]
        keep = fit[pack]
        value = columns.value
        outside = (value < roster.minima[profile, suffix]) | (value > roster.maxima[profile, suffix])
        quality = np.where(outside, int(Quality.OUT_OF_RANGE), 0).astype(np.int32)
        prepared.rows = Rows(
            columns.rows[pack[keep]], datastream[keep], columns.time_us[keep], value[keep], quality[keep]
        )
        return done

    def refuse(self, arrivals: Arrivals, detail: str) -> Prepared:
        """All of it to quarantine: for a message that `prepare` cannot take, because of a fault of ours."""
        count = len(arrivals)
        return Prepared(
            arrivals,
            [xxh3_64_intdigest(raw) for raw in arrivals.payload],
            [None] * count,
            [None] * count,
            np.full(count, int(Outcome.QUARANTINED), np.int8),
            dict.fromkeys(range(count), (Refusal.UNDECODABLE, detail)),
            no_rows(),
        )

    def _judge(self, prepared: Prepared, row: int) -> None:
        """Take one pack the strict way."""
        arrivals = prepared.arrivals
        arrivals.make_exact(row)
        verdict = judge(
            arrivals.payload[row],
            arrivals.content_format[row],
            arrivals.received_us[row],
            arrivals.device[row],
            arrivals.sender[row],
            self._roster,
        )
        if arrivals.device[row] != UNKNOWN:
            prepared.epochs[row], prepared.seqs[row] = verdict.epoch, verdict.seq
        match verdict:
            case Accepted():
                prepared.rows.judged += [(row, one) for one in verdict.rows]
            case Rejected():
                prepared.refusals[row] = (verdict.refusal, verdict.detail)
        if verdict.dropped:
            prepared.declared[row] = verdict.dropped

    def _sequence(self, prepared: Prepared) -> None:
        """Walk the packs in log order; new ones are settled at once, the others are left for the store's answer."""
        outcome = prepared.outcome
        current = self._current
        refusals, declared, orders = prepared.refusals, prepared.declared, prepared.arrivals.orders
        stored, quarantined = int(Outcome.STORED), int(Outcome.QUARANTINED)
        for row, (device, epoch, seq) in enumerate(
            zip(prepared.arrivals.device, prepared.epochs, prepared.seqs, strict=True)
        ):
            if epoch is None or seq is None or device < 0:
                if row in refusals:
                    outcome[row] = quarantined
                elif row not in orders or orders[row][0].action is Action.REPLAY:
                    prepared.loose.append(row)
                continue
            if row in orders:
                continue
            progress = current[device]
            if progress is None or progress.epoch != epoch:
                progress = self._sequences.of(self._roster.names[device], epoch)
                current[device] = progress
            if seq == progress.upto + 1 and not progress.ranges and seq >= progress.certain_from:
                progress.upto = seq
            elif progress.is_new(seq):
                progress.add(seq)
            else:
                prepared.doubtful.append(row)
                continue
            outcome[row] = quarantined if row in refusals else stored
            if declared and row in declared:
                _declare(prepared, row, progress)

    def settle(
        self, prepared: Prepared, known: dict[PackKey, int], existing: pa.Table, log: str, held: Held | None = None
    ) -> Settled:
        """Make the batch, given what the ledger knows of the doubtful keys and the store of the loose times.

        `held` is what `replays.ask` brought, for a batch with orders about the quarantine.
        """
        self._settle_doubtful(prepared, known)
        if prepared.arrivals.orders:
            settle_orders(prepared, held or Held(), partial(self._store_number, prepared))
        dropped = _settle_loose(prepared, existing)
        settle_loose_orders(prepared)
        arrivals, outcome = prepared.arrivals, prepared.outcome
        observations, pack = tables.observations(prepared, dropped)
        standings = self._standings(prepared)
        return Settled(
            Batch(
                observations,
                tables.ledger(prepared, pack),
                tables.quarantine(prepared),
                log,
                arrivals.last_position,
                tables.drops(prepared),
                released(prepared),
            ),
            origin_of(prepared, pack),
            standings,
            len(arrivals),
            observations.num_rows,
            int((outcome == Outcome.QUARANTINED).sum()),
            int((outcome == Outcome.DUPLICATE).sum()),
            _counts([refusal for refusal, _ in prepared.refusals.values()]),
        )

    def _settle_doubtful(self, prepared: Prepared, known: dict[PackKey, int]) -> None:
        if not prepared.doubtful:
            return
        senders = {prepared.arrivals.sender[row] for row in prepared.doubtful}
        known = dict(known)
        doubtful = set(prepared.doubtful)
        for row, sender in enumerate(prepared.arrivals.sender):
            if sender not in senders or prepared.seqs[row] is None or row in prepared.arrivals.orders:
                continue
            key = prepared.key(row)
            if row not in doubtful:
                known[key] = prepared.digests[row]
                continue
            digest = known.get(key)
            if digest is None:  # It had not come after all: it was declared as dropped, or the filter not certain.
                known[key] = prepared.digests[row]
                self._store_number(prepared, row, key)
                prepared.outcome[row] = Outcome.QUARANTINED if row in prepared.refusals else Outcome.STORED
            elif digest == prepared.digests[row]:
                self._store_number(prepared, row, key)  # memory may have forgotten it, and the ack with it
                prepared.outcome[row] = Outcome.DUPLICATE
                prepared.refusals.pop(row, None)
            else:
                prepared.outcome[row] = Outcome.QUARANTINED
                prepared.refusals[row] = (
                    Refusal.SEQUENCE_CONFLICT,
                    f"epoch {key.epoch} seq {key.seq} came before with other content; never use a number twice",
                )
                prepared.conflicts[row] = (key.epoch, key.seq)
                prepared.epochs[row] = prepared.seqs[row] = None  # the key belongs to the first

    def _store_number(self, prepared: Prepared, row: int, key: PackKey) -> None:
        """Remember that this number came, and what its pack declares beside it."""
        progress = self._sequences.of(key.device, key.epoch)
        progress.add(key.seq)
        _declare(prepared, row, progress)

    def _standings(self, prepared: Prepared) -> dict[str, Standing]:
        """What each MQTT device of this batch is told, per device of the last epoch it spoke in."""
        arrivals = prepared.arrivals
        devices = arrivals.device
        if arrivals.orders:  # what came back from the quarantine, no device has just said
            devices = [UNKNOWN if row in arrivals.orders else device for row, device in enumerate(devices)]
        spoke = {
            device: epoch
            for device, epoch in zip(devices, prepared.epochs, strict=True)
            if epoch is not None and device >= 0
        }
        refused: dict[int, list[Refused]] = {}
        for row, (refusal, detail) in prepared.refusals.items():
            epoch, seq = prepared.conflicts.get(row) or (prepared.epochs[row], prepared.seqs[row])
            device = arrivals.device[row]
            if seq is not None and epoch is not None and spoke.setdefault(device, epoch) == epoch:
                refused.setdefault(device, []).append(Refused(seq, refusal.value, detail[:200]))
        if arrivals.any_coap:  # over CoAP the answer was the acknowledgement
            mqtt = int(Transport.MQTT)
            told = {device for device, one in zip(devices, arrivals.transport, strict=True) if one == mqtt}
            spoke = {device: epoch for device, epoch in spoke.items() if device in told}
        names = self._roster.names
        standings: dict[str, Standing] = {}
        for device, epoch in spoke.items():
            progress = self._current[device]
            if progress is None or progress.epoch != epoch:
                progress = self._sequences.of(names[device], epoch)
            standings[names[device]] = progress.standing(refused.get(device, ()))
        return standings


def _declare(prepared: Prepared, row: int, progress: Progress) -> None:
    """Count what the pack declares as dropped as come; what memory does not have yet is news for the store."""
    arrivals = prepared.arrivals
    for first, last in prepared.declared.get(row, ()):
        if not progress.covers(first, last):
            progress.add_range(first, last)
            prepared.drops.append((arrivals.sender[row], progress.epoch, first, last, arrivals.received_us[row]))


def _settle_loose(prepared: Prepared, existing: pa.Table) -> set[tuple[int, int]]:
    """Settle packs without a sequence by (datastream, time); returns the (pack, index) of their rows that are known.

    The same time with another value is no repetition: such a pack goes to quarantine.
    """
    if not prepared.loose:
        return set()
    seen = _results(existing) | prepared.numbered_results()
    dropped: set[tuple[int, int]] = set()
    fresh = dict.fromkeys(prepared.loose, 0)
    for pack, group in groupby(enumerate(prepared.rows.judged), lambda one: one[1][0]):
        if pack not in fresh:
            continue
        own: dict[tuple[int, int], float | str | None] = {}
        for index, (_, row) in group:
            key, result = (row.datastream_id, row.time_us), row.text if row.result is None else row.result
            if key not in seen and key not in own:
                own[key] = result
            elif (own[key] if key in own else seen[key]) == result:
                dropped.add((pack, index))
            else:
                detail = f"datastream {row.datastream_id} has another value at this time"
                prepared.refusals[pack] = Refusal.SEQUENCE_CONFLICT, f"{detail}; number packs with lm-epoch and lm-seq"
        if pack not in prepared.refusals:  # of a refused pack nothing is stored that another could repeat
            seen |= own
            fresh[pack] = len(own)
    for pack, count in fresh.items():
        prepared.outcome[pack] = Outcome.STORED if count else Outcome.DUPLICATE
        if pack in prepared.refusals:
            prepared.outcome[pack] = Outcome.QUARANTINED
    return dropped


def _results(existing: pa.Table) -> dict[tuple[int, int], float | str | None]:
    """What the store holds, by (datastream, time)."""
    ids, times, numbers, texts = (existing.column(at).to_pylist() for at in range(4))
    return {
        (one, time_us): text if number is None else number
        for one, time_us, number, text in zip(ids, times, numbers, texts, strict=True)
    }


def _counts(refusals: list[Refusal]) -> dict[Refusal, int]:
    counts: dict[Refusal, int] = {}
    for refusal in refusals:
        counts[refusal] = counts.get(refusal, 0) + 1
    return counts
