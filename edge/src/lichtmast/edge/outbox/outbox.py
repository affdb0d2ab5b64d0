"""The outbox: what was measured stays here, on the disk, until the server has it on its own.

A put is one transaction and one fsync, and carries with it what was settled since the last. Numbers count up and are
never given twice; what had to go is declared in a later pack, so that every number comes or is explained.

Blocking, and used from one thread. After an OutboxBrokenError nothing in memory is believed; `reopen` reads the file.
Will not: send, or decide what is sent first.
"""

import contextlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, takewhile
from pathlib import Path

from lichtmast.edge.clock import Clock
from lichtmast.edge.outbox import limits, salvage
from lichtmast.edge.outbox.book import Book, Meta
from lichtmast.edge.outbox.errors import OutboxBrokenError, OutboxDamagedError, OutboxError
from lichtmast.edge.outbox.placing import Standing, place_boots, standing_after
from lichtmast.edge.outbox.rows import UNSTAMPED, Packer, Row, keep, kept
from lichtmast.edge.outbox.storage import Connect, Lock, Storage, broken_by, connect_sqlite
from lichtmast.edge.outbox.values import Draft, OutboxSettings, OutboxStatistics, Packed
from lichtmast.edge.timekeeping.values import Stamp
from lichtmast.wire.faultpoint import faultpoint
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.limits import EPOCH_MAX
from lichtmast.wire.numbers import Numbers
from lichtmast.wire.senml import EncodingError


class Outbox:
    """The packs of one device in one file. Born by `open`."""

    def __init__(self, path: Path, device: DeviceId, settings: OutboxSettings, clock: Clock, connect: Connect) -> None:
        self._path = path
        self._device = device
        self._settings = settings
        self._clock = clock
        self._connect = connect
        self._settled = Numbers()
        self._settled_epoch = 0
        self._standing: Standing | None = None
        self._fault = ""
        self._broken = False
        self._file = contextlib.ExitStack()
        self._lock = Lock(path)
        try:
            self._read()
        except BaseException:
            with contextlib.suppress(OutboxBrokenError):
                self._file.close()
            self._lock.close()
            raise

    @classmethod
    def open(
        cls,
        path: Path,
        device: DeviceId,
        *,
        settings: OutboxSettings,
        clock: Clock,
        connect: Connect = connect_sqlite,
    ) -> "Outbox":
        """Open the file or make it. A damaged one is put aside, and what reads of it goes into a new one.

        Raises OutboxInUseError, OutboxForeignError and OutboxBrokenError.
        """
        return cls(path, device, settings, clock, connect)

    def _read(self) -> None:
        with broken_by(self._path):
            salvage.finish(self._path)
        try:
            self._read_file(self._path, Meta(str(self._device), 0))
        except OutboxDamagedError as error:
            self._replace(str(error))

    def _read_file(self, path: Path, new: Meta) -> None:
        storage = Storage(path, bytes_max=self._settings.bytes_max, connect=self._connect)
        self._file.callback(storage.close)
        self._storage = storage
        # 53 random bits: a clock that nobody vouches for could only make them less different.
        self._book = Book(storage, replace(new, epoch=secrets.randbelow(EPOCH_MAX) + 1))
        self._packer = Packer(self._device, self.epoch, self._settings.content_format)
        if self._settled_epoch != self.epoch:  # other packs have those numbers here
            self._settled, self._settled_epoch = Numbers(), self.epoch
        self._broken = False
        self._found_damaged(self._book.damaged)

    def _replace(self, why: str) -> None:
        """Carry over what reads of a damaged file into a new one, then put that in its place."""
        self._fault = why
        with contextlib.suppress(OutboxBrokenError):
            self._file.close()
        settled, of = self._settled, self._settled_epoch
        with salvage.wreck(self._path, self._connect) as wreck:
            before = wreck.meta or Meta(str(self._device), 0)
            new = replace(before, next_seq=1, files_replaced=before.files_replaced + 1)
            self._read_file(salvage.fresh_path(self._path), new)
            rows = wreck.rows()
            while batch := list(islice(rows, limits.PUT_DRAFTS_MAX)):
                with self._commit():
                    for old in batch:
                        if old.epoch != of or old.row.seq not in settled:  # what was delivered is not sent anew
                            self._adopt(old)
        self._storage.checkpoint()
        self._file.close()
        with broken_by(self._path):
            salvage.take_place(self._path)
        self._read_file(self._path, new)

    @property
    def epoch(self) -> int:
        """The numbering that this file began; another one only with another file."""
        return self._book.meta.epoch

    @property
    def next_seq(self) -> int:
        """The number that the next pack gets."""
        return self._book.meta.next_seq

    @property
    def puts(self) -> int:
        """How many puts the file has seen: whether one that failed was durable all the same."""
        return self._book.meta.puts

    @property
    def floor_us(self) -> int:
        """No wall time before this is to be believed."""
        return max(limits.FLOOR_US, self._book.meta.floor_us)

    def put(self, drafts: Sequence[Draft], stamp: Stamp | None) -> list[int]:
        """Keep drafts (at most PUT_DRAFTS_MAX) as packs, durably; returns the numbers that can be sent now.

        Without a stamp they get their numbers too, and can be sent after `stamp_waiting`. What the policy turns away
        and what cannot be written as SenML gets no number and is counted. Raises OutboxBrokenError: then the drafts
        are still the caller's, unless `puts` has gone up after `reopen`.
        """
        if len(drafts) > limits.PUT_DRAFTS_MAX:
            raise OutboxError(f"{len(drafts)} drafts in one put; give at most {limits.PUT_DRAFTS_MAX}")
        faultpoint("edge.before_put")
        seqs = []
        with self._commit():
            self._expire()
            for draft in drafts:
                seq = self._put_one(draft, stamp)
                if seq is not None and stamp is not None:
                    seqs.append(seq)
            meta = self._book.meta
            self._book.meta = replace(meta, puts=meta.puts + 1, floor_us=self._floor_after(stamp))
        faultpoint("edge.after_put")
        return seqs

    def _put_one(self, draft: Draft, stamp: Stamp | None) -> int | None:
        meta = self._book.meta
        now_s = self._clock.monotonic_s()
        count = len(draft.readings)
        # Encoded even where there is no time yet: what can never be sent gets no number.
        try:
            payload = self._packer.pack(meta.next_seq, draft.readings, *_offset_of(stamp))
            if stamp is None:
                payload = keep(draft.readings).ljust(len(payload) + limits.STAMP_BYTES)
        except (EncodingError, ValueError):
            payload = b""
        if not payload or not self._make_room(len(payload)):
            self._book.meta = replace(
                meta,
                turned_away_drafts=meta.turned_away_drafts + 1,
                turned_away_readings=meta.turned_away_readings + count,
            )
            return None
        seq = meta.next_seq
        if stamp is not None:
            dropped = self._book.declare(seq)
            if dropped:
                try:
                    payload = self._packer.pack(seq, draft.readings, *_offset_of(stamp), dropped)
                except EncodingError:  # no room for it in this pack; the next one says it
                    self._book.take_back(seq)
        created_us = None if stamp is None else stamp.wall_us(now_s)
        content_format = UNSTAMPED if stamp is None else self._settings.content_format
        self._book.insert(Row.summed(seq, self._clock.boot, now_s, created_us, content_format, count, payload))
        self._book.meta = replace(self._book.meta, next_seq=seq + 1)
        return seq

    def stamp_waiting(self, stamp: Stamp) -> list[int]:
        """Give the packs that waited for a trusted clock their time; returns the numbers that can be sent now."""
        seqs: list[int] = []
        earlier = self._earlier(stamp)
        while self._book.waiting:
            with self._commit():
                seqs += [
                    row.seq
                    for row in self._book.waiting_rows(limits.WAITING_BATCH)
                    if self._stamp_one(row, stamp if row.boot == self._clock.boot else earlier[row.boot], stamp)
                ]
        return seqs

    def _earlier(self, stamp: Stamp) -> dict[str, Stamp]:
        with self._reading():
            return dict(place_boots(self._book.waiting_boots(self._clock.boot), stamp, self.floor_us))

    def _stamp_one(self, row: Row, its: Stamp, now: Stamp) -> bool:
        try:
            payload = self._packer.pack(row.seq, kept(row.payload), its.offset_us, max(its.error_s, now.error_s))
        except EncodingError:
            self._count_dropped(*self._book.drop(row.seq))  # its time is none that SenML can carry
            return False
        created_us = its.wall_us(row.created_s)
        fields = (row.boot, row.created_s, created_us, self._settings.content_format, row.readings, payload)
        self._book.stamp(Row.summed(row.seq, *fields))
        return True

    def _adopt(self, old: salvage.Salvaged) -> None:
        """Take over a pack of a damaged file, under a new number of the new epoch."""
        meta = self._book.meta
        payload = old.payload
        if old.readings is not None:
            try:
                payload = self._packer.repack(meta.next_seq, old.readings, old.time_error_s)
            except EncodingError:
                return
        if not self._make_room(len(payload)):
            return
        content_format = UNSTAMPED if old.readings is None else self._settings.content_format
        fields = (old.row.boot, old.row.created_s, old.row.created_us, content_format, old.row.readings, payload)
        self._book.insert(Row.summed(meta.next_seq, *fields))
        self._book.meta = replace(
            self._book.meta, next_seq=meta.next_seq + 1, salvaged_packs=self._book.meta.salvaged_packs + 1
        )

    def load(self, seqs: Sequence[int]) -> list[Packed]:
        """The packs to send. A number that is asked for and not returned was dropped or is damaged: it never comes."""
        with self._reading():
            return [
                Packed(row.seq, row.payload, row.content_format, row.created_s if row.boot == self._clock.boot else 0.0)
                for row in self._book.rows(seqs)
                if row.created_us is not None and row.seq not in self._settled
            ]

    def sendable(self) -> Numbers:
        """The numbers of all stamped packs that nobody has confirmed."""
        with self._reading():
            found = self._book.numbers(stamped=True)
        for seq in self._settled:
            found.discard(seq)
        return found

    def waiting(self) -> Numbers:
        """The numbers of all packs that wait for a trusted clock."""
        with self._reading():
            return self._book.numbers(stamped=False)

    def settle(self, seqs: Iterable[int]) -> None:
        """The server has these. Written with the next put; a crash before that sends them once more, no worse."""
        for seq in seqs:
            self._settled.add(seq)
        if len(self._settled) >= limits.SETTLED_MAX:
            self.flush()

    def flush(self) -> None:
        """Write what is settled now, with an fsync of its own."""
        if self._settled:
            with self._commit():
                pass

    def count_lost(self, drafts: int) -> None:
        """Remember, with the next commit, drafts that were lost in memory while the disk could not be written."""
        self._book.meta = replace(self._book.meta, lost_drafts=self._book.meta.lost_drafts + drafts)

    def statistics(self) -> OutboxStatistics:
        """How full the outbox is, and what it has gone through."""
        with self._reading():
            oldest = next(iter(self._book.oldest(1)), None)
            file_bytes = self._storage.file_bytes()
        meta = self._book.meta
        same_boot = oldest is not None and oldest.boot == self._clock.boot
        return OutboxStatistics(
            healthy=True,
            fault=self._fault,
            policy=self._settings.drop,
            epoch=meta.epoch,
            next_seq=meta.next_seq,
            packs=self._book.packs,
            payload_bytes=self._book.payload_bytes,
            file_bytes=file_bytes,
            unstamped=self._book.waiting,
            oldest_s=self._clock.monotonic_s() - oldest.created_s if oldest is not None and same_boot else None,
            dropped_packs=meta.dropped_packs,
            dropped_readings=meta.dropped_readings,
            turned_away_drafts=meta.turned_away_drafts,
            turned_away_readings=meta.turned_away_readings,
            damaged_packs=meta.damaged_packs,
            salvaged_packs=meta.salvaged_packs,
            files_replaced=meta.files_replaced,
            lost_drafts=meta.lost_drafts,
        )

    def reopen(self) -> None:
        """After an OutboxBrokenError: throw away what is in memory, and read the file.

        Holds nothing open meanwhile, the lock included: the disk may come back as another one. Raises as `open` does.
        """
        with contextlib.suppress(OutboxBrokenError):
            self._file.close()
        self._lock.close()
        self._lock = Lock(self._path)
        self._read()

    def close(self) -> None:
        """Write what is settled and let go of the file. Raises OutboxBrokenError; the file is let go all the same."""
        try:
            if not self._broken:
                self.flush()
        finally:
            try:
                self._file.close()
            finally:
                self._lock.close()

    # Below ----------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        if self._broken:
            raise OutboxBrokenError(f"{self._path} has failed and must be opened anew")
        try:
            with broken_by(self._path):
                yield
        except BaseException:
            self._broken = True
            raise

    @contextlib.contextmanager
    def _commit(self) -> Iterator[None]:
        with self._reading():
            with self._storage.transaction():
                for first, last in self._settled.ranges:
                    self._book.settle(first, last)
                yield
                self._book.write(self._book.meta)
            self._settled = Numbers()

    def _make_room(self, payload_bytes: int) -> bool:
        """Whether a pack of this size fits, after the oldest had to go where that is the policy."""
        needed = limits.SPARE_PAGES + 1 + -(-payload_bytes // (limits.PAGE_BYTES - limits.ROW_BYTES))
        if needed > self._storage.pages_max - limits.SPARE_PAGES:
            return False  # would not fit into an empty file
        keep_oldest = self._settings.drop == "newest"
        if keep_oldest and any(self._is_expired(row) for row in self._book.oldest(1)):
            return False
        while self._storage.free_pages(needed) < needed:
            if keep_oldest or not self._book.packs:
                return False
            self._count_dropped(*self._book.drop_oldest(limits.DROP_PACKS))
        return True

    def _expire(self) -> None:
        """Drop what is older than the settings allow, where that is the policy."""
        while self._settings.drop == "oldest":
            rows = self._book.oldest(limits.WAITING_BATCH)
            expired = sum(1 for _ in takewhile(self._is_expired, rows))
            if not expired:
                return
            self._count_dropped(*self._book.drop_oldest(expired))

    def _is_expired(self, row: Row) -> bool:
        """By the monotonic clock alone: no wrong wall clock deletes anything, and hours without power do not count.

        A pack of an earlier boot is at least as old as this one.
        """
        made_s = row.created_s if row.boot == self._clock.boot else 0.0
        return self._clock.monotonic_s() - made_s > self._settings.hours * 3600

    def _floor_after(self, stamp: Stamp | None) -> int:
        """The time floor after a put with this stamp. It must stay below what waits for its place in time."""
        now_s = self._clock.monotonic_s()
        self._standing = standing_after(self._standing, stamp, now_s)
        floor_us = self._book.meta.floor_us
        if stamp is None or self._standing is None or now_s - self._standing.since_s < limits.FLOOR_AFTER_S:
            return floor_us
        told_us = stamp.wall_us(now_s) - round(stamp.error_s * 1e6)
        return min(floor_us, told_us) if self._book.waiting else told_us

    def _found_damaged(self, packs: int) -> None:
        if packs:
            self._fault = f"{self._path}: {packs} damaged packs were taken out and are declared dropped"

    def _count_dropped(self, packs: int, readings: int) -> None:
        meta = self._book.meta
        self._book.meta = replace(
            meta, dropped_packs=meta.dropped_packs + packs, dropped_readings=meta.dropped_readings + readings
        )


def _offset_of(stamp: Stamp | None) -> tuple[int, float]:
    return (limits.FLOOR_US, 0.0) if stamp is None else (stamp.offset_us, stamp.error_s)
