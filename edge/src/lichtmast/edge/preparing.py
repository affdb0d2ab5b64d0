"""What a settings file comes to: drivers, abilities and the configuration, checked against each other and the profile.

Opens no bus, no socket and no file; `lichtmast-edge check` is this and nothing more.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from zlib import crc32

from lichtmast.edge.clock import Clock
from lichtmast.edge.drivers import Driver, DriverContext, Worker, build_driver
from lichtmast.edge.errors import SettingsError
from lichtmast.edge.outbox import OutboxSettings
from lichtmast.edge.sampling import DriverSettings, faults_of, fixed_suffixes, read_drivers
from lichtmast.edge.settings import Settings
from lichtmast.edge.twin import Abilities, Configuration, from_settings
from lichtmast.wire.profile import load_profiles


@dataclass(frozen=True, slots=True)
class Prepared:
    """The settings, understood. `seed` makes this agent's jitter its own, and the same at each start."""

    settings: Settings
    drivers: tuple[DriverSettings, ...]
    abilities: Abilities
    configuration: Configuration
    seed: int

    @property
    def outbox(self) -> OutboxSettings:
        """The outbox's part."""
        kept = self.settings.outbox
        return OutboxSettings(kept.hours, kept.bytes_max, kept.drop, self.settings.report.content_format)


def prepare(settings: Settings) -> Prepared:
    """Understand the settings and build each driver once, to see that all fit. Raises SettingsError."""
    _require_identity(settings)
    drivers = read_drivers(settings.drivers)
    place = settings.place
    abilities = Abilities(
        measured=frozenset(
            output.suffix for driver in drivers for reading in driver.readings for output in reading.outputs
        ),
        actuators=tuple(actuator.suffix for driver in drivers for actuator in driver.actuators),
        place=None if place is None else (place.latitude, place.longitude),
        fixed=fixed_suffixes(drivers),
    )
    configuration = from_settings(settings.report.interval_s, settings.rules, abilities)
    prepared = Prepared(settings, drivers, abilities, configuration, crc32(str(settings.device.id).encode()))
    channels = {one.name: _builder(prepared, one, time.monotonic)().channels for one in drivers}
    faults = faults_of(drivers, channels, load_profiles()[settings.device.profile])
    if faults:
        raise SettingsError("; ".join(faults))
    return prepared


def _require_identity(settings: Settings) -> None:
    """What a secured link needs beside its table. Raises SettingsError."""
    uplink = settings.uplink
    secured = ", ".join(f"[uplink.{name}]" for name in uplink.order if name in uplink.tls)
    if secured and settings.identity.label is None:
        raise SettingsError(
            f"{secured} is secured, and [identity] label is missing: without it nobody knows this device, nor it the "
            "server. lichtmast-edge identity new makes its key, lichtmast device label on the server its label"
        )
    if "coap" in uplink.tls and find_spec("OpenSSL") is None:
        raise SettingsError("[uplink.coap] needs DTLS: install lichtmast-edge[coaps], or choose mqtt in [uplink] order")


def make_workers(prepared: Prepared, clock: Clock, on_refused: Callable[[str, str], None]) -> Mapping[str, Worker]:
    """A thread for each driver, by its name."""
    return {
        one.name: Worker(
            one.name,
            _builder(prepared, one, clock.monotonic_s),
            wanted=one.wanted,
            seed=prepared.seed,
            monotonic_s=clock.monotonic_s,
            on_refused=on_refused,
            timeout_s=one.read_timeout_s,
        )
        for one in prepared.drivers
    }


def _builder(prepared: Prepared, driver: DriverSettings, monotonic_s: Callable[[], float]) -> Callable[[], Driver]:
    """What makes the driver, as often as a fresh one is needed. It sleeps in its own thread, never in the loop's."""
    context = DriverContext(driver.name, prepared.seed, driver.wanted, monotonic_s, time.sleep)
    return partial(build_driver, driver.kind, driver.options, context)
