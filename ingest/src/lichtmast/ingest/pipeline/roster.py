"""The roster: the register's directory laid out as columns, so that whole batches resolve at once.

A row is a device, a column is a SenML suffix that some profile uses. Built anew when the register changes; never
altered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lichtmast.registry.directory import Directory
from lichtmast.registry.records import DeviceStatus
from lichtmast.wire import topics
from lichtmast.wire.profile import Profile, ResultKind
from lichtmast.wire.validation import CapabilityRules, RuleSet

UNKNOWN: Final = -1

NUMBER: Final = 0
BOOLEAN: Final = 1
TEXT: Final = 2
_KINDS: Final = {ResultKind.NUMBER: NUMBER, ResultKind.BOOLEAN: BOOLEAN, ResultKind.TEXT: TEXT}


@dataclass(frozen=True, slots=True)
class Roster:
    """Devices 0..n-1 with their names, and by [profile, suffix] what each name means.

    `datastreams[device, suffix]` is the datastream id or UNKNOWN. `units` holds codes of `unit_codes`, where code 0,
    the empty text, is "none given". `rules[profile][suffix]` is None where the profile has no such name; what single
    datastreams have of their own is in `validation`. `longitude` and `latitude` are NaN where a device has no place.
    """

    revision: int
    names: list[str]
    device_of_urn: dict[str, int]
    device_of_name: dict[str, int]
    device_of_subject: dict[str, int]
    active: npt.NDArray[np.bool_]
    profile_of: npt.NDArray[np.int16]
    profiles: list[Profile]
    suffix_codes: dict[str, int]
    unit_codes: dict[str, int]
    datastreams: npt.NDArray[np.int32]
    kinds: npt.NDArray[np.int8]
    units: npt.NDArray[np.int16]
    minima: npt.NDArray[np.float64]
    maxima: npt.NDArray[np.float64]
    rules: list[list[CapabilityRules | None]]
    validation: RuleSet
    longitude: npt.NDArray[np.float64]
    latitude: npt.NDArray[np.float64]

    @classmethod
    def build(cls, directory: Directory, known_profiles: Mapping[str, Profile]) -> "Roster":
        """Lay out a directory. Devices whose profile is not known get no names, so their readings go to quarantine."""
        profiles = list(known_profiles.values())
        suffix_codes: dict[str, int] = {}
        unit_codes: dict[str, int] = {"": 0}
        for capability in (one for profile in profiles for one in profile.uplinks):
            suffix_codes.setdefault(capability.suffix, len(suffix_codes))
            unit_codes.setdefault(capability.unit or "", len(unit_codes))
        shape = (len(profiles), len(suffix_codes))
        kinds = np.full(shape, UNKNOWN, np.int8)
        units = np.zeros(shape, np.int16)
        minima = np.full(shape, -np.inf)
        maxima = np.full(shape, np.inf)
        rules: list[list[CapabilityRules | None]] = [[None] * len(suffix_codes) for _ in profiles]
        columns: dict[str, npt.NDArray[np.int64]] = {}
        for row, profile in enumerate(profiles):
            columns[profile.key] = np.array([suffix_codes[one.suffix] for one in profile.uplinks])
            for one, believable in zip(profile.uplinks, directory.validation.of(profile), strict=True):
                at = (row, suffix_codes[one.suffix])
                rules[row][at[1]] = believable
                kinds[at] = _KINDS[one.kind]
                units[at] = unit_codes[one.unit or ""]
                minima[at] = -np.inf if believable.minimum is None else believable.minimum
                maxima[at] = np.inf if believable.maximum is None else believable.maximum
        entries = list(directory.entries.values())
        datastreams: npt.NDArray[np.int32] = np.full((len(entries), len(suffix_codes)), UNKNOWN, np.int32)
        profile_rows = {profile.key: row for row, profile in enumerate(profiles)}
        for row, entry in enumerate(entries):
            if entry.profile in columns and entry.datastream_ids:  # a retired device has none
                datastreams[row, columns[entry.profile]] = entry.datastream_ids
        return cls(
            revision=directory.revision,
            names=[str(entry.device) for entry in entries],
            device_of_urn={entry.device.urn: row for row, entry in enumerate(entries)},
            device_of_name={str(entry.device): row for row, entry in enumerate(entries)},
            device_of_subject={topics.up_subject(entry.device): row for row, entry in enumerate(entries)},
            active=np.array([entry.status is DeviceStatus.ACTIVE for entry in entries], np.bool_),
            profile_of=np.array([profile_rows.get(entry.profile, 0) for entry in entries], np.int16),
            profiles=profiles,
            suffix_codes=suffix_codes,
            unit_codes=unit_codes,
            datastreams=datastreams,
            kinds=kinds,
            units=units,
            minima=minima,
            maxima=maxima,
            rules=rules,
            validation=directory.validation,
            longitude=_degrees([entry.longitude for entry in entries]),
            latitude=_degrees([entry.latitude for entry in entries]),
        )

    def statistics(self) -> dict[str, Any]:
        """How many devices it holds, and of which revision of the register."""
        return {"devices": len(self.names), "revision": self.revision}


def _degrees(column: list[float | None]) -> npt.NDArray[np.float64]:
    return np.array([np.nan if one is None else one for one in column], np.float64)
