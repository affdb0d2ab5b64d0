"""The register's directory as columns, so that a rule's scope is a few masks. Only active devices are watched."""

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from lichtmast.ingest.alerting.limits import SILENT_INTERVALS
from lichtmast.registry.alerts.scope import Scope
from lichtmast.registry.directory import DeviceEntry
from lichtmast.registry.records import DeviceStatus
from lichtmast.wire.profile import Capability, Profile

SECOND_US: Final = 1_000_000
_RANGE_SHARE: Final = 0.001
"""Where a capability has no step, a deviation smaller than this share of its range is none."""
_Key = TypeVar("_Key", int, str)
Rows = npt.NDArray[np.intp]


class Layout:
    """Devices and their datastreams, one row each; the datastreams of a device follow each other."""

    def __init__(self, entries: Mapping[str, DeviceEntry], profiles: Mapping[str, Profile]) -> None:
        self.entries = entries
        self.devices = [
            one for one in entries.values() if one.status is DeviceStatus.ACTIVE and one.profile in profiles
        ]
        found = self.devices
        self.device_ids = np.array([one.device_id for one in found], np.int64)
        self.names = {one.device_id: str(one.device) for one in found}
        self.row_of_device = {str(one.device): row for row, one in enumerate(found)}
        self._rows_of_asset: dict[int, list[int]] = {}
        for row, one in enumerate(found):
            if one.asset_id is not None:
                self._rows_of_asset.setdefault(one.asset_id, []).append(row)
        self._tenants = _codes([one.device.tenant for one in found])
        self._profiles = _codes([one.profile for one in found])
        self._longitude = np.array([np.nan if one.longitude is None else one.longitude for one in found], np.float64)
        self._latitude = np.array([np.nan if one.latitude is None else one.latitude for one in found], np.float64)
        self.silent_after_us = np.array(
            [profiles[one.profile].interval_s * SILENT_INTERVALS * SECOND_US for one in found], np.int64
        )
        self._lay_streams(profiles)

    def _lay_streams(self, profiles: Mapping[str, Profile]) -> None:
        counts = [len(one.datastream_ids) for one in self.devices]
        self.stream_ids = np.array([stream for one in self.devices for stream in one.datastream_ids], np.int64)
        self.device_of_stream = np.repeat(np.arange(len(counts)), counts)
        self._first_stream = np.concatenate(([0], np.cumsum(counts, dtype=np.intp)))
        self.row_of_stream = {stream: row for row, stream in enumerate(self.stream_ids.tolist())}
        self.capabilities: list[Capability] = [
            capability
            for one in self.devices
            for capability in profiles[one.profile].uplinks[: len(one.datastream_ids)]
        ]
        self._keys = _codes([one.key for one in self.capabilities])
        self.least_spread = np.array([_least_spread(one) for one in self.capabilities], np.float64)

    def devices_of(self, scope: Scope, tenant: str) -> Rows:
        """Rows of the devices in a scope; of datastreams, those that they are of."""
        if scope.devices:
            rows = _present(self.row_of_device, scope.devices)
        elif scope.asset_ids:
            rows = np.array([row for one in scope.asset_ids for row in self._rows_of_asset.get(one, ())], np.intp)
        elif scope.datastream_ids:
            rows = np.unique(self.device_of_stream[_present(self.row_of_stream, scope.datastream_ids)])
        else:
            rows = np.arange(len(self.devices))
        return rows[self._fit(rows, scope, tenant)]

    def streams_of(self, scope: Scope, tenant: str) -> Rows:
        """Rows of the datastreams in a scope."""
        if scope.datastream_ids:
            rows = _present(self.row_of_stream, scope.datastream_ids)
            rows = rows[self._fit(self.device_of_stream[rows], scope, tenant)]
        else:
            devices = self.devices_of(scope, tenant)
            first, counts = self._first_stream[devices], np.diff(self._first_stream)[devices]
            rows = np.repeat(first, counts) + places(counts)
        if scope.capability is not None:
            rows = rows[self._keys[1][rows] == self._keys[0].get(scope.capability, -1)]
        return rows

    def _fit(self, devices: Rows, scope: Scope, tenant: str) -> npt.NDArray[np.bool_]:
        fits = np.asarray(self._tenants[1][devices] == self._tenants[0].get(tenant, -1))
        if scope.profile is not None:
            fits &= self._profiles[1][devices] == self._profiles[0].get(scope.profile, -1)
        if scope.devices:
            fits &= np.isin(devices, _present(self.row_of_device, scope.devices))
        if scope.asset_ids:
            wanted = [row for one in scope.asset_ids for row in self._rows_of_asset.get(one, ())]
            fits &= np.isin(devices, wanted)
        if scope.area is not None:
            box, longitude, latitude = scope.area, self._longitude[devices], self._latitude[devices]
            fits &= (longitude >= box.west) & (longitude <= box.east)
            fits &= (latitude >= box.south) & (latitude <= box.north)
        return fits


def places(counts: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """0, 1, 2 ... within each run of these lengths."""
    ends = np.cumsum(counts)
    return np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)


def _codes(words: Sequence[str]) -> tuple[dict[str, int], npt.NDArray[np.int32]]:
    known = {word: code for code, word in enumerate(dict.fromkeys(words))}
    return known, np.array([known[word] for word in words], np.int32)


def _present(known: Mapping[_Key, int], wanted: Sequence[_Key]) -> Rows:
    return np.array([known[one] for one in wanted if one in known], np.intp)


def _least_spread(capability: Capability) -> float:
    if capability.step is not None:
        return capability.step
    if capability.minimum is None or capability.maximum is None:
        return 0.0
    return (capability.maximum - capability.minimum) * _RANGE_SHARE
