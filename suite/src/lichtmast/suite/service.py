"""The composition root: all roles in one process and one TaskGroup, with the broker as its only child.

Start order is also the order of dependence: broker, store and register; pipeline; CoAP door; pages. They end the other
way round, so that what was acknowledged has been written when the store closes.
"""

import asyncio
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from lichtmast.api import ApiSettings, Broadcaster, create_app, open_socket, serve
from lichtmast.ingest import observations
from lichtmast.ingest.announcer import Announcer
from lichtmast.ingest.broker import Broker, BrokerSettings
from lichtmast.ingest.calm import calm_collector
from lichtmast.ingest.coap.door import CoapDoor
from lichtmast.ingest.coap.settings import CoapSettings
from lichtmast.ingest.errors import LogError
from lichtmast.ingest.inspector import Inspector
from lichtmast.ingest.log import Log
from lichtmast.ingest.pipeline.roster import Roster
from lichtmast.ingest.pipeline.run import Pipeline
from lichtmast.registry import Registry
from lichtmast.store import DuckStore
from lichtmast.suite.clock import now_us
from lichtmast.suite.device_post import DevicePost
from lichtmast.suite.errors import SuiteError
from lichtmast.suite.folder import Folder
from lichtmast.suite.operator_app import operator_app
from lichtmast.suite.ports import require_free
from lichtmast.suite.settings import Settings
from lichtmast.wire import topics
from lichtmast.wire.profile import load_profiles

_log = logging.getLogger(__name__)

READY_TIMEOUT_S: Final = 60.0
REGISTERED_TIMEOUT_S: Final = 30.0
LAG_POLL_S: Final = 1.0
CAUGHT_UP_POLL_S: Final = 0.05


@dataclass(slots=True)
class Service:
    """A running Lichtmast: its rooms, and where it listens."""

    folder: Folder
    settings: Settings
    registry: Registry
    store: DuckStore
    broker: Broker
    pipeline: Pipeline
    door: CoapDoor
    log: Log
    post: DevicePost
    broadcaster: Broadcaster
    http_port: int
    lag: int | None = None
    """Messages of the log that were not stored yet when it was last asked; None where it did not answer."""

    async def watch_lag(self) -> None:
        """Keep `lag` true to a second."""
        while True:
            try:
                self.lag = await self.waiting()
            except LogError:
                self.lag = None
            await asyncio.sleep(LAG_POLL_S)

    @property
    def http_url(self) -> str:
        """The address of the pages."""
        return f"http://[{self.settings.host}]:{self.http_port}/"

    @property
    def mqtt(self) -> tuple[str, int]:
        """Where devices speak MQTT."""
        return self.settings.host, self.broker.mqtt_port

    @property
    def coap(self) -> tuple[str, int]:
        """Where devices speak CoAP."""
        return self.settings.host, self.door.port

    async def waiting(self) -> int:
        """How many log messages the pipeline has still to store. Raises LogError where the log cannot be asked."""
        extent = await self.log.extent(topics.READINGS_STREAM)
        return max(extent.last - self.pipeline.statistics.position, 0)

    async def wait_caught_up(self, timeout_s: float) -> bool:
        """Wait until all that the log holds at this call is stored; False when time ran out first."""
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            try:
                if await self.waiting() == 0:
                    return True
            except LogError:
                pass  # the broker is being restarted; ask again
            await asyncio.sleep(CAUGHT_UP_POLL_S)
        return False

    async def wait_registered(self, timeout_s: float = REGISTERED_TIMEOUT_S) -> None:
        """Wait until the doors and the pipeline know every device that is in the register at this call."""
        revision = await asyncio.to_thread(self.registry.revision)
        async with asyncio.timeout(timeout_s):
            while self.pipeline.roster_revision < revision:
                await asyncio.sleep(CAUGHT_UP_POLL_S)

    def health(self) -> dict[str, Any]:
        """What a monitor wants to know."""
        statistics = self.pipeline.statistics
        return {
            "http_url": self.http_url,
            "mqtt_port": self.broker.mqtt_port,
            "coap_port": self.door.port,
            "broker_pid": self.broker.pid,
            "roster_revision": self.pipeline.roster_revision,
            "log_position": statistics.position,
            "committed_at_us": statistics.committed_at_us,
            "packs": statistics.packs,
            "quarantined": statistics.quarantined,
            "refusals": statistics.refusals,
            "duplicates": statistics.duplicates,
            "broker_restarts": self.broker.restarts,
            "pipeline_restarts": statistics.restarts,
        }


@asynccontextmanager
async def running(folder: Folder, settings: Settings) -> AsyncIterator[Service]:
    """A Lichtmast for as long as the block lasts. Raises SuiteError or an error of its rooms where it cannot start."""
    async with AsyncExitStack() as stack:
        # The store first: it holds the lock that keeps a second Lichtmast out of this folder.
        store = DuckStore.open(folder.store, clock_us=now_us)
        stack.callback(store.close)
        registry = stack.enter_context(Registry.open(folder.registry))
        await require_free(settings.host, settings.mqtt_port, "--mqtt-port")
        broker = await stack.enter_async_context(
            Broker(
                BrokerSettings(
                    folder.broker, settings.host, mqtt_port=settings.mqtt_port, sync_interval=settings.sync_interval
                )
            )
        )
        tasks = await stack.enter_async_context(_Tasks())
        tasks.start(broker.supervise(), "broker")
        tasks.start(broker.heal(), "broker-disk")

        def connect() -> Log:
            free_bytes = shutil.disk_usage(folder.broker).free
            return Log(broker.client_url, broker.user, broker.password, free_bytes=free_bytes)

        announcer = Announcer(settings.host, broker.client_port, broker.user, broker.password)
        tasks.start(announcer.run(), "announcer")
        inspector = Inspector(Roster.build(registry.directory(), load_profiles()))
        pipeline = Pipeline(connect, store, registry, announcer, on_roster=inspector.renew)
        tasks.start(pipeline.run(), "pipeline")
        log = await stack.enter_async_context(connect())

        async def publish(envelope: bytes) -> None:
            await log.append(topics.COAP_DOOR_SUBJECT, envelope)

        door = await stack.enter_async_context(
            CoapDoor(CoapSettings(host=settings.host, port=settings.coap_port), inspector.inspect, publish)
        )
        async with asyncio.timeout(READY_TIMEOUT_S):
            await pipeline.ready.wait()
        calm_collector()
        broadcaster = Broadcaster()
        listener = open_socket(settings.host, settings.http_port)
        post = DevicePost(broker, log, store)
        service = Service(
            folder, settings, registry, store, broker, pipeline, door, log, post, broadcaster, listener.getsockname()[1]
        )
        app = create_app(registry, store, broadcaster, ApiSettings(), log_lag=lambda: service.lag)
        tasks.start(service.watch_lag(), "log-lag")
        tasks.start(serve(app, [listener], broadcaster), "pages")
        tasks.start(_feed(connect, broadcaster), "live-feed")
        await stack.enter_async_context(_operator(service))
        _log.warning("open_access host=%s (loopback only: devices have no certificates yet)", settings.host)
        yield service


async def _feed(connect: Any, broadcaster: Broadcaster) -> None:  # noqa: ANN401 - makes a Log
    """Hand what the pipeline validated to the live pages."""
    async for position, table in observations.follow(connect):
        broadcaster.publish_nowait(table, position)


@asynccontextmanager
async def _operator(service: Service) -> AsyncIterator[None]:
    """The endpoint of this program's own commands, on a loopback port with a token that only the owner can read."""
    token = secrets.token_urlsafe(32)
    listener = open_socket("::1", 0)
    app = operator_app(service, token)
    path = service.folder.operator
    path.unlink(missing_ok=True)
    told = json.dumps({"url": f"http://[::1]:{listener.getsockname()[1]}", "token": token, "pid": os.getpid()})
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:  # noqa: ASYNC230, PTH123 - a line, once; the mode must hold from the first byte
        file.write(told)
    async with _Tasks() as tasks:
        tasks.start(serve(app, [listener], Broadcaster()), "operator")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


class _Tasks:
    """Tasks that must all go on: when one ends by itself, the block that they belong to ends with the reason."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = False

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending = True
        for task in reversed(self._tasks):
            task.cancel()
        await self._group.__aexit__(kind, error, trace)

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Begin a task of this block."""
        self._tasks.append(self._group.create_task(self._hold(work, name), name=name))

    async def _hold(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """A task group takes a child that ends, or is cancelled from within, for one that is done. We do not."""
        this = asyncio.current_task()
        try:
            await work
        except asyncio.CancelledError:
            if self._ending or (this is not None and this.cancelling()):
                raise
        if not self._ending:
            raise SuiteError(f"the task {name!r} ended while Lichtmast was running; see the log lines above")
