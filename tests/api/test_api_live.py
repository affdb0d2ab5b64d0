"""Live readings: what the broadcaster gathers, keeps and drops, and what a client hears over a real connection."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Protocol

import httpx2
import pyarrow as pa
import pytest
from fastapi import FastAPI

from lichtmast.api import Broadcaster, LiveBatch, limits
from lichtmast.api.live import latest_of
from lichtmast.api.server import SHUTDOWN_S
from lichtmast.store.port import OBSERVATION_SCHEMA, ObservationStore

NOW_US = 1_795_293_000_000_000
TIMEOUT_S = 10


class Town(Protocol):
    """The part of the fixture that these tests read."""

    store: ObservationStore
    things: Sequence[int]
    series: dict[int, tuple[int, ...]]


def table(*rows: tuple[int, int, float | str]) -> pa.Table:
    """Rows of (datastream, seconds after now, result)."""
    return pa.Table.from_pylist(
        [
            {
                "datastream_id": key,
                "phenomenon_time": NOW_US + second * 1_000_000,
                "result": None if isinstance(result, str) else result,
                "result_text": result if isinstance(result, str) else None,
                "quality": 0,
                "result_time": NOW_US,
            }
            for key, second, result in rows
        ],
        schema=OBSERVATION_SCHEMA,
    )


def run_with(broadcaster: Broadcaster, client: Coroutine[None, None, None]) -> None:
    """Run the broadcaster beside a client until the client is done."""

    async def both() -> None:
        async with asyncio.timeout(TIMEOUT_S):
            running = asyncio.create_task(broadcaster.run())
            try:
                await client
            finally:
                broadcaster.close()
                running.cancel()

    asyncio.run(both())


def values(batch: LiveBatch | None) -> list[tuple[int, int, float | str | None]]:
    assert batch is not None
    return [(one.datastream_id, (one.time_us - NOW_US) // 1_000_000, one.value) for one in batch.readings]


def test_latest_of_takes_the_latest_time_and_of_equal_times_the_first() -> None:
    rows = table((2, 5, 1.0), (1, 9, 2.0), (1, 3, 3.0), (1, 9, 4.0), (2, 1, "text"))
    assert [(one.datastream_id, one.value) for one in latest_of(rows)] == [(1, 2.0), (2, 1.0)]
    assert latest_of(rows.slice(0, 0)) == []
    assert latest_of(table((1, 1, "dicht")))[0].value == "dicht"


def test_batches_of_one_interval_become_one_and_the_latest_wins() -> None:
    broadcaster = Broadcaster(interval_s=0.01)

    async def client() -> None:
        with broadcaster.subscribe() or pytest.fail("no place") as subscription:
            broadcaster.publish_nowait(table((1, 5, 1.0), (2, 1, 2.0)), 10)
            broadcaster.publish_nowait(table((1, 4, 9.0), (2, 2, 3.0)), 11)
            batch = await subscription.wait_batch()
            assert values(batch) == [(1, 5, 1.0), (2, 2, 3.0)]
            assert batch is not None
            assert batch.log_seq == 11

    run_with(broadcaster, client())


def test_what_does_not_fit_in_an_event_goes_first_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LIVE_BATCH_READINGS_MAX", 2)
    broadcaster = Broadcaster(interval_s=0.01)

    async def client() -> None:
        with broadcaster.subscribe() or pytest.fail("no place") as subscription:
            broadcaster.publish_nowait(table((1, 1, 1.0), (2, 1, 2.0), (3, 1, 3.0)), 1)
            assert values(await subscription.wait_batch()) == [(1, 1, 1.0), (2, 1, 2.0)]
            assert values(await subscription.wait_batch()) == [(3, 1, 3.0)]

    run_with(broadcaster, client())


def test_without_listeners_nothing_is_kept() -> None:
    broadcaster = Broadcaster(interval_s=0.01)
    for number in range(1_000):
        broadcaster.publish_nowait(table((1, number, 1.0)), number)
    found = broadcaster.statistics()
    assert (found["published_rows"], found["pending_rows"], found["lost_rows"]) == (1_000, 0, 0)


def test_rows_that_come_faster_than_they_are_gathered_are_bounded_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LIVE_PENDING_ROWS_MAX", 10)
    broadcaster = Broadcaster(interval_s=0.01)
    with broadcaster.subscribe() or pytest.fail("no place"):
        for number in range(11):
            broadcaster.publish_nowait(table((1, number, 1.0)), number)
        found = broadcaster.statistics()
        assert (found["pending_rows"], found["lost_rows"]) == (10, 1)


def test_a_client_that_does_not_read_is_dropped_and_counted_and_others_hear_on() -> None:
    broadcaster = Broadcaster(interval_s=0.002)

    async def client() -> None:
        slow = broadcaster.subscribe() or pytest.fail("no place")
        with broadcaster.subscribe() or pytest.fail("no place") as reader:
            for number in range(limits.LIVE_QUEUE_BATCHES_MAX + 1):
                broadcaster.publish_nowait(table((1, number, float(number))), number)
                assert values(await reader.wait_batch())[0][2] == float(number)
            assert broadcaster.statistics()["dropped_clients"] == 1
            assert broadcaster.statistics()["clients"] == 1
            heard = [await slow.wait_batch() for _ in range(limits.LIVE_QUEUE_BATCHES_MAX + 1)]
            assert heard[-1] is None
            assert values(heard[-2]) == [(1, limits.LIVE_QUEUE_BATCHES_MAX - 1, limits.LIVE_QUEUE_BATCHES_MAX - 1.0)]

    run_with(broadcaster, client())


def test_the_limit_of_clients_holds_at_n_and_refuses_n_plus_one() -> None:
    broadcaster = Broadcaster(clients_max=2)
    first, second = broadcaster.subscribe(), broadcaster.subscribe()
    assert first is not None
    assert second is not None
    assert broadcaster.subscribe() is None
    broadcaster.unsubscribe(first)
    assert broadcaster.subscribe() is not None
    assert broadcaster.statistics()["refused_clients"] == 1


def test_last_event_id_gets_exactly_what_was_missed_and_an_unknown_one_a_snapshot() -> None:
    broadcaster = Broadcaster(interval_s=0.002)

    async def client() -> None:
        with broadcaster.subscribe() or pytest.fail("no place") as staying:
            batches = []
            for number in range(3):
                broadcaster.publish_nowait(table((1, number, float(number))), number)
                batches.append(await staying.wait_batch())
            first, second, third = batches
            assert first is not None
            again = broadcaster.subscribe(first.id) or pytest.fail("no place")
            assert again.missed == (second, third)
            assert third is not None
            assert (broadcaster.subscribe(third.id) or pytest.fail("no place")).missed == ()
            for unknown in (None, "", "x", "deadbeef-1", first.id + "0", first.id.split("-")[0] + "--1", "9" * 999):
                assert (broadcaster.subscribe(unknown) or pytest.fail("no place")).missed is None

    run_with(broadcaster, client())


def test_close_ends_every_stream_and_refuses_new_ones() -> None:
    broadcaster = Broadcaster()

    async def client() -> None:
        subscription = broadcaster.subscribe() or pytest.fail("no place")
        broadcaster.close()
        assert await subscription.wait_batch() is None
        assert broadcaster.subscribe() is None

    run_with(broadcaster, client())


# Over a real server on ::1.

Event = tuple[str, str, Any]
Serving = Callable[[FastAPI, Broadcaster], contextlib.AbstractAsyncContextManager[str]]
MakeApp = Callable[..., FastAPI]


async def events(response: httpx2.Response) -> AsyncIterator[Event]:
    """(event, id, data) of each event; a comment is ("", "", its text)."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line.startswith(":"):
            yield "", "", line[1:].strip()
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield fields["event"], fields["id"], json.loads(fields["data"])
            fields = {}


@pytest.fixture
def live(make_app: MakeApp, serving: Serving) -> Callable[..., Any]:
    """Serve the town with a broadcaster of its own and run a client against it."""

    def run(client: Callable[..., Any], *, clients_max: int = 4) -> None:
        broadcaster = Broadcaster(clients_max=clients_max, interval_s=0.02)

        async def both() -> None:
            async with (
                asyncio.timeout(TIMEOUT_S),
                serving(make_app(broadcaster=broadcaster), broadcaster) as address,
                httpx2.AsyncClient(base_url=address) as http,
            ):
                await client(http, broadcaster)

        asyncio.run(both())

    return run


@pytest.mark.slow
def test_a_client_hears_a_snapshot_first_and_then_what_is_published(live: Callable[..., Any], town: Town) -> None:
    first = town.series[town.things[0]][0]

    async def client(http: httpx2.AsyncClient, broadcaster: Broadcaster) -> None:
        async with http.stream("GET", "/live") as response:
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            heard = events(response)
            kind, _, snapshot = await anext(heard)
            assert kind == "snapshot"
            assert {one["thing"] for one in snapshot["readings"]} == set(town.things[:6])
            assert {"datastream": first, "thing": 1, "t": "2026-11-21T20:30:00Z", "value": 21.0, "quality": 0} in (
                snapshot["readings"]
            )
            # A series that no lamppost has is nobody's business.
            broadcaster.publish_nowait(table((first, 60, 4.5), (9_999, 60, 1.0)), 42)
            kind, identifier, data = await anext(heard)
        expected = {"datastream": first, "thing": 1, "t": "2026-11-21T20:31:00Z", "value": 4.5, "quality": 0}
        assert (kind, data) == ("readings", {"log_seq": 42, "readings": [expected]})
        assert identifier == broadcaster.last_id

    live(client)


@pytest.mark.slow
def test_a_client_may_ask_for_some_lampposts_only(live: Callable[..., Any], town: Town) -> None:
    second, third = town.series[2][0], town.series[3][0]

    async def client(http: httpx2.AsyncClient, broadcaster: Broadcaster) -> None:
        async with http.stream("GET", "/live?things=3,99") as response:
            heard = events(response)
            _, _, snapshot = await anext(heard)
            assert {one["thing"] for one in snapshot["readings"]} == {3}
            broadcaster.publish_nowait(table((second, 60, 4.5), (third, 60, 5.5)), 1)
            _, _, data = await anext(heard)
            assert [one["datastream"] for one in data["readings"]] == [third]

    live(client)


@pytest.mark.slow
def test_a_client_that_comes_back_gets_what_it_missed_and_no_snapshot(live: Callable[..., Any], town: Town) -> None:
    first = town.series[1][0]

    async def client(http: httpx2.AsyncClient, broadcaster: Broadcaster) -> None:
        async with http.stream("GET", "/live") as staying:
            steady = events(staying)
            await anext(steady)
            broadcaster.publish_nowait(table((first, 60, 1.0)), 1)
            _, identifier, _ = await anext(steady)
            broadcaster.publish_nowait(table((first, 61, 2.0)), 2)
            await anext(steady)
            async with http.stream("GET", "/live", headers={"Last-Event-ID": identifier}) as response:
                kind, _, data = await anext(events(response))
        assert (kind, data["readings"][0]["value"]) == ("readings", 2.0)

    live(client)


@pytest.mark.slow
def test_places_are_limited_and_come_free_when_a_client_leaves(live: Callable[..., Any]) -> None:
    async def client(http: httpx2.AsyncClient, broadcaster: Broadcaster) -> None:
        async with http.stream("GET", "/live") as response:
            await anext(events(response))
            refused = await http.get("/live")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
        while broadcaster.statistics()["clients"]:
            await asyncio.sleep(0)
        async with http.stream("GET", "/live") as response:
            assert response.status_code == 200

    live(client, clients_max=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/live?things=", {}, 400),
        ("/live?things=a", {}, 400),
        ("/live?things=1&things=2", {}, 400),
        ("/live?things=" + ",".join(str(one) for one in range(101)), {}, 400),
        ("/live", {"Origin": "https://elsewhere.example"}, 403),
        ("/live", {"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_what_no_page_of_ours_asks_is_refused(
    live: Callable[..., Any], path: str, headers: dict[str, str], status: int
) -> None:
    async def client(http: httpx2.AsyncClient, broadcaster: Broadcaster) -> None:
        response = await http.get(path, headers=headers)
        assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
        assert broadcaster.statistics()["clients"] == 0

    live(client)


@pytest.mark.slow
def test_stopping_the_server_ends_open_streams_at_once(make_app: MakeApp, serving: Serving) -> None:
    broadcaster = Broadcaster(interval_s=0.02)

    async def both() -> None:
        async with asyncio.timeout(TIMEOUT_S), contextlib.AsyncExitStack() as stack:
            http = await stack.enter_async_context(httpx2.AsyncClient())
            async with serving(make_app(broadcaster=broadcaster), broadcaster) as address:
                response = await stack.enter_async_context(http.stream("GET", f"{address}/live"))
                heard = events(response)
                await anext(heard)
                started = asyncio.get_running_loop().time()
            assert asyncio.get_running_loop().time() - started < SHUTDOWN_S, "it did not wait for the streams"
            assert [one async for one in heard] == []

    asyncio.run(both())


@pytest.mark.slow
def test_quiet_streams_carry_a_heartbeat(make_app: MakeApp, serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lichtmast.api.live_stream.HEARTBEAT_S", 0.01)
    broadcaster = Broadcaster(interval_s=0.02)

    async def both() -> None:
        async with (
            asyncio.timeout(TIMEOUT_S),
            serving(make_app(broadcaster=broadcaster), broadcaster) as address,
            httpx2.AsyncClient(base_url=address) as http,
            http.stream("GET", "/live") as response,
        ):
            heard = events(response)
            await anext(heard)
            assert await anext(heard) == ("", "", "still here")

    asyncio.run(both())
