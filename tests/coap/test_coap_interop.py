"""Clients that others wrote: aiocoap, and Debian's coap-client (libcoap) in each of its builds."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiocoap
import aiocoap.error
import pytest

from lichtmast.ingest.coap.discovery import CORE_LINKS
from lichtmast.ingest.coap.testing import PACK, MemoryLog, open_door
from lichtmast.wire.limits import PACK_BYTES_MAX

LARGE = b"[" + b" " * 20_000 + PACK[1:]
CLIENTS = ["coap-client-openssl", "coap-client-gnutls", "coap-client-notls"]


@asynccontextmanager
async def aiocoap_client() -> AsyncIterator[aiocoap.Context]:
    context = await aiocoap.Context.create_client_context(transports=["udp6"])
    try:
        yield context
    finally:
        await context.shutdown()


async def _ask(log: MemoryLog, message: aiocoap.Message, path: str = "up") -> aiocoap.Message:
    async with open_door(log) as door, aiocoap_client() as client:
        message.set_request_uri(f"coap://[::1]:{door.port}/{path}")
        async with asyncio.timeout(40):
            return await client.request(message).response


def _post(payload: bytes, **fields: object) -> aiocoap.Message:
    return aiocoap.Message(code=aiocoap.POST, payload=payload, **{"content_format": 110, **fields})


@pytest.mark.parametrize("reliability", [aiocoap.Reliable, aiocoap.Unreliable], ids=["CON", "NON"])
@pytest.mark.parametrize("content_format", [110, 112])
def test_aiocoap_delivers_a_pack(reliability: type, content_format: int) -> None:
    log = MemoryLog()
    message = _post(PACK, content_format=content_format, transport_tuning=reliability())
    answer = asyncio.run(_ask(log, message))
    assert answer.code == aiocoap.CHANGED
    assert [(PACK, content_format)] == [(one.payload, one.content_format) for one in log.envelopes[0]]


@pytest.mark.parametrize("reliability", [aiocoap.Reliable, aiocoap.Unreliable], ids=["CON", "NON"])
def test_aiocoap_delivers_a_large_pack_in_blocks(reliability: type) -> None:
    log = MemoryLog()
    answer = asyncio.run(_ask(log, _post(LARGE, transport_tuning=reliability())))
    assert answer.code == aiocoap.CHANGED
    assert log.payloads == [LARGE]


@pytest.mark.parametrize(
    ("message", "path", "answer"),
    [
        (_post(b"undecodable"), "up", aiocoap.BAD_REQUEST),
        (_post(b"unknown name"), "up", aiocoap.BAD_REQUEST),
        (_post(b"stranger"), "up", aiocoap.FORBIDDEN),
        (_post(PACK, content_format=0), "up", aiocoap.UNSUPPORTED_CONTENT_FORMAT),
        (_post(PACK), "down", aiocoap.NOT_FOUND),
        (_post(PACK), "up?x=1", aiocoap.BAD_OPTION),
        (_post(b" " * (PACK_BYTES_MAX + 1)), "up", aiocoap.REQUEST_ENTITY_TOO_LARGE),
        (aiocoap.Message(code=aiocoap.GET), "up", aiocoap.METHOD_NOT_ALLOWED),
        (_post(PACK, if_none_match=True), "up", aiocoap.BAD_OPTION),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
def test_aiocoap_is_told_what_it_did_wrong(message: aiocoap.Message, path: str, answer: int) -> None:
    refused = asyncio.run(_ask(MemoryLog(), message, path))
    assert answer == refused.code
    assert refused.payload.decode()


def test_aiocoap_finds_the_links_after_it_has_echoed() -> None:
    async def discover() -> list[aiocoap.Message]:
        answers = []
        async with open_door(MemoryLog()) as door, aiocoap_client() as client:
            uri = f"coap://[::1]:{door.port}/.well-known/core"
            answers.append(await client.request(aiocoap.Message(code=aiocoap.GET, uri=uri)).response)
            if answers[0].code == aiocoap.UNAUTHORIZED:
                again = aiocoap.Message(code=aiocoap.GET, uri=uri, echo=answers[0].opt.echo)
                answers.append(await client.request(again).response)
        return answers

    answers = asyncio.run(discover())
    assert answers[-1].code == aiocoap.CONTENT
    assert answers[-1].payload == CORE_LINKS
    assert answers[-1].opt.content_format == 40


@pytest.mark.slow
def test_aiocoap_gets_its_answer_from_a_slow_log() -> None:
    async def ask() -> aiocoap.Message:
        log = MemoryLog()
        log.flowing.clear()
        async with open_door(log) as door, aiocoap_client() as client:
            message = _post(PACK, uri=f"coap://[::1]:{door.port}/up")
            waiting = asyncio.ensure_future(client.request(message).response)
            await log.entered.wait()
            asyncio.get_running_loop().call_later(1.6, log.flowing.set)
            answer = await waiting
            assert door.statistics().events["separate"] == 1
            assert log.payloads == [PACK]
            return answer

    assert asyncio.run(ask()).code == aiocoap.CHANGED


async def _run_client(name: str, log: MemoryLog, *arguments: str, path: str = "up") -> str:
    """What libcoap's client prints."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed (Debian: libcoap3-bin)")
    async with open_door(log) as door:
        client = await asyncio.create_subprocess_exec(
            name,
            *("-B", "25", "-v", "6", *arguments, f"coap://[::1]:{door.port}/{path}"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(40):
            output, _ = await client.communicate()
    return output.decode(errors="replace")


@pytest.mark.system
@pytest.mark.parametrize("client", CLIENTS)
class TestLibcoap:
    """Debian's coap-client. `-t 110` is the Content-Format of SenML JSON."""

    @pytest.mark.parametrize("kind", [[], ["-N"]], ids=["CON", "NON"])
    def test_it_delivers_a_pack(self, client: str, kind: list[str]) -> None:
        log = MemoryLog()
        output = asyncio.run(_run_client(client, log, *kind, "-m", "post", "-t", "110", "-e", PACK.decode()))
        assert re.search(r"\b2\.04\b", output), output
        assert log.payloads == [PACK]

    @pytest.mark.parametrize("size", ["1024", "64"])
    def test_it_delivers_a_large_pack_in_blocks(self, client: str, size: str, tmp_path: Path) -> None:
        log = MemoryLog()
        file = tmp_path / "pack.json"
        file.write_bytes(LARGE)
        output = asyncio.run(_run_client(client, log, "-m", "post", "-t", "110", "-b", size, "-f", str(file)))
        assert log.payloads == [LARGE], output[-2_000:]

    def test_it_shows_the_diagnostic_of_a_refusal(self, client: str) -> None:
        log = MemoryLog()
        output = asyncio.run(_run_client(client, log, "-m", "post", "-t", "110", "-e", "undecodable"))
        assert re.search(r"4\.00.*not JSON", output, re.DOTALL), output
        assert log.payloads == []

    def test_it_is_told_about_a_critical_option_that_we_do_not_know(self, client: str) -> None:
        output = asyncio.run(
            _run_client(client, MemoryLog(), "-m", "post", "-t", "110", "-O", "65001,x", "-e", PACK.decode())
        )
        assert re.search(r"4\.02.*option 65001", output, re.DOTALL), output

    def test_it_finds_the_links(self, client: str) -> None:
        output = asyncio.run(_run_client(client, MemoryLog(), "-m", "get", path=".well-known/core"))
        assert CORE_LINKS.decode() in output, output
