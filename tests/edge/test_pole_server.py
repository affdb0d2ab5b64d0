"""The CoAP server at the pole, asked by aiocoap and by Debian's coap-client (libcoap)."""

import asyncio
import json
import logging
import re
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any, Final

import aiocoap
import pytest
from pole_view import NOISE, StandIn

from lichtmast.edge.pole import limits, open_pole
from lichtmast.edge.pole.addresses import LinkLocal
from lichtmast.edge.pole.server import PoleServer
from lichtmast.edge.sampling.measured import Measured
from lichtmast.wire.senml import resolve
from lichtmast.wire.twin import decode_state

CLIENTS: Final = ["coap-client-openssl", "coap-client-gnutls", "coap-client-notls"]
Ask = Callable[..., Coroutine[Any, Any, Any]]


@asynccontextmanager
async def pole(view: StandIn) -> AsyncIterator[tuple[PoleServer, int, Ask]]:
    server = open_pole(view, interfaces=[], port=0)
    running = asyncio.create_task(server.run(), name="pole")
    client = await aiocoap.Context.create_client_context(transports=["udp6"])
    try:
        async with asyncio.timeout(20):
            port = await server.wait_port()

            async def ask(path: str, code: Any = aiocoap.GET, **more: Any) -> Any:  # noqa: ANN401 - aiocoap has no types
                request = aiocoap.Message(code=code, uri=f"coap://[::1]:{port}/{path}", **more)
                return await client.request(request).response

            yield server, port, ask
    finally:
        await client.shutdown()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@pytest.fixture(autouse=True)
def _generous(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests ask more often than an engineer does; the rates have tests of their own."""
    monkeypatch.setattr(limits, "PEER_REQUESTS_BURST", 1_000)
    monkeypatch.setattr(limits, "REQUESTS_BURST", 1_000)
    monkeypatch.setattr(limits, "OBSERVE_LOOK_S", 0.02)


def test_the_list_of_resources_tells_what_there_is() -> None:
    async def run() -> None:
        async with pole(StandIn()) as (_, _, ask):
            answer = await ask(".well-known/core")
            assert (answer.code, answer.opt.content_format) == (aiocoap.CONTENT, 40)
            links = answer.payload.decode().split(",")
            assert sorted(re.findall(r"<(.*?)>", one)[0] for one in links) == [
                "/.well-known/core", "/outbox", "/readings", "/selftest", "/state",
            ]  # fmt: skip
            assert "</readings>" in (await ask(".well-known/core?rt=lm.readings")).payload.decode()
            assert [one for one in links if "obs" in one] == [one for one in links if "readings" in one]

    asyncio.run(run())


def test_state_and_outbox_are_json() -> None:
    async def run() -> None:
        view = StandIn()
        async with pole(view) as (_, _, ask):
            answer = await ask("state")
            assert (answer.code, answer.opt.content_format) == (aiocoap.CONTENT, 50)
            assert decode_state(answer.payload) == view.state()
            assert json.loads((await ask("outbox")).payload) == view.outbox()

    asyncio.run(run())


@pytest.mark.parametrize("content_format", [None, 110, 112])
def test_readings_are_a_senml_pack_with_ages_for_times(content_format: int | None) -> None:
    async def run() -> None:
        view = StandIn()
        view.measured += [Measured("/lamp/0/failure", True, None, 1_000.0), Measured("/x/0/text", "å", None, 900.0)]  # noqa: FBT003 - its value
        accept = {} if content_format is None else {"accept": content_format}
        async with pole(view) as (_, _, ask):
            answer = await ask("readings", **accept)
        expected = content_format or 110
        assert (answer.code, answer.opt.content_format) == (aiocoap.CONTENT, expected)
        now_us = 1_790_000_000_000_000
        pack = resolve(answer.payload, expected, now_us)
        assert [(one.name.rpartition("lm-0001")[2], one.value, one.time_us) for one in pack] == [
            ("/x/0/text", "å", now_us - 100_000_000),
            (NOISE, 61.5, now_us - 12_000_000),
            ("/lamp/0/failure", True, now_us),
        ]

    asyncio.run(run())


def test_what_is_not_there_or_not_allowed_is_refused() -> None:
    async def run() -> None:
        view = StandIn()
        async with pole(view) as (_, _, ask):
            assert (await ask("secrets")).code == aiocoap.NOT_FOUND
            assert (await ask("state", accept=60)).code == aiocoap.NOT_ACCEPTABLE
            assert (await ask("readings", accept=60)).code == aiocoap.NOT_ACCEPTABLE
            for code in (aiocoap.PUT, aiocoap.POST, aiocoap.DELETE):
                assert (await ask("state", code=code)).code == aiocoap.METHOD_NOT_ALLOWED
            assert (await ask("selftest", code=aiocoap.POST, if_match=[b"x"])).code == aiocoap.BAD_OPTION
            view.measured.clear()
            assert (await ask("readings")).code == aiocoap.SERVICE_UNAVAILABLE
        assert view.selftests == 0

    asyncio.run(run())


def test_a_long_state_comes_in_blocks_whatever_size_is_asked_for() -> None:
    async def run() -> None:
        view = StandIn()
        view.reports = {f"group-{index}": {"text": "x" * 400} for index in range(10)}
        async with pole(view) as (_, port, ask):
            assert decode_state((await ask("state")).payload) == view.state()
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as raw:
                raw.setblocking(False)  # noqa: FBT003 - the standard library's form
                raw.connect(("::1", port))
                # Block2 with number and size exponent: none, 0 of 1,024 bytes, 1 of 1,024, 3 of 512.
                for block, at in ((b"", 0), (b"\xc1\x06", 0), (b"\xc1\x16", 1_024), (b"\xc1\x35", 1_536)):
                    raw.send(b"\x40\x01\x12" + (block[-1:] or b"\x00") + b"\xb5state" + block)
                    answer = await asyncio.get_running_loop().sock_recv(raw, 65_536)
                    assert len(answer) <= 1_024
                    assert answer.partition(b"\xff")[2] == view.state().encode()[at : at + 512]

    asyncio.run(run())


async def _observe(port: int, client: aiocoap.Context) -> Any:  # noqa: ANN401 - aiocoap has no types
    request = aiocoap.Message(code=aiocoap.GET, uri=f"coap://[::1]:{port}/readings", observe=0)
    return client.request(request)


def test_new_readings_are_told_to_observers_until_their_time_is_over() -> None:
    async def run() -> None:
        view = StandIn()
        async with pole(view) as (server, port, _):
            client = await aiocoap.Context.create_client_context(transports=["udp6"])
            try:
                asked = await _observe(port, client)
                assert (await asked.response).opt.observe is not None
                told = aiter(asked.observation)
                for value in (70.0, 71.0):
                    view.measured = [Measured(NOISE, value, "dB", value)]
                    assert json.loads((await anext(told)).payload)[0]["v"] == value
                assert server.statistics()["observers"] == 1
                view.at_s += limits.OBSERVE_MAX_S
                assert (await anext(told)).opt.observe is None, "the last one says that it is"
                assert server.statistics()["observers"] == 0
            finally:
                await client.shutdown()

    asyncio.run(run())


def test_one_observer_too_many_is_answered_once() -> None:
    async def run() -> None:
        async with pole(StandIn()) as (server, port, _):
            client = await aiocoap.Context.create_client_context(transports=["udp6"])
            try:
                asked, answers = [], []
                for _ in range(limits.OBSERVERS_MAX + 1):  # one after the other: datagrams may overtake each other
                    asked.append(await _observe(port, client))
                    answers.append(await asked[-1].response)
                assert [one.opt.observe is not None for one in answers] == [True] * limits.OBSERVERS_MAX + [False]
                assert all(one.code == aiocoap.CONTENT for one in answers)
                assert server.statistics()["observers"] == limits.OBSERVERS_MAX
            finally:
                await client.shutdown()

    asyncio.run(run())


def test_readings_that_need_blocks_are_not_observed() -> None:
    async def run() -> None:
        view = StandIn(measured=[Measured(f"/weather/{index}/temperature", 1.5, "Cel", 1.0) for index in range(20)])
        async with pole(view) as (_, _, ask):
            answer = await ask("readings", observe=0)
            assert answer.opt.observe is None
            assert len(json.loads(answer.payload)) == 20

    asyncio.run(run())


def test_a_selftest_runs_once_at_a_time_and_its_outcome_stays() -> None:
    async def run() -> None:
        view = StandIn(checks={"clock": "ok", "outbox": "the disk is full; free it"})
        async with pole(view) as (_, _, ask):
            assert json.loads((await ask("selftest")).payload) == {}
            running = asyncio.create_task(ask("selftest", code=aiocoap.POST), name="first")
            while not view.selftests:
                await asyncio.sleep(0)
            second = await ask("selftest", code=aiocoap.POST)
            assert (second.code, second.opt.max_age) == (aiocoap.SERVICE_UNAVAILABLE, limits.SELFTEST_S)
            view.may_finish.set()
            outcome = {"passed": False, "checks": view.checks}
            answer = await running
            assert (answer.code, json.loads(answer.payload)) == (aiocoap.CHANGED, outcome)
            assert (await ask("selftest", code=aiocoap.POST)).code == aiocoap.SERVICE_UNAVAILABLE
            view.at_s += limits.SELFTEST_PAUSE_S
            assert json.loads((await ask("selftest")).payload) == {"ago_s": 10.0, **outcome}
            assert (await ask("selftest", code=aiocoap.POST)).code == aiocoap.CHANGED
        assert view.selftests == 2

    asyncio.run(run())


def test_a_selftest_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SELFTEST_S", 0.05)

    async def run() -> None:
        async with pole(StandIn()) as (_, _, ask):
            answer = json.loads((await ask("selftest", code=aiocoap.POST)).payload)
            assert answer == {"passed": False, "checks": {"selftest": "not finished after 0.05 s; see the agent's log"}}

    asyncio.run(run())


def test_hostile_datagrams_get_little_and_the_server_goes_on() -> None:
    async def run() -> None:
        async with pole(StandIn()) as (server, port, ask):
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as raw:
                raw.setblocking(False)  # noqa: FBT003 - the standard library's form
                raw.connect(("::1", port))
                loop = asyncio.get_running_loop()
                raw.send(b"\x49\x01\x12\x34123456789")
                assert await loop.sock_recv(raw, 1_000) == b"\x70\x00\x12\x34"
                raw.send(b"\x41\x01\x12\x35\xaa\x13abc\xa5state")
                assert await loop.sock_recv(raw, 1_000) == b"\x61\x82\x12\x35\xaa"
                for garbage in (b"", b"\xff" * 1_400, b"\x60\x45\x12\x34", b"\x40\x01\x12"):
                    raw.send(garbage)
                raw.send(b"\x40\x00\x12\x36")
                assert await loop.sock_recv(raw, 1_000) == b"\x70\x00\x12\x36", "nothing came for what lay between"
            assert (await ask("outbox")).code == aiocoap.CONTENT
            counts = server.statistics()
            assert (counts["malformed"], counts["unknown_option"], counts["bad_length"], counts["no_request"]) == (
                1,
                1,
                3,
                1,
            )

    asyncio.run(run())


def odd_request(chance: Random, message_id: int) -> bytes:
    """A request to a resource of ours, with options of any value that may stand in any request."""
    path = chance.choice([b"state", b"readings", b"selftest", b"outbox", b"", b"\xc3\xa5"])
    observe = [b"", b"\x60", b"\x61\x01", b"\x63abc"]
    later = [
        b"",
        b"\x41x",
        b"\x40\x00",
        b"\x60",
        b"\x61\x6e",
        b"\xc3\xff\xff\xff",
        b"\xc1\x07",
        b"\xc2\xff\xf6",
        b"\x61\x70\x61\x17",
    ]
    before = chance.choice(observe)
    head = bytes((0x41 | chance.choice([0, 0x10]), chance.randrange(1, 9))) + message_id.to_bytes(2, "big")
    path_option = bytes(((11 if not before else 5) << 4 | len(path),)) + path
    return head + chance.randbytes(1) + before + path_option + chance.choice(later) + chance.choice([b"", b"\xffx"])


@pytest.mark.slow
def test_odd_requests_leave_no_trace_in_the_log_and_the_server_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        chance = Random(3)  # noqa: S311 - the same odd requests each time
        view = StandIn()
        view.may_finish.set()
        async with pole(view) as (server, port, ask):
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as raw:
                raw.connect(("::1", port))
                for message_id in range(300):
                    raw.send(odd_request(chance, message_id))
            async with asyncio.timeout(10):
                while (await ask("outbox")).code != aiocoap.CONTENT:
                    pass
            counts = server.statistics()
            assert counts["request"] > 250
            assert counts["observers"] <= limits.OBSERVERS_MAX

    asyncio.run(run())
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []


def test_an_interface_where_nobody_can_ask_is_warned_of_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RESCAN_S", 0.01)

    async def run() -> None:
        looks = 0

        def looked(_: object) -> set[LinkLocal]:
            nonlocal looks
            looks += 1
            return set()

        monkeypatch.setattr("lichtmast.edge.pole.server.link_local_addresses", looked)
        running = asyncio.create_task(open_pole(StandIn(), interfaces=["lo", "eth7"], port=0).run(), name="pole")
        async with asyncio.timeout(10):
            while looks < 3:
                await asyncio.sleep(0)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    asyncio.run(run())
    told = [vars(one) for one in caplog.records if one.message == "pole_interface_unavailable"]
    assert [(one["interface"], one["reason"]) for one in told] == [
        ("eth7", "there is no such interface"),
        ("lo", "it has no link-local address"),
    ]
    assert "lo" in told[0]["there_are"].split(",")


def test_a_second_server_cannot_steal_the_port(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with pole(StandIn()) as (_, port, _):
            second = open_pole(StandIn(), interfaces=[], port=port)
            running = asyncio.create_task(second.run(), name="second")
            while "pole_address_unavailable" not in caplog.text:
                await asyncio.sleep(0)
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            assert second.statistics()["addresses"] == 0

    asyncio.run(run())
    assert "Address already in use" in caplog.text


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize("client", CLIENTS)
def test_debians_coap_client_reads_all_there_is(client: str) -> None:
    if shutil.which(client) is None:
        pytest.skip(f"{client} (libcoap3-bin) is not installed")

    async def tool(*line: str) -> str:
        process = await asyncio.create_subprocess_exec(
            client, "-B", "10", *line, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        told, _ = await process.communicate()
        return told.decode().strip()

    async def run() -> None:
        view = StandIn()
        view.may_finish.set()
        view.reports = {f"group-{index}": {"text": "x" * 400} for index in range(4)}
        async with pole(view) as (_, port, _):
            base = f"coap://[::1]:{port}"
            assert "</readings>" in await tool(f"{base}/.well-known/core")
            assert decode_state((await tool(f"{base}/state")).encode()) == view.state()
            assert json.loads(await tool("-A", "110", f"{base}/readings"))[0]["n"] == NOISE
            assert json.loads(await tool("-m", "post", f"{base}/selftest"))["passed"]
            assert "4.02" in await tool("-O", "2049,x", f"{base}/outbox")
            assert "61.5" in await tool("-s", "1", f"{base}/readings")

    asyncio.run(run())
