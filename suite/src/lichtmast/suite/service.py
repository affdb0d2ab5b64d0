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
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from lichtmast.api import Broadcaster, create_app, open_socket, serve
from lichtmast.api.management import Management
from lichtmast.ingest import observations
from lichtmast.ingest.alerting.runner import Runner
from lichtmast.ingest.announcer import Announcer
from lichtmast.ingest.broker import Broker, BrokerSettings
from lichtmast.ingest.broker_settings import OWN_HOST
from lichtmast.ingest.calm import calm_collector
from lichtmast.ingest.coap.door import CoapDoor
from lichtmast.ingest.coap.settings import CoapSettings
from lichtmast.ingest.errors import LogError
from lichtmast.ingest.inspector import Inspector
from lichtmast.ingest.log import Log
from lichtmast.ingest.pipeline.roster import Roster
from lichtmast.ingest.pipeline.run import Pipeline
from lichtmast.ingest.quarantine import Desk
from lichtmast.ingest.validation.trial import try_rules
from lichtmast.registry import Registry
from lichtmast.store import DuckStore
from lichtmast.suite.addresses import api_settings, bracketed, page_url
from lichtmast.suite.alarms import Alarms, make_notifier
from lichtmast.suite.alert_trial import trial_told
from lichtmast.suite.clock import now_us
from lichtmast.suite.device_post import DevicePost
from lichtmast.suite.folder import Folder
from lichtmast.suite.operator_app import operator_app
from lichtmast.suite.operator_quarantine import make_desk
from lichtmast.suite.ports import require_free
from lichtmast.suite.secure_doors import open_secure_doors
from lichtmast.suite.secured import Secured, secured
from lichtmast.suite.settings import Settings
from lichtmast.suite.silence import Silence, silence
from lichtmast.suite.tasks import Tasks
from lichtmast.wire import topics
from lichtmast.wire.profile import load_profiles

_log = logging.getLogger(__name__)

READY_TIMEOUT_S: Final = 60.0
REGISTERED_TIMEOUT_S: Final = 30.0
LAG_POLL_S: Final = 1.0
CAUGHT_UP_POLL_S: Final = 0.05
UPKEEP_S: Final = 86_400.0
SECURE_BROKER_MB: Final = 512


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
    desk: Desk
    """Replays and discards what lies in quarantine."""
    alarms: Alarms
    secure: Secured | None = None
    """Certificates, people and admission; None where everything is open, on loopback."""
    quiet: Silence | None = None
    """Why devices are quiet; there as soon as everything listens."""
    est_port: int | None = None
    doors: Callable[[], dict[str, Any]] = dict
    """What the doors of a secure Lichtmast have counted; nothing where everything is open."""
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
        return page_url(self.settings, self.http_port)

    @property
    def est_url(self) -> str | None:
        """Where devices enrol; None where everything is open."""
        return None if self.est_port is None else f"https://{bracketed(self.settings.names[0])}:{self.est_port}"

    @property
    def first_run_url(self) -> str | None:
        """The link that makes the first admin; None where there is one."""
        if self.secure is None or self.secure.first_run is None:
            return None
        return f"{self.http_url}first-run#{self.secure.first_run}"

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

    def standing(self) -> dict[str, int | None]:
        """How far store and alerts are, for /healthz: the engine had to begin anew `alerts_failing` times in a row."""
        return {
            "log_offset": self.pipeline.statistics.position,
            "log_lag": self.lag,
            "alerts_failing": self.alarms.runner.statistics.failing,
        }

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
            "alerts": asdict(self.alarms.runner.statistics),
            "doors": self.doors(),
        }


@asynccontextmanager
async def running(folder: Folder, settings: Settings) -> AsyncIterator[Service]:
    """A Lichtmast for as long as the block lasts. Raises SuiteError or an error of its rooms where it cannot start."""
    async with AsyncExitStack() as stack:
        # The store first: it holds the lock that keeps a second Lichtmast out of this folder.
        store = DuckStore.open(folder.store, clock_us=now_us)
        stack.callback(store.close)
        registry = stack.enter_context(Registry.open(folder.registry))
        secure = await stack.enter_async_context(secured(folder, settings, registry))
        await require_free(settings.host, settings.mqtt_port, "--mqtt-port")
        broker = await stack.enter_async_context(Broker(_broker_settings(folder, settings, secure)))
        tasks = await stack.enter_async_context(Tasks())
        tasks.start(broker.supervise(), "broker")
        tasks.start(broker.heal(), "broker-disk")

        def connect() -> Log:
            free_bytes = shutil.disk_usage(folder.broker).free
            return Log(broker.client_url, broker.user, broker.password, free_bytes=free_bytes)

        announcer = Announcer(OWN_HOST, broker.client_port, broker.user, broker.password)
        tasks.start(announcer.run(), "announcer")
        inspector = Inspector(Roster.build(registry.directory(), load_profiles()))
        pipeline = Pipeline(connect, store, registry, announcer, on_roster=inspector.renew)
        tasks.start(pipeline.run(), "pipeline")
        log = await stack.enter_async_context(connect())

        async def publish(envelope: bytes) -> None:
            await log.append(topics.COAP_DOOR_SUBJECT, envelope)

        coap = CoapSettings(host=settings.host, port=settings.coap_port)
        dtls = None if secure is None else secure.dtls
        door = await stack.enter_async_context(CoapDoor(coap, inspector.inspect, publish, dtls=dtls))
        async with asyncio.timeout(READY_TIMEOUT_S):
            await pipeline.ready.wait()
        calm_collector()
        broadcaster = Broadcaster()
        listener = open_socket(settings.host, settings.http_port)
        post = DevicePost(broker, log, store)
        http_port = listener.getsockname()[1]
        runner = Runner(connect, registry, registry.alerts, store, folder.alerts, lambda: pipeline.statistics.position)
        notifier, seal = make_notifier(folder, registry, broker, page_url(settings, http_port))
        service = Service(
            folder,
            settings,
            registry,
            store,
            broker,
            pipeline,
            door,
            log,
            post,
            broadcaster,
            http_port,
            make_desk(store, registry, log, pipeline),
            Alarms(runner, notifier, seal),
            secure,
        )
        tasks.start(runner.run(), "alerts")
        tasks.start(notifier.run(), "notifications")
        service.quiet = stack.enter_context(silence(service))
        tasks.start(service.quiet.keeper.run(), "contacts")
        tasks.start(service.watch_lag(), "log-lag")
        tasks.start(_pages(service, listener), "pages")
        tasks.start(_feed(connect, broadcaster), "live-feed")
        tasks.start(_upkeep(registry), "register-upkeep")
        if settings.secure is not None and secure is not None:
            service.est_port = open_secure_doors(tasks, service, secure, settings.secure)
        await stack.enter_async_context(_operator(service))
        if secure is None:
            _log.warning("open_access host=%s (loopback only, for development)", settings.host)
        yield service


def _broker_settings(folder: Folder, settings: Settings, secure: Secured | None) -> BrokerSettings:
    """The broker's memory is for its connections mostly; encrypted ones are larger (see `scripts/bench identity`)."""
    plain = BrokerSettings(
        folder.broker, settings.host, mqtt_port=settings.mqtt_port, sync_interval=settings.sync_interval
    )
    if secure is None:
        return plain
    return replace(plain, tls=secure.broker_tls, memory_limit_mb=SECURE_BROKER_MB)


async def _pages(service: Service, listener: socket.socket) -> None:
    """Pages, SensorThings and the management API."""
    secure = service.secure
    app = create_app(
        service.registry,
        service.store,
        service.broadcaster,
        api_settings(service.settings, service.http_port),
        standing=service.standing,
        management=None if secure is None else _management(service, secure),
    )
    await serve(app, [listener], service.broadcaster, tls=None if secure is None else secure.page_tls)


def _management(service: Service, secure: Secured) -> Management:
    """What people manage with, and what carries it out."""
    store, registry = service.store, service.registry
    return replace(
        secure.management,
        quarantine=service.desk,
        seal=service.alarms.seal,
        try_rules=lambda rules, days: try_rules(store, registry.directory(), rules, days, now_us()),
        try_alert_rule=lambda rule, days: trial_told(store, registry, rule, days, now_us()),
        test_channel=service.alarms.notifier.send_test,
        why_silent=None if service.quiet is None else service.quiet.desk.told,
    )


async def _upkeep(registry: Registry) -> None:
    """Once a day: forget what is kept for a time only, and tell the log of changes' head, to be kept elsewhere."""
    while True:
        try:
            await asyncio.to_thread(registry.identity.erase_positions, at_us=now_us())
            await asyncio.to_thread(registry.alerts.forget_old, now_us=now_us())
            head = await asyncio.to_thread(registry.audit_log.head)
            _log.info("log_of_changes_head seq=%d hash=%s", head.seq, head.hash)
        except Exception as error:  # noqa: BLE001 - a register that is busy for long must not end the service
            _log.error("register_upkeep_failed reason=%s", error)
        await asyncio.sleep(UPKEEP_S)


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
    async with Tasks() as tasks:
        tasks.start(serve(app, [listener], Broadcaster()), "operator")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
