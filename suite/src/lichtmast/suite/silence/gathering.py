"""Gathers the facts about one device from register, store, doors and network. Blocking, but for the two that wait.

Decides nothing: `ladder` does. What cannot be found out is left out, and the rung says that it does not know.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from lichtmast.registry import DeviceStatus, Registry
from lichtmast.registry.alerts.conditions import GroupKind
from lichtmast.registry.alerts.groups import Membership
from lichtmast.registry.directory import DeviceEntry, Directory
from lichtmast.store.port import ObservationStore, Selection
from lichtmast.suite.silence import limits
from lichtmast.suite.silence.facts import SECOND_US, Certificate, Group, Quarantined, Speech, is_quiet
from lichtmast.wire import DeviceId
from lichtmast.wire.profile import load_profiles
from lichtmast.wire.quality import Quality

if TYPE_CHECKING:
    import pyarrow as pa

_DAY_US: Final = 86_400 * SECOND_US
_REASONS_MAX: Final = 10


def newest_certificate(registry: Registry, device: DeviceId) -> Certificate | None:
    """The newest that the device was issued."""
    for one in registry.identity.certificates(device):
        return Certificate(one.not_before_us, one.not_after_us, one.revoked_at_us is not None)
    return None


def quarantined(store: ObservationStore, device: DeviceId) -> tuple[Quarantined, ...]:
    """What of it lies in quarantine, by reason."""
    rows = store.quarantine_groups(Selection(device=str(device)), _REASONS_MAX).to_pylist()
    return tuple(Quarantined(one["reason"], one["packs"], one["last_at"]) for one in rows)


def speech(store: ObservationStore, entry: DeviceEntry, now_us: int) -> Speech | None:
    """When its readings last came; None where none ever did."""
    series = list(entry.datastream_ids)
    if not series:
        return None
    # The latest by their own time, which a wrong clock puts in the future for good, and what the last day brought.
    latest = _rows(store.latest(series))
    lately = _rows(store.range(series, now_us - _DAY_US, now_us + 1, limit=limits.RHYTHM_ROWS, descending=True))
    if not latest:
        return None
    last_us = max(one["result_time"] for one in (*latest, *lately))
    came_last = [one for one in (*latest, *lately) if one["result_time"] == last_us]
    quality = Quality.GOOD
    for one in came_last:
        quality |= Quality(one["quality"])
    behind_us = last_us - max(one["phenomenon_time"] for one in came_last)
    return Speech(last_us, _interval_s(entry, lately), quality, behind_us / SECOND_US)


def groups(
    directory: Directory, memberships: Mapping[int, Membership], store: ObservationStore, of: DeviceEntry, now_us: int
) -> tuple[Group, ...]:
    """Its feeder and its neighbourhood, and how many of the others there are quiet."""
    mine = memberships.get(of.asset_id or 0)
    if mine is None:
        return ()
    others = [
        (one, memberships[one.asset_id])
        for one in directory.entries.values()
        if one.status is DeviceStatus.ACTIVE
        and one.device.tenant == of.device.tenant
        and one.device != of.device
        and one.asset_id is not None
        and one.asset_id in memberships
    ]
    found = []
    if mine.feeder is not None:
        at_feeder = [one for one, where in others if where.feeder == mine.feeder]
        found.append(_group(store, at_feeder, GroupKind.FEEDER, mine.feeder, now_us))
    near = [one for one, where in others if where.neighbourhood == mine.neighbourhood]
    found.append(_group(store, near, GroupKind.NEIGHBOURHOOD, mine.neighbourhood, now_us))
    return tuple(found)


def _group(store: ObservationStore, others: Sequence[DeviceEntry], kind: GroupKind, name: str, now_us: int) -> Group:
    looked_at = others[: limits.MEMBERS_MAX]
    series = [one for other in looked_at for one in other.datastream_ids]
    if not series:
        return Group(kind, name, 0, 0)
    ids, times = (store.latest(series).column(at).to_pylist() for at in ("datastream_id", "result_time"))
    heard = dict(zip(ids, times, strict=True))
    last = [(one, max((heard[at] for at in one.datastream_ids if at in heard), default=0)) for one in looked_at]
    spoke = [(one, at_us) for one, at_us in last if at_us]
    quiet = sum(is_quiet(at_us, _usual_s(one), now_us) for one, at_us in spoke)
    return Group(kind, name, len(spoke), quiet)


def _interval_s(entry: DeviceEntry, lately: Iterable[Mapping[str, Any]]) -> float:
    """The time between its packs: what it keeps to where that is slower than its profile says."""
    moments = sorted({one["phenomenon_time"] for one in lately})
    steps = [later - earlier for earlier, later in pairwise(moments)]
    return max(_usual_s(entry), median(steps) / SECOND_US if steps else 0.0)


def _usual_s(entry: DeviceEntry) -> float:
    return float(load_profiles()[entry.profile].interval_s)


def _rows(table: "pa.Table") -> list[dict[str, Any]]:
    """As dictionaries, without the results, which nobody here looks at."""
    rows: list[dict[str, Any]] = table.select(["phenomenon_time", "quality", "result_time"]).to_pylist()
    return rows
