"""The self-test: every part tried once, each with PASS, WARN or FAIL and the next step.

Without settings it tries what needs none: the disk, an outbox, a pack, the clock. With settings also each driver and
each link. A running agent is asked for the same by the engineer at the pole, without touching its outbox.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, unique
from pathlib import Path
from typing import Final

from lichtmast.edge import limits
from lichtmast.edge.clock import Clock
from lichtmast.edge.connecting import FiledIdentity, errand_of, make_links
from lichtmast.edge.drivers import Worker
from lichtmast.edge.errors import EdgeError
from lichtmast.edge.identity import Moment
from lichtmast.edge.outbox import Draft, Outbox, OutboxSettings
from lichtmast.edge.preparing import Prepared, make_workers
from lichtmast.edge.sampling import Measured
from lichtmast.edge.timekeeping import Stamp
from lichtmast.edge.timekeeping import limits as time_limits
from lichtmast.edge.timekeeping.kernel import observe_kernel, read_kernel
from lichtmast.edge.uplink import UplinkError
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.senml import decode
from lichtmast.wire.twin import State

_TRIAL: Final = DeviceId("gm0000", "selftest")
_ROOM_BYTES: Final = 16 * 1024 * 1024
"""Free disk below which the self-test warns."""


@unique
class Verdict(Enum):
    """How a check ended."""

    PASS = "PASS"  # noqa: S105 - a verdict
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what was found, and what to do where it is not well."""

    name: str
    verdict: Verdict
    told: str
    remedy: str = ""


async def selftest(prepared: Prepared | None, clock: Clock) -> AsyncIterator[Check]:
    """Run every check, one after the other."""
    folder = _existing(prepared.settings.device.state) if prepared is not None else Path(tempfile.gettempdir())
    yield await asyncio.to_thread(_check_disk, folder)
    async for check in _check_outbox(folder, clock):
        yield check
    yield _check_clock(prepared, clock)
    if prepared is not None:
        async for check in _check_drivers(prepared, clock):
            yield check
        if prepared.settings.identity.label is not None:
            from lichtmast.edge.identity.looking import check_identity  # noqa: PLC0415 - brings cryptography

            errand = errand_of(prepared.settings, prepared.settings.identity.label)
            for name, verdict, found, remedy in await asyncio.to_thread(check_identity, errand):
                yield Check(name, Verdict(verdict), found, remedy)
        async for check in _check_links(prepared, _moment(clock)):
            yield check


async def checks_of_running(prepared: Prepared, state: State, workers: Mapping[str, Worker]) -> Mapping[str, str]:
    """Each check of a running agent by its name: "ok", or what is wrong and what to do."""
    told: dict[str, str] = {}
    outbox, uplink, time = (state.reports[name] for name in ("outbox", "uplink", "time"))
    told["outbox"] = "ok" if outbox["healthy"] else f"{outbox['fault']}; look at the disk"
    told["link"] = "ok" if uplink["connected"] else f"{uplink['last_trouble'] or 'not connected yet'}; see the log"
    doubt = time["doubt"] or f"{time['source']} does not vouch for it"
    told["clock"] = "ok" if time["trusted"] else f"{doubt}; readings wait for their time"
    if "identity" in state.reports:
        identity = state.reports["identity"]
        told["identity"] = "ok" if identity["status"] == "ready" else str(identity["told"])
    for name, worker in workers.items():
        reason = worker.statistics().last_reason
        told[f"driver {name}"] = f"{reason}; see docs/reference/edge-drivers.md" if reason else "ok"
    disk = await asyncio.to_thread(_check_disk, prepared.settings.device.state)
    told["disk"] = "ok" if disk.verdict is Verdict.PASS else f"{disk.told}; {disk.remedy}"
    return told


def _check_disk(folder: Path) -> Check:
    """A file is written, synced, read and removed."""
    trial = folder / f".selftest-{os.getpid()}"
    try:
        with trial.open("wb") as file:
            file.write(b"lichtmast")
            file.flush()
            os.fsync(file.fileno())
        read = trial.read_bytes()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Check(
            "disk",
            Verdict.FAIL,
            f"{folder} cannot be written: {error.strerror}",
            "mend the disk, or choose [device] state",
        )
    finally:
        with suppress(OSError):
            trial.unlink(missing_ok=True)
    if read != b"lichtmast":
        return Check("disk", Verdict.FAIL, f"{folder} gave back other bytes", "replace the card")
    if free < _ROOM_BYTES:
        return Check("disk", Verdict.WARN, f"{folder} has {free / 2**20:.0f} MB free", "make room")
    return Check("disk", Verdict.PASS, f"{folder} takes a synced write; {free / 2**20:,.0f} MB free")


async def _check_outbox(folder: Path, clock: Clock) -> AsyncIterator[Check]:
    """A pack goes in, the outbox is closed and opened, the pack comes out and reads as it was measured."""
    try:
        with tempfile.TemporaryDirectory(prefix=".selftest-", dir=folder) as trial:
            payload = await asyncio.to_thread(_through_outbox, Path(trial) / "outbox.sqlite", clock)
    except (EdgeError, OSError) as error:
        yield Check("outbox", Verdict.FAIL, str(error), "mend what it says")
        return
    yield Check("outbox", Verdict.PASS, "a pack outlived a restart")
    pack = decode(payload, 110, clock.wall_us())
    values = [one.value for one in pack.records]
    if pack.device == _TRIAL and values == [21.5, True]:
        yield Check("pack", Verdict.PASS, f"{len(payload)} bytes of SenML came back as they were measured")
    else:
        yield Check("pack", Verdict.FAIL, f"a pack came back as {values}", "install lichtmast-edge anew")


def _through_outbox(path: Path, clock: Clock) -> bytes:
    now_s = clock.monotonic_s()
    warm = Measured("/weather/0/temperature", value=21.5, unit="Cel", at_s=now_s)
    draft = Draft((warm, Measured("/lamp/0/failure", value=True, unit=None, at_s=now_s)))
    stamp = Stamp(clock.wall_us() - round(now_s * 1e6), 0.0)
    outbox = Outbox.open(path, _TRIAL, settings=OutboxSettings(), clock=clock)
    try:
        numbers = outbox.put([draft], stamp)
    finally:
        outbox.close()
    outbox = Outbox.open(path, _TRIAL, settings=OutboxSettings(), clock=clock)
    try:
        (packed,) = outbox.load(numbers)
        return packed.payload
    finally:
        outbox.close()


def _check_clock(prepared: Prepared | None, clock: Clock) -> Check:
    source = "kernel" if prepared is None else prepared.settings.clock.source
    if source == "assumed":
        return Check("clock", Verdict.PASS, "assumed to be right, as the settings say")
    if source == "sntp":
        return Check("clock", Verdict.PASS, "the agent asks its SNTP servers when it runs")
    try:
        told = read_kernel()
        trusted = observe_kernel(clock) is not None
    except OSError as error:
        return Check("clock", Verdict.WARN, str(error), 'allow adjtimex, or set [clock] source = "sntp"')
    if trusted:
        return Check("clock", Verdict.PASS, f"synchronised, off by at most {told.error_s:.3f} s")
    return Check(
        "clock",
        Verdict.WARN,
        "nobody disciplines this clock; readings would wait for their time",
        "enable systemd-timesyncd or chrony, or set [clock] source",
    )


async def _check_drivers(prepared: Prepared, clock: Clock) -> AsyncIterator[Check]:
    """Each driver is read once."""
    reasons: dict[str, str] = {}
    workers = make_workers(prepared, clock, reasons.__setitem__)
    for name, worker in workers.items():
        values = await worker.read()
        shown = ", ".join(f"{channel} {_shown(value)}" for channel, value in sorted(values.items()))
        if name in reasons:
            remedy = "check wiring and options; see docs/reference/edge-drivers.md"
            yield Check(f"driver {name}", Verdict.FAIL if not values else Verdict.WARN, reasons[name], remedy)
        else:
            yield Check(f"driver {name}", Verdict.PASS, shown or "it has actuators only")
        await worker.close()


def _moment(clock: Clock) -> Moment:
    """Now, as certificates are judged: nobody vouches for a clock here, but it is not before this software was."""
    return Moment(max(clock.wall_us(), time_limits.FLOOR_US), is_trusted=False)


async def _check_links(prepared: Prepared, moment: Moment) -> AsyncIterator[Check]:
    """Each link is opened once; over CoAP in plaintext that shows only that the name has an address."""
    settings = prepared.settings
    label = settings.identity.label
    identity = None if label is None else FiledIdentity(errand_of(settings, label).folder, moment)
    for link in make_links(settings, identity):
        host, port = settings.uplink.endpoints[link.name]
        where = f"{link.name} to {host} port {port}"
        try:
            async with asyncio.timeout(limits.CHECK_S), link.open() as session:
                heard = session.conversation is not None or link.name in settings.uplink.tls
        except (UplinkError, TimeoutError) as error:
            told = str(error) or f"no answer in {limits.CHECK_S:.0f} s"
            yield Check(where, Verdict.FAIL, told, "check address, network and server; packs are kept meanwhile")
        else:
            yield Check(where, Verdict.PASS, "connected" if heard else "it has an address; packs will tell")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above that exists: a self-test makes none."""
    return next(one for one in (folder, *folder.parents) if os.access(one, os.F_OK))


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
