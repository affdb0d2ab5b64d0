"""The fast way to read a pack: canonical SenML JSON, decoded in C and laid out as columns.

Takes only packs about which it can be certain: one base record first with `bn`, `bt`, `lm-epoch` and `lm-seq`, perhaps
`bu`, numbers or booleans, nothing unusual. Every other pack it leaves to the strict decoder of `lichtmast.wire`, which
decides; so being fast never means being lenient. `tests/ingest/test_decode.py` holds the two against each other.
Which names and units are known its callers say; whether times are in their window is theirs to judge.

How it can be certain that there are no unknown, repeated or later base fields without looking at each: in JSON
without backslashes and without white space before a colon, every key ends in `":`, so `":` occurs at least as often as
there are keys. When it occurs exactly as often as the fields that were decoded, there is no other key.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Annotated, Final

import msgspec
import numpy as np
import numpy.typing as npt

from lichtmast.wire import limits

ABSENT: Final = -1.5e308
"""Stands for a number that was not sent. Whoever sends just this goes the strict way, as his keys do not add up."""


class Record(msgspec.Struct, gc=False, rename={"epoch": "lm-epoch", "seq": "lm-seq"}):
    """One SenML record, as far as the fast way goes (RFC 8428 section 4). Defaults stand for fields that are absent."""

    n: str = ""
    v: float = ABSENT
    u: str = ""
    t: float = ABSENT
    vb: bool | None = None
    bn: str = ""
    bt: float = ABSENT
    bu: str = ""
    epoch: Annotated[int, msgspec.Meta(ge=0, le=limits.EPOCH_MAX)] = -1
    seq: Annotated[int, msgspec.Meta(ge=1, le=limits.SEQ_MAX)] = 0


UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What `decode_records` raises: msgspec leaves text that is not UTF-8 to the codec's own error."""
decode_records: Final = msgspec.json.Decoder(list[Record]).decode
"""Bytes to records; raises one of UNREADABLE."""
_SECONDS_END: Final = 4_102_444_800.0
"""The year 2100; later times are for the strict decoder to refuse."""
_SUSPECT: Final = b"\\ \n\t\r"
BASE_KEYS: Final = 4
"""bn, bt, lm-epoch and lm-seq of the first record."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What the fast way read: `rows`, `sound`, `base_name`, `epoch`, `seq`, `starts` a pack; the rest a record.

    `suffix` and `unit` are the codes that the caller gave for the names, so in a sound pack all names are known.

    `rows` says which payload a pack is. Only where `sound` is set may the pack's values be used; all others, and all
    payloads not in `rows`, are for the strict decoder. `pack` says of which pack a record is, `starts` where it begins.
    """

    rows: npt.NDArray[np.intp]
    sound: npt.NDArray[np.bool_]
    base_name: list[str]
    epoch: list[int]
    seq: list[int]
    starts: npt.NDArray[np.intp]
    pack: npt.NDArray[np.intp]
    suffix: npt.NDArray[np.int32]
    unit: npt.NDArray[np.int32]
    value: npt.NDArray[np.float64]
    is_boolean: npt.NDArray[np.bool_]
    time_us: npt.NDArray[np.int64]


def read_columns(
    payloads: Sequence[bytes], suffix_codes: Mapping[str, int], unit_codes: Mapping[str, int]
) -> Columns | None:
    """Read those payloads that the fast way is certain about; None where there is none.

    Codes are from 0; "" must be a unit's name of code 0 (none given) and no suffix.
    """
    rows: list[int] = []
    packs: list[list[Record]] = []
    keys: list[int] = []
    whole = b"".join(payloads)
    all_usual = len(whole.translate(None, _SUSPECT)) == len(whole)
    for row, raw in enumerate(payloads):
        if not all_usual and is_unusual(raw):
            continue
        try:
            records = decode_records(raw)
        except UNREADABLE:
            continue
        if records and len(records) <= limits.PACK_RECORDS_MAX and len(raw) <= limits.PACK_BYTES_MAX:
            rows.append(row)
            packs.append(records)
            keys.append(raw.count(b'":'))
    if not rows:
        return None
    return _lay_out(rows, packs, keys, suffix_codes, unit_codes)


def is_unusual(raw: bytes) -> bool:
    """Whether keys could hide from counting: escapes, or white space that may stand before a colon."""
    return b" :" in raw or b"\\" in raw or b"\n" in raw or b"\t" in raw or b"\r" in raw


def _lay_out(
    rows: list[int],
    packs: list[list[Record]],
    keys: list[int],
    suffix_codes: Mapping[str, int],
    unit_codes: Mapping[str, int],
) -> Columns:
    """Turn records into columns and mark the packs whose keys add up."""
    flat = list(chain.from_iterable(packs))
    lengths = np.fromiter(map(len, packs), np.intp, len(packs))
    starts = np.concatenate((np.zeros(1, np.intp), np.cumsum(lengths)[:-1]))
    pack = np.repeat(np.arange(len(packs)), lengths)
    value = np.array([record.v for record in flat])
    times = np.array([record.t for record in flat])
    own_unit = _codes(unit_codes, [record.u for record in flat])
    suffix = _codes(suffix_codes, [record.n for record in flat])
    is_boolean = value == ABSENT
    if is_boolean.any():
        for at in np.flatnonzero(is_boolean).tolist():
            flag = flat[at].vb
            is_boolean[at] = flag is not None
            value[at] = ABSENT if flag is None else flag
    complete = (value != ABSENT) & (suffix >= 0) & (own_unit >= 0)
    has_time = times != ABSENT
    firsts = [records[0] for records in packs]
    base_time = np.array([first.bt for first in firsts])
    epoch = [first.epoch for first in firsts]
    seq = [first.seq for first in firsts]
    base_unit = _codes(unit_codes, [first.bu for first in firsts])
    unit = np.where(own_unit == 0, base_unit[pack], own_unit)
    # n, and v or vb, and what is there of u and t.
    per_record = 1 + complete + has_time + (own_unit > 0)
    sound = np.add.reduceat(per_record, starts) + BASE_KEYS + (base_unit > 0) == np.array(keys)
    sound &= base_unit >= 0
    sound &= np.logical_and.reduceat(complete, starts)
    sound &= (np.array(epoch) >= 0) & (np.array(seq) >= 1)
    base_names = [first.bn for first in firsts]
    sound &= np.fromiter(map(bool, base_names), np.bool_, len(base_names))
    seconds = base_time[pack] + np.where(has_time, times, 0.0)
    sound &= np.logical_and.reduceat((seconds >= limits.SENML_RELATIVE_BELOW) & (seconds < _SECONDS_END), starts)
    time_us = np.rint(np.where(sound[pack], seconds, 0.0) * 1e6).astype(np.int64)
    return Columns(
        np.array(rows, np.intp),
        sound,
        base_names,
        epoch,
        seq,
        starts,
        pack,
        suffix,
        unit,
        value,
        is_boolean,
        time_us,
    )


def _codes(known: Mapping[str, int], names: list[str]) -> npt.NDArray[np.int32]:
    """The code of each name, -1 where it has none."""
    return np.fromiter(map(known.get, names, repeat(-1)), np.int32, len(names))
