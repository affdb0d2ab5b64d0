"""What the register says, held ready to read: one immutable value per registry revision.

Pages, map and SensorThings all read lampposts by name, page and relation, thousands of times between two changes of
the register. So the register is read whole when its revision moves, not for every request. A catalogue is never
changed; a request that began with one ends with it. What it costs is measured in docs/reference/api.md.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from lichtmast.registry import Registry
from lichtmast.registry.records import AssetRecord, DatastreamRecord, ObservedPropertyRecord, SensorRecord
from lichtmast.wire.profile import load_profiles

_PAGE: Final = 1_000
_INTERVAL_UNKNOWN_S: Final = 300.0


class _Numbered(Protocol):
    @property
    def id(self) -> int: ...


_Record = TypeVar("_Record", bound=_Numbered)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One revision of the register. Mappings are in order of id; only datastreams that hang on an asset are in it."""

    revision: int
    assets: Mapping[int, AssetRecord]
    datastreams: Mapping[int, DatastreamRecord]
    sensors: Mapping[int, SensorRecord]
    observed_properties: Mapping[int, ObservedPropertyRecord]
    by_asset: Mapping[int, tuple[DatastreamRecord, ...]]
    standing: tuple[AssetRecord, ...]
    """Assets that have not ended, in order of name."""
    truths: frozenset[int]
    """Datastreams whose results are true or false, which the store keeps as 1 and 0."""

    def datastreams_of(self, asset_id: int) -> tuple[DatastreamRecord, ...]:
        """The series of one lamppost, in order of id."""
        return self.by_asset.get(asset_id, ())

    def interval_s_of(self, sensor_id: int) -> float:
        """How often a device model is expected to measure, by its profile."""
        sensor = self.sensors.get(sensor_id)
        profile = None if sensor is None else load_profiles().get(sensor.profile)
        return _INTERVAL_UNKNOWN_S if profile is None else float(profile.interval_s)


def read_catalogue(register: Registry) -> Catalogue:
    """Read the register whole. The revision is read first: a change in between is seen at the next look."""
    revision = register.revision()
    assets = {
        one.id: one for one in _all(lambda after: register.things(None, after_id=after, limit=_PAGE, active_only=False))
    }
    datastreams = {
        one.id: one
        for one in _all(lambda after: register.datastreams(after_id=after, limit=_PAGE))
        if one.asset_id in assets
    }
    by_asset: dict[int, list[DatastreamRecord]] = {}
    for datastream in datastreams.values():
        if datastream.asset_id is not None:
            by_asset.setdefault(datastream.asset_id, []).append(datastream)
    return Catalogue(
        revision=revision,
        assets=assets,
        datastreams=datastreams,
        sensors={one.id: one for one in register.sensors()},
        observed_properties={one.id: one for one in register.observed_properties()},
        by_asset={key: tuple(group) for key, group in by_asset.items()},
        standing=tuple(
            sorted((one for one in assets.values() if one.active), key=lambda one: (natural(one.name), one.id))
        ),
        truths=frozenset(one.id for one in datastreams.values() if one.kind == "boolean"),
    )


def _all(page: Callable[[int], Iterable[_Record]]) -> Iterator[_Record]:
    after = 0
    while True:
        records = list(page(after))
        yield from records
        if len(records) < _PAGE:
            return
        after = records[-1].id


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """A sort key in which `mast 9` comes before `mast 10`."""
    parts: list[tuple[int, int | str]] = []
    text = ""
    for character in name.casefold():
        if text and text[-1].isdecimal() != character.isdecimal():
            parts.append(_part(text))
            text = ""
        text += character
    if text:
        parts.append(_part(text))
    return tuple(parts)


def _part(text: str) -> tuple[int, int | str]:
    return (0, int(text)) if text.isdecimal() and len(text) <= 18 else (1, text)  # noqa: PLR2004 - fits in 64 bits


class CatalogueKeeper:
    """Keeps the newest catalogue. `current` blocks: call it in a thread."""

    def __init__(
        self, register: Registry, *, check_interval_s: float, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._register = register
        self._check_interval_s = check_interval_s
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._catalogue: Catalogue | None = None
        self._checked_at_s = 0.0

    def current(self) -> Catalogue:
        """The catalogue of the newest revision, at most `check_interval_s` old."""
        held = self._catalogue
        if held is not None and self._monotonic_s() - self._checked_at_s < self._check_interval_s:
            return held
        # While one thread reads, the others go on with what there is.
        if not self._lock.acquire(blocking=held is None) and held is not None:
            return held
        try:
            newest = self._catalogue
            if newest is None or self._register.revision() != newest.revision:
                newest = self._catalogue = read_catalogue(self._register)
            self._checked_at_s = self._monotonic_s()
            return newest
        finally:
            self._lock.release()
