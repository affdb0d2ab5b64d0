"""The agent: one device, its rooms put together in one task group.

How a reading goes: `collect` has a driver's thread read it and hands it to the sampler; every interval the sampler's
report becomes a draft, the outbox's thread makes it a numbered pack on the disk, and delivery sends it until the store
has it. How a command goes: delivery hears it, the twin judges it and moves the lamp through the driver's worker, and
its answer goes up as an event. Rules go the same way and ask nobody.

Will not: decide anything. Whatever is a rule is in the rooms.
"""

import asyncio
import logging
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Final, Never

from lichtmast.edge import limits, reporting
from lichtmast.edge.clock import Clock
from lichtmast.edge.connecting import make_caretaker, make_links
from lichtmast.edge.drivers import Worker
from lichtmast.edge.identity import Moment
from lichtmast.edge.outbox import Draft, OutboxThread
from lichtmast.edge.pole import open_pole
from lichtmast.edge.preparing import Prepared, make_workers
from lichtmast.edge.sampling import Measured, Sampler, Schedule, Suppressed, collect, with_wishes
from lichtmast.edge.settings import Settings
from lichtmast.edge.timekeeping import Observation, Stamp
from lichtmast.edge.timekeeping.kernel import observe_assumed, observe_kernel
from lichtmast.edge.timekeeping.sntp import run_sntp
from lichtmast.edge.timekeeping.timekeeper import Timekeeper
from lichtmast.edge.twin import Configuration, Hands, Twin, reboot
from lichtmast.edge.twin.rules import zone_named
from lichtmast.edge.uplink import Delivery, Failover
from lichtmast.edge.watchdog import Watchdog
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.twin import Answer, Event, Scalar, State, TwinError

_LOG: Final = logging.getLogger(__name__)
VERSION: Final = "lichtmast-edge 0.1.0"
OUTBOX_FILE: Final = "outbox.sqlite"
_LOCAL_ZONE: Final = "Europe/Amsterdam"
"""Whose midnight ends the day of a counter."""


class Agent:
    """One agent, built in a running event loop around an outbox that is open; `run` is its life."""

    def __init__(self, prepared: Prepared, outbox: OutboxThread, clock: Clock) -> None:
        settings = prepared.settings
        self._prepared = prepared
        self._outbox = outbox
        self._clock = clock
        self._started_s = clock.monotonic_s()
        self._time = Timekeeper(floor_us=outbox.floor_us)
        self._reconfigured = asyncio.Event()
        self._changed_interval = asyncio.Event()
        self.workers = make_workers(prepared, clock, self._driver_refused)
        channels = {name: worker.channels for name, worker in self.workers.items()}
        self.sampler = Sampler(
            prepared.drivers, channels, now_s=self._started_s, fresh_salt=partial(secrets.token_bytes, 16)
        )
        self.caretaker = make_caretaker(
            prepared, clock, self._moment, on_certificate=self._certified, on_told=self._tell_refused
        )
        self.twin = Twin(
            prepared.configuration,
            prepared.abilities,
            settings.device.state,
            Hands(
                actuate=self._actuate,
                reboot=partial(reboot, settings.reboot_command),
                report=self._tell,
                configured=self._configured,
                restate=self.restate,
            ),
            clock=clock,
            stamp=self._stamp,
            latest=self.sampler.latest,
        )
        self.delivery = Delivery(
            outbox,
            make_links(settings, self.caretaker),
            Failover(
                settings.uplink.order,
                patience_s=settings.uplink.failover_after_s,
                return_s=settings.uplink.return_after_s,
                seed=prepared.seed,
            ),
            clock=clock,
            seed=prepared.seed,
            spread_s=settings.uplink.spread_s,
            on_cfg=self.twin.wish_nowait,
            on_cmd=self.twin.order_nowait,
            on_ack_refused=partial(self._tell_refused, "acknowledgement_refused"),
            on_pack_refused=partial(self._tell_refused, "pack_refused"),
            on_judged=(lambda _: None) if self.caretaker is None else self.caretaker.judged,
            state=lambda: self.state().encode(),
        )
        self._outbox_fault = ""

    async def run(self, watchdog: Watchdog) -> Never:
        """Measure, keep, deliver and obey until cancelled. Raises RebootAskedError, in a group."""
        settings = self._prepared.settings
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_time(), name="time")
                group.create_task(self._doubt_time(), name="time is doubted")
                group.create_task(self._measure(), name="measure")
                group.create_task(self._report(), name="report")
                group.create_task(self._restate(), name="state")
                group.create_task(self.twin.run(), name="twin")
                group.create_task(self.delivery.run(), name="delivery")
                group.create_task(watchdog.run(), name="watchdog")
                if self.caretaker is not None:
                    group.create_task(self.caretaker.run(), name="identity")
                if settings.pole is not None:
                    pole = open_pole(
                        self, interfaces=settings.pole.interfaces, port=settings.pole.port, seed=self._prepared.seed
                    )
                    group.create_task(pole.run(), name="pole")
                watchdog.say("READY=1")
                _LOG.warning(
                    "agent_started",
                    extra={
                        "device": self.device,
                        "links": ",".join(settings.uplink.order),
                        "epoch": self._outbox.epoch,
                    },
                )
        finally:
            watchdog.say("STOPPING=1")
            with suppress(TimeoutError):  # a disk that hangs must not keep the machine from going down
                async with asyncio.timeout(limits.LAST_KEEP_S):
                    await self._keep()  # the interval that was running
            for worker in self.workers.values():
                await worker.close()
        raise AssertionError("unreachable")  # the group ends by an exception only

    # What the engineer at the pole sees (pole.PoleView).

    @property
    def device(self) -> DeviceId:
        """Who this is."""
        return self._prepared.settings.device.id

    def now_s(self) -> float:
        """Monotonic time, as readings have it."""
        return self._clock.monotonic_s()

    def state(self) -> State:
        """How it is now."""
        now_s = self._clock.monotonic_s()
        configuration = self.twin.configuration
        time = self._time.statistics(now_s)
        return State(
            VERSION,
            self._clock.boot,
            round(now_s - self._started_s, 3),
            configuration.version,
            configuration.interval_s,
            self._wall_s(),
            reporting.levels(self.twin.levels()),
            {
                "outbox": self.outbox(),
                "uplink": reporting.figures(self.delivery.statistics()),
                "time": reporting.figures(time) | {"source": self._prepared.settings.clock.source},
                "sampling": reporting.figures(self.sampler.statistics()),
                **({} if self.caretaker is None else {"identity": reporting.figures(self.caretaker.statistics())}),
                "drivers": reporting.drivers({one.name: one.statistics().last_reason for one in self.workers.values()}),
            },
        )

    def readings(self) -> Sequence[Measured]:
        """The latest of each suffix."""
        return list(self.sampler.latest().values())

    def outbox(self) -> Mapping[str, Scalar]:
        """How much waits, and what had to go."""
        return reporting.figures(self._outbox.statistics())

    async def selftest(self) -> Mapping[str, str]:
        """The checks that can be made while everything runs."""
        # Checks need this module's settings only; they are imported here since an agent makes them seldom.
        running = import_module("lichtmast.edge.checks").checks_of_running
        told: Mapping[str, str] = await running(self._prepared, self.state(), self.workers)
        return told

    def restate(self) -> None:
        """Publish the state anew."""
        self.delivery.state_changed_nowait()

    # Tasks.

    async def _keep_time(self) -> Never:
        """Ask whoever vouches for the clock; often while nobody does, so that readings do not wait."""
        clock, told = self._clock, self._prepared.settings.clock
        if told.source == "sntp":
            await run_sntp(
                told.servers,
                clock=clock,
                floor_us=self._outbox.floor_us,
                seed=self._prepared.seed,
                on_observation=self._observed,
            )
        observe = observe_kernel if told.source == "kernel" else observe_assumed
        silent = False
        while True:
            try:
                observation = observe(clock)
            except OSError as error:
                observation = None
                if not silent:
                    _LOG.error("kernel_clock_unreadable", extra={"reason": str(error)})
                silent = True
            if observation is not None:
                self._observed(observation, clock.monotonic_s())
            await asyncio.sleep(limits.CLOCK_POLL_S if self._stamp() else limits.CLOCK_POLL_UNTRUSTED_S)

    async def _doubt_time(self) -> None:
        """Say once, soon after the start, that nobody vouches for the clock."""
        await asyncio.sleep(limits.CLOCK_DOUBT_S)
        if self._stamp() is None:
            hint = "readings wait for their time: enable systemd-timesyncd or chrony, or set [clock] source"
            _LOG.warning("clock_not_trusted", extra={"source": self._prepared.settings.clock.source, "hint": hint})

    def _observed(self, observation: Observation, monotonic_s: float) -> bool:
        """Take up what a source tells; whether time is trusted now."""
        was_trusted = self._stamp() is not None
        self._time.observe(observation, monotonic_s)
        is_trusted = self._stamp() is not None
        if was_trusted is not is_trusted:
            _LOG.warning("clock_trusted" if is_trusted else "clock_distrusted")
            self.restate()
            if self.caretaker is not None and is_trusted:
                # A server that was judged by a floor is judged anew.
                self.caretaker.look_nowait()
                self.delivery.reconnect_nowait()
        return is_trusted

    async def _measure(self) -> Never:
        """A task for each driver, begun anew when the configuration changed how often they are read."""
        while True:
            self._reconfigured.clear()
            drivers = with_wishes(self._prepared.drivers, self.twin.configuration.sensors)
            self.sampler.apply(drivers)
            now_s = self._clock.monotonic_s()
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(
                        collect(
                            self.workers[one.name],
                            self.sampler,
                            Schedule(one.sample_s, seed=self._prepared.seed, now_s=now_s),
                            self._clock.monotonic_s,
                        ),
                        name=f"driver {one.name}",
                    )
                    for one in drivers
                    if one.readings
                ]
                await self._reconfigured.wait()
                for task in tasks:
                    task.cancel()

    async def _report(self) -> Never:
        """A draft every interval, on the disk and then on its way."""
        interval_s = self.twin.configuration.interval_s
        schedule = Schedule(
            interval_s, seed=self._prepared.seed, now_s=self._clock.monotonic_s(), spread_s=min(interval_s, 10.0)
        )
        while True:
            self._changed_interval.clear()
            schedule.change(self.twin.configuration.interval_s, self._clock.monotonic_s())
            try:
                async with asyncio.timeout(max(0.0, schedule.next_s - self._clock.monotonic_s())):
                    await self._changed_interval.wait()
            except TimeoutError:
                if schedule.due(self._clock.monotonic_s()):
                    await self._keep()

    async def _keep(self) -> None:
        """End an interval: what it gave goes to the disk, and what is on the disk goes on its way."""
        stamp = self._stamp()
        report = self.sampler.report(self._clock.monotonic_s(), self._day(stamp))
        self._count_suppressed(report.suppressed)
        seqs = await self._outbox.put([Draft(report.readings)] if report.readings else [], stamp)
        if stamp is not None and self._outbox.statistics().unstamped:
            seqs = sorted({*seqs, *await self._outbox.stamp_waiting(stamp)})
        self.delivery.added_nowait(seqs)
        self._look_at_outbox()

    def _look_at_outbox(self) -> None:
        """Tell upstream when the disk fails, when it works again, and what was found damaged."""
        told = self._outbox.statistics()
        if told.fault == self._outbox_fault:
            return
        self._outbox_fault = told.fault
        name = "outbox_broken" if not told.healthy else "outbox_damaged" if told.fault else "outbox_recovered"
        figures = {"epoch": told.epoch, "damaged_packs": told.damaged_packs, "files_replaced": told.files_replaced}
        _LOG.warning(name, extra={"reason": told.fault, **figures})
        self._tell(Event(name, reporting.plain(told.fault), self._wall_s(), figures))
        self.restate()

    async def _restate(self) -> Never:
        while True:
            self.restate()
            await asyncio.sleep(limits.STATE_S)

    # What the rooms ask of each other.

    def _stamp(self) -> Stamp | None:
        return self._time.stamp(self._clock.monotonic_s())

    def _moment(self) -> Moment:
        """Now, or the time that it cannot be before."""
        stamp = self._stamp()
        if stamp is None:
            return Moment(self._outbox.floor_us, is_trusted=False)
        return Moment(stamp.wall_us(self._clock.monotonic_s()), is_trusted=True)

    def _certified(self) -> None:
        self.delivery.reconnect_nowait()
        self.restate()

    def _wall_s(self) -> float | None:
        stamp = self._stamp()
        return None if stamp is None else stamp.wall_us(self._clock.monotonic_s()) / 1e6

    def _day(self, stamp: Stamp | None) -> int | None:
        """The number of the local day; None while it is not known."""
        zone = zone_named(_LOCAL_ZONE)
        if stamp is None or zone is None:
            return None
        return datetime.fromtimestamp(stamp.wall_us(self._clock.monotonic_s()) / 1e6, zone).toordinal()

    def _tell(self, event: Event | Answer) -> None:
        try:
            payload = event.encode()
        except TwinError as error:  # a text of a driver or of the disk that no document may carry
            _LOG.error("event_unsayable", extra={"reason": str(error)})
            return
        self.delivery.report_nowait(payload, is_answer=isinstance(event, Answer))

    def _tell_refused(self, name: str, reason: str) -> None:
        self._tell(Event(name, reporting.plain(reason), self._wall_s()))

    def _driver_refused(self, name: str, reason: str) -> None:
        _LOG.warning("driver_refused", extra={"driver": name, "reason": reason})
        self._tell(Event("driver_refused", f"{name}: {reason}", self._wall_s()))

    def _count_suppressed(self, suppressed: Sequence[Suppressed]) -> None:
        for one in suppressed:
            self._tell(
                Event(
                    "count_suppressed",
                    f"{one.suffix}: fewer than {one.k}, or it would give such a count away",
                    self._wall_s(),
                    {"suffix": one.suffix, "k": one.k, "interval_s": round(one.interval_s, 3)},
                )
            )

    def _configured(self, configuration: Configuration) -> None:
        _LOG.info("configuration_in_force", extra={"version": configuration.version})
        self._reconfigured.set()
        self._changed_interval.set()

    async def _actuate(self, suffix: str, level: float) -> None:
        worker, channel = self._hand_of(suffix)
        boolean = any(one.name == channel and one.kind == "boolean" for one in worker.channels)
        await worker.write(channel, level > 0 if boolean else level)

    def _hand_of(self, suffix: str) -> tuple[Worker, str]:
        return next(
            (self.workers[driver.name], actuator.channel)
            for driver in self._prepared.drivers
            for actuator in driver.actuators
            if actuator.suffix == suffix
        )


def outbox_path(settings: Settings) -> Path:
    """Where the outbox is."""
    return settings.device.state / OUTBOX_FILE


async def run_agent(prepared: Prepared, clock: Clock, watchdog: Watchdog) -> Never:
    """Open the state folder and live. Raises OutboxError, OSError, and RebootAskedError in a group."""
    settings = prepared.settings
    settings.device.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with AsyncExitStack() as stack:
        outbox = await stack.enter_async_context(
            OutboxThread(outbox_path(settings), settings.device.id, settings=prepared.outbox, clock=clock)
        )
        await Agent(prepared, outbox, clock).run(watchdog)
    raise AssertionError("unreachable")  # the agent ends by an exception only
