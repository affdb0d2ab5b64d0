"""The same questions over the store that runs in production: what it holds reads the same through SensorThings."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import httpx2
import pytest
from fastapi import FastAPI

from lichtmast.api import ApiSettings, Broadcaster, create_app
from lichtmast.registry import Registry
from lichtmast.store import DuckStore
from lichtmast.store.port import LEDGER_SCHEMA, QUARANTINE_SCHEMA, Batch, ObservationStore
from lichtmast.wire.topics import READINGS_STREAM

NOW_US = 1_795_293_000_000_000


class Town(Protocol):
    """The part of the fixture that these tests read."""

    registry: Registry
    app: FastAPI
    store: ObservationStore
    things: Sequence[int]
    series: dict[int, tuple[int, ...]]


def answers(app: FastAPI, paths: Sequence[str]) -> list[Any]:
    async def send() -> list[Any]:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://[::1]:8080") as client:
            return [(await client.get(path)).json() for path in paths]

    return asyncio.run(send())


@pytest.fixture
def on_duckdb(town: Town, tmp_path: Path) -> Iterator[FastAPI]:
    store = DuckStore.open(tmp_path / "store", clock_us=lambda: NOW_US)
    every = [one for series in town.series.values() for one in series]
    rows = town.store.range(every, 0, 2 * NOW_US, limit=1_000_000)
    nothing = (LEDGER_SCHEMA.empty_table(), QUARANTINE_SCHEMA.empty_table())
    # Two commits, late data second: order must come from the question, not from arrival.
    half = rows.num_rows // 2
    store.commit(Batch(rows.slice(half), *nothing, READINGS_STREAM, 1))
    store.commit(Batch(rows.slice(0, half), *nothing, READINGS_STREAM, 2))
    yield create_app(
        town.registry,
        store,
        Broadcaster(),
        ApiSettings(organisation="gemeente Hilversum", catalogue_check_interval_s=0.0),
        clock_us=lambda: NOW_US,
    )
    store.close()


@pytest.mark.slow
def test_duckdb_and_memory_give_the_same_answers(on_duckdb: FastAPI, town: Town) -> None:
    paths = [
        "/v1.1/Observations?$top=10000&$count=true",
        "/v1.1/Observations?$top=500&$orderby=phenomenonTime%20desc",
        "/v1.1/FeaturesOfInterest(1)/Observations?$top=11&$skip=20&$orderby=phenomenonTime%20desc",
        "/v1.1/FeaturesOfInterest(1)/Observations?$top=11&$skiptoken=1795290000000000_4",
        "/v1.1/FeaturesOfInterest(1)/Observations?$top=11&$skiptoken=1795290000000000_4&$orderby=phenomenonTime%20desc",
        "/v1.1/Datastreams?$expand=Observations($orderby=phenomenonTime%20desc;$top=1)",
        "/v1.1/Datastreams(3)/Observations?$filter=phenomenonTime%20ge%202026-11-21T20:00:00Z&$count=true",
        "/v1.1/Observations('2-1795288320000000')",
        "/things/1/card.json",
        "/map.geojson",
    ]
    for path, expected, found in zip(paths, answers(town.app, paths), answers(on_duckdb, paths), strict=True):
        assert found == expected, path


@pytest.mark.slow
def test_pages_are_the_same_over_duckdb(on_duckdb: FastAPI, town: Town) -> None:
    async def pages(app: FastAPI) -> list[str]:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://[::1]:8080") as client:
            return [(await client.get(path)).text for path in ("/", "/things/1", "/things/6?lang=en")]

    assert asyncio.run(pages(on_duckdb)) == asyncio.run(pages(town.app))
