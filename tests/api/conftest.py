"""A small town for the API's tests: a real register, a real store, invented lampposts with a day of readings."""

import asyncio
import contextlib
import csv
import io
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import pyarrow as pa
import pytest
from fastapi import FastAPI

from lichtmast.api import ApiSettings, Broadcaster, create_app, open_socket, serve
from lichtmast.registry import DeviceStatus, NewDevice, Registry
from lichtmast.registry.importing import import_source
from lichtmast.store.memory import MemoryStore
from lichtmast.store.port import LEDGER_SCHEMA, OBSERVATION_SCHEMA, QUARANTINE_SCHEMA, Batch, ObservationStore
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.quality import Quality
from lichtmast.wire.topics import READINGS_STREAM

NOW_US: Final = 1_795_293_000_000_000  # 2026-11-21T20:30:00Z
MINUTE_US: Final = 60_000_000
TENANT: Final = "gm0402"
HOSTILE: Final = "<img src=x onerror=alert(1)>"
PROFILES: Final = ("weather", "lamp-controller", "noise", "parking")

Row = tuple[int, int, float | str | None, int]


@dataclass(frozen=True, slots=True)
class Town:
    """What a test looks at. `things` are asset ids in order; `series` are the datastream ids of each."""

    registry: Registry
    store: ObservationStore
    broadcaster: Broadcaster
    app: FastAPI
    things: Sequence[int]
    series: dict[int, tuple[int, ...]]


def observations(rows: Sequence[Row]) -> pa.Table:
    """Rows of (datastream, time, result, quality) as the store takes them."""
    columns: dict[str, list[Any]] = {
        "datastream_id": [row[0] for row in rows],
        "phenomenon_time": [row[1] for row in rows],
        "result": [None if isinstance(row[2], str) else row[2] for row in rows],
        "result_text": [row[2] if isinstance(row[2], str) else None for row in rows],
        "quality": [row[3] for row in rows],
        "result_time": [row[1] + 250_000 for row in rows],
    }
    return pa.table(columns, schema=OBSERVATION_SCHEMA)


def commit(store: ObservationStore, rows: Sequence[Row]) -> None:
    """Put rows into the store behind what is there."""
    offset = store.offset(READINGS_STREAM) + 1
    nothing = (LEDGER_SCHEMA.empty_table(), QUARANTINE_SCHEMA.empty_table())
    store.commit(Batch(observations(rows), *nothing, READINGS_STREAM, offset))


def lampposts(folder: Path, names: Sequence[str]) -> Path:
    """A file of lampposts to import, 30 metres apart."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["id", "naam", "lon", "lat"])
    for number, name in enumerate(names):
        place = (f"{5.17 + 0.0007 * (number % 9):.6f}", f"{52.22 + 0.0005 * (number // 9):.6f}")
        writer.writerow([f"P{number:04d}", name, *place])
    path = folder / "palen.csv"
    path.write_text(text.getvalue(), "utf-8")
    return path


def populate(registry: Registry, folder: Path, names: Sequence[str], *, without_device: int = 1) -> list[int]:
    """Import lampposts and hang a device on each, except on the last ones; returns the asset ids."""
    registry.ensure_tenant(TENANT, "Hilversum")
    report = registry.import_assets(TENANT, import_source("csv", lampposts(folder, names)), dry_run=False)
    assert report.as_json()["assets"] == len(names), report.as_json()
    things = [one.id for one in registry.things(None, limit=10_000)]
    registry.register_devices(
        [
            NewDevice(DeviceId(TENANT, f"lm-{thing:04d}"), PROFILES[index % len(PROFILES)], thing, DeviceStatus.ACTIVE)
            for index, thing in enumerate(things[: len(things) - without_device])
        ],
        at_us=NOW_US - 10_000 * MINUTE_US,
    )
    return things


def day_of(series: Sequence[int], *, until_us: int = NOW_US, minutes: int = 90, step: int = 3) -> list[Row]:
    """A believable stretch of readings up to a moment."""
    return [
        (key, until_us - minute * MINUTE_US, 20.0 + key % 7 - minute / 100, 0)
        for key in series
        for minute in range(0, minutes, step)
    ]


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry.open(tmp_path_factory.mktemp("api") / "registry.sqlite") as opened:
        yield opened


@pytest.fixture(scope="session")
def town(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """Eight lampposts: the fifth silent, the sixth doubtful, the seventh never heard, the eighth without a device.

    The second has a name that a browser must never read as markup. Tests read it and never change it.
    """
    tmp_path = tmp_path_factory.mktemp("town")
    names = [f"Kerkstraat {number}" for number in range(1, 9)]
    names[1] = HOSTILE
    things = populate(registry, tmp_path, names)
    series = {thing: tuple(one.id for one in registry.datastreams_of(thing)) for thing in things}
    store = MemoryStore()
    rows = [row for thing in things[:4] for row in day_of(series[thing])]
    rows += day_of(series[things[4]], until_us=NOW_US - 60 * MINUTE_US)
    rows += day_of(series[things[5]])
    rows.append((series[things[5]][0], NOW_US + 1_000, 900.0, int(Quality.OUT_OF_RANGE)))
    commit(store, rows)
    broadcaster = Broadcaster(clients_max=4, interval_s=0.02)
    app = app_of(registry, store, broadcaster)
    yield Town(registry, store, broadcaster, app, things, series)
    store.close()


def app_of(registry: Registry, store: ObservationStore, broadcaster: Broadcaster, **settings: Any) -> FastAPI:  # noqa: ANN401 - fields of ApiSettings
    """The application with the test's clock and no waiting for changes of the register."""
    return create_app(
        registry,
        store,
        broadcaster,
        ApiSettings(catalogue_check_interval_s=0.0, organisation="gemeente Hilversum", **settings),
        clock_us=lambda: NOW_US,
        standing=lambda: {"log_offset": 1, "log_lag": 7},
    )


Get = Callable[..., httpx2.Response]


@pytest.fixture
def get(town: Town) -> Get:
    """Ask the application directly: method GET, base address http://[::1]:8080."""
    return asker(town.app)


@pytest.fixture
def get_with(town: Town) -> Callable[..., Get]:
    """The same town under other settings."""

    def build(**settings: Any) -> Get:  # noqa: ANN401 - fields of ApiSettings
        return asker(app_of(town.registry, town.store, town.broadcaster, **settings))

    return build


def asker(app: FastAPI, base: str = "http://[::1]:8080") -> Get:
    """A function that sends one request to an application and returns the response."""

    def ask(path: str, *, method: str = "GET", quiet: bool = False, **options: Any) -> httpx2.Response:  # noqa: ANN401 - options of httpx
        async def send() -> httpx2.Response:
            transport = httpx2.ASGITransport(app=app, raise_app_exceptions=not quiet)
            async with httpx2.AsyncClient(transport=transport, base_url=base) as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())

    return ask


@pytest.fixture
def make_app(town: Town) -> Callable[..., FastAPI]:
    """The application of the town with a broadcaster of its own."""

    def build(*, broadcaster: Broadcaster, **settings: Any) -> FastAPI:  # noqa: ANN401 - fields of ApiSettings
        return app_of(town.registry, town.store, broadcaster, **settings)

    return build


@pytest.fixture
def table() -> Callable[..., pa.Table]:
    """Rows of (datastream, time, result, quality) as the store and the broadcaster take them."""
    return lambda *rows: observations(rows)


@pytest.fixture
def serving() -> Callable[[FastAPI, Broadcaster], contextlib.AbstractAsyncContextManager[str]]:
    """A real server."""
    return served


@contextlib.asynccontextmanager
async def served(app: FastAPI, broadcaster: Broadcaster) -> AsyncIterator[str]:
    """A real server on a free port of ::1; gives its address."""
    listener = open_socket("::1", 0)
    address = f"http://[::1]:{listener.getsockname()[1]}"
    started = asyncio.Event()
    server = asyncio.create_task(serve(app, [listener], broadcaster, on_started=started.set))
    starting = asyncio.create_task(started.wait())
    await asyncio.wait({server, starting}, return_when=asyncio.FIRST_COMPLETED, timeout=10)
    starting.cancel()
    try:
        yield address
    finally:
        server.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await server
