"""A small town in memory: a roster, and packs of its devices."""

import json
from datetime import UTC, datetime, timedelta

from lichtmast.ingest.pipeline.roster import Roster
from lichtmast.registry import DeviceEntry, DeviceStatus, Directory
from lichtmast.wire import DeviceId, load_profiles

NOW_US = 1_795_000_000_000_000
PROFILE = "air-quality"


class LogMessage:
    """A message as the log gives it."""

    def __init__(self, subject: str, payload: bytes, position: int, received_us: int = NOW_US) -> None:
        self.subject = subject
        self.payload = payload
        self.stream_sequence = position
        self.published = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=received_us)


def make_roster(count: int = 8) -> Roster:
    """Devices lm-0 .. lm-{count-1} of the air profile, then one parking sensor and one suspended device."""
    entries: dict[str, DeviceEntry] = {}
    at = 1
    kinds = [(f"lm-{number}", PROFILE, DeviceStatus.ACTIVE) for number in range(count)]
    kinds += [("parking-1", "parking", DeviceStatus.ACTIVE), ("asleep-1", PROFILE, DeviceStatus.SUSPENDED)]
    for row, (name, profile, status) in enumerate(kinds):
        device = DeviceId("gm0402", name)
        size = len(load_profiles()[profile].uplinks)
        entries[str(device)] = DeviceEntry(row + 1, device, status, profile, None, tuple(range(at, at + size)))
        at += size
    return Roster.build(Directory(1, entries, ()), load_profiles())


def pack(
    name: str = "lm-0", seq: int | None = 1, epoch: int = 7, *, time_s: float = NOW_US / 1e6, value: float = 1e-8
) -> bytes:
    """A sound pack of one device with two readings."""
    first: dict[str, object] = {"bn": f"urn:dev:lm:gm0402:{name}", "bt": time_s}
    if seq is not None:
        first |= {"lm-epoch": epoch, "lm-seq": seq}
    first |= {"n": "/air/0/pm10", "u": "kg/m3", "v": value}
    return json.dumps([first, {"n": "/air/0/pm25", "u": "kg/m3", "v": value}], separators=(",", ":")).encode()
