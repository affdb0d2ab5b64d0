"""The door on a real socket: grouping, failure, overload, slowness, shutdown, and what it tells the operator."""

import asyncio
import logging
import socket
from collections.abc import Callable

import pytest
import uvloop

import lichtmast.ingest.coap as coap_door
from lichtmast.ingest.coap import CoapDoor, CoapDoorError, CoapSettings, CoapSettingsError, Inspection
from lichtmast.ingest.coap import core as core_module
from lichtmast.ingest.coap import separate as separate_module
from lichtmast.ingest.coap.binding import bind
from lichtmast.ingest.coap.limits import DATAGRAM_BYTES_MAX
from lichtmast.ingest.coap.message import Message, Type, code, decode
from lichtmast.ingest.coap.settings import _POSITIVE
from lichtmast.ingest.coap.testing import (
    PACK,
    SENDER,
    Endpoint,
    MemoryLog,
    inspect,
    new_settings,
    open_door,
    post,
    read,
)
from lichtmast.wire.envelope import Enclosed
from lichtmast.wire.limits import ENVELOPE_BYTES_MAX, ENVELOPE_PACKS_MAX


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, no answer counts as late unless a test says so."""
    monkeypatch.setattr(core_module, "SEPARATE_AFTER_S", 1_000.0)


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_pack_is_answered_204_after_the_log_has_it_and_not_before(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def check() -> None:
        log = MemoryLog()
        log.flowing.clear()
        async with open_door(log) as door:
            with Endpoint(door.port) as endpoint:
                assert await endpoint.ask_before_ping(post(1)) == []
                await log.entered.wait()
                assert await endpoint.ask_before_ping(b"") == []
                log.flowing.set()
                assert code("2.04") == read(await endpoint.receive()).code
        assert log.payloads == [PACK]

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(check())


def test_what_arrives_while_a_publish_is_in_flight_shares_the_next_envelope() -> None:
    async def check() -> None:
        log = MemoryLog()
        log.flowing.clear()
        async with CoapDoor(new_settings(), inspect, log.publish, clock=lambda: 1_790_000_000_000_001) as door:
            with Endpoint(door.port) as endpoint:
                endpoint.send(post(0))
                await log.entered.wait()
                for number in range(1, 101):
                    endpoint.send(post(number, b"%d" % number))
                await endpoint.ask_before_ping(b"")
                log.flowing.set()
                answers = [read(await endpoint.receive()) for _ in range(101)]
        assert [len(envelope) for envelope in log.envelopes] == [1, 100]
        assert Enclosed(SENDER, 1_790_000_000_000_001, 110, b"100") == log.envelopes[1][-1]
        assert list(range(101)) == [answer.message_id for answer in answers]
        assert (door.statistics().envelopes, door.statistics().packs_logged) == (2, 101)

    asyncio.run(check())


@pytest.mark.slow
@pytest.mark.parametrize(("count", "payload"), [(ENVELOPE_PACKS_MAX + 500, b"1"), (300, b"x" * DATAGRAM_BYTES_MAX)])
def test_no_envelope_is_larger_than_the_log_takes(count: int, payload: bytes) -> None:
    async def check() -> None:
        log = MemoryLog()
        log.flowing.clear()
        payload_of = payload[: DATAGRAM_BYTES_MAX - 20]
        async with open_door(log, peer_burst_requests=10_000, publish_timeout_s=100.0) as door:
            with Endpoint(door.port) as endpoint:
                for number in range(count):
                    endpoint.send(post(number, payload_of))
                    if number % 25 == 0:
                        await endpoint.ask_before_ping(b"")
                await endpoint.ask_before_ping(b"")
                log.flowing.set()
        assert count == len(log.payloads)
        assert max(map(len, log.envelopes)) <= ENVELOPE_PACKS_MAX
        assert max(sum(len(pack.payload) for pack in envelope) for envelope in log.envelopes) <= ENVELOPE_BYTES_MAX
        assert len(log.envelopes) >= 2

    asyncio.run(check())


@pytest.mark.parametrize("failure", [OSError("no quorum"), RuntimeError("no quorum"), asyncio.CancelledError()])
def test_a_log_that_fails_gets_all_of_its_envelope_503_and_the_next_one_is_taken(failure: BaseException) -> None:
    async def check() -> None:
        log = MemoryLog()
        log.failure = failure
        async with open_door(log) as door:
            with Endpoint(door.port) as endpoint:
                refused = read(await endpoint.ask(post(1)))
                assert (code("5.03"), ((14, b"\x05"),)) == (refused.code, refused.options)
                assert b"quorum" not in refused.payload
                log.failure = None
                assert code("2.04") == read(await endpoint.ask(post(2))).code
        assert (door.statistics().envelopes, door.statistics().envelopes_failed) == (1, 1)

    asyncio.run(check())


def test_a_log_that_never_answers_is_given_up_after_the_timeout() -> None:
    async def check() -> None:
        log = MemoryLog()
        log.flowing.clear()
        async with open_door(log, publish_timeout_s=0.01) as door:
            with Endpoint(door.port) as endpoint:
                assert code("5.03") == read(await endpoint.ask(post(1))).code
                log.flowing.set()
                assert code("2.04") == read(await endpoint.ask(post(2))).code

    asyncio.run(check())


def test_more_than_may_wait_is_answered_503_while_the_log_stands_still() -> None:
    async def check() -> None:
        log = MemoryLog()
        log.flowing.clear()
        async with open_door(log, waiting_packs_max=3) as door:
            with Endpoint(door.port) as endpoint:
                for number in range(3):
                    endpoint.send(post(number))
                assert (code("5.03"), 3) == _code_and_id(await endpoint.ask(post(3)))
                log.flowing.set()
                answers = [_code_and_id(await endpoint.receive()) for _ in range(3)]
                assert [(code("2.04"), number) for number in range(3)] == answers
                assert (code("2.04"), 3) == _code_and_id(await endpoint.ask(post(3)))

    asyncio.run(check())


@pytest.mark.slow
def test_a_slow_log_gets_its_client_an_empty_acknowledgement_and_a_confirmable_answer_until_acknowledged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(core_module, "SEPARATE_AFTER_S", 0.1)
    monkeypatch.setattr(separate_module, "ACK_TIMEOUT_S", 0.1)

    async def check() -> None:
        log = MemoryLog()
        log.flowing.clear()
        async with open_door(log) as door:
            with Endpoint(door.port) as endpoint:
                assert bytes.fromhex("60000001") == await endpoint.ask(post(1))
                log.flowing.set()
                answer = await endpoint.receive()
                assert (Type.CON, code("2.04"), b"\x01\x02") == _type_code_token(answer)
                assert answer == await endpoint.receive(), "not acknowledged, so it comes again"
                endpoint.send(b"\x60\x00" + answer[2:4])
                await endpoint.ask_before_ping(b"")
                assert door.statistics().separate_open == 0

    asyncio.run(check())


def test_closing_waits_for_the_log_and_answers_everything_that_arrived() -> None:
    async def check() -> None:
        log = MemoryLog()
        log.flowing.clear()
        endpoint = None
        async with asyncio.TaskGroup() as tasks:
            door = open_door(log)
            with Endpoint(door.port) as endpoint:
                running = tasks.create_task(door.run())
                endpoint.send(post(1))
                await log.entered.wait()
                assert await endpoint.ask_before_ping(post(2)) == []
                running.cancel()
                await asyncio.sleep(0)
                log.flowing.set()
                answers = [_code_and_id(await endpoint.receive()) for _ in range(2)]
        assert [(code("2.04"), 1), (code("2.04"), 2)] == answers
        assert running.cancelled()
        assert len(log.payloads) == 2

    asyncio.run(check())


def test_closing_gives_the_log_no_longer_than_its_deadline_and_refuses_what_it_did_not_take() -> None:
    async def check() -> None:
        log = MemoryLog()
        log.flowing.clear()
        door = open_door(log, shutdown_s=0.01)
        with Endpoint(door.port) as endpoint:
            async with door:
                endpoint.send(post(1))
                await log.entered.wait()
                await endpoint.ask_before_ping(post(2))
            answers = [_code_and_id(await endpoint.receive()) for _ in range(2)]
        assert [(code("5.03"), 1), (code("5.03"), 2)] == answers

    asyncio.run(check())


def test_an_error_of_the_caller_passes_through_as_it_is() -> None:
    async def check() -> None:
        async with open_door(MemoryLog()):
            raise KeyError("the caller's")

    with pytest.raises(KeyError):
        asyncio.run(check())


def test_an_inspector_that_raises_costs_one_datagram_and_not_the_door(caplog: pytest.LogCaptureFixture) -> None:
    def fragile(payload: bytes, content_format: int, sender: str) -> Inspection:
        if payload == b"poison":
            raise RuntimeError("a bug")
        return inspect(payload, content_format, sender)

    async def check() -> None:
        log = MemoryLog()
        async with CoapDoor(new_settings(), fragile, log.publish) as door:
            with Endpoint(door.port) as endpoint:
                assert await endpoint.ask_before_ping(post(1, b"poison")) == []
                assert code("2.04") == read(await endpoint.ask(post(2))).code
            assert door.statistics().events["fault"] == 1

    asyncio.run(check())
    assert [record.message for record in caplog.records].count("coap_fault") == 1
    assert "poison" not in caplog.text


def test_a_socket_that_cannot_be_read_is_counted_and_read_again_later() -> None:
    class Broken:
        def recvfrom(self, _size: int) -> None:
            raise OSError("no buffer space")

    async def check() -> None:
        async with open_door(MemoryLog()) as door:
            sound, door._socket = door._socket, Broken()  # type: ignore[assignment]  # only recvfrom is called
            door._read()
            door._socket = sound
            assert door.statistics().events == {"unread": 1}
            with Endpoint(door.port) as endpoint:
                assert code("2.04") == read(await endpoint.ask(post(1))).code

    asyncio.run(check())


def test_an_answer_that_cannot_be_sent_is_counted_and_its_repetition_is_sent() -> None:
    async def check() -> None:
        async with open_door(MemoryLog()) as door:
            door._send(b"\x60\x00\x00\x01", ("::1", 0, 0, 0))  # a forged source port 0
            assert door.statistics().events == {"unsent": 1}
            with Endpoint(door.port) as endpoint:
                assert code("2.04") == read(await endpoint.ask(post(1))).code

    asyncio.run(check())


def test_a_second_door_on_the_same_port_is_told_why_it_cannot_open() -> None:
    async def check() -> None:
        async with open_door(MemoryLog()) as door:
            with pytest.raises(CoapDoorError, match=rf"\[::1\]:{door.port}: stop the server that has it"):
                open_door(MemoryLog(), port=door.port)

    asyncio.run(check())


@pytest.mark.parametrize("host", ["2001:db8::1", "fe80::1%nowhere"])
def test_an_address_that_this_machine_does_not_have_is_told_why_it_cannot_be_bound(host: str) -> None:
    with pytest.raises(CoapDoorError, match="an address of this machine"):
        bind(host, 0)


@pytest.mark.parametrize("host", ["::", "2001:db8::1", "fe80::1%eth0"])
def test_plaintext_beyond_loopback_is_refused_with_the_reason_and_the_next_step(host: str) -> None:
    with pytest.raises(CoapSettingsError, match=r"is not loopback.* plaintext .*give the door its certificate"):
        open_door(MemoryLog(), host=host)


def test_the_socket_speaks_ipv6_only_and_shares_its_port_with_nobody() -> None:
    async def check() -> None:
        async with open_door(MemoryLog()) as door:
            assert door._socket.family == socket.AF_INET6
            assert door._socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
            assert door._socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0

    asyncio.run(check())


def test_statistics_count_answers_and_events_and_the_log_lines_carry_no_payload(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    async def check() -> None:
        async with open_door(MemoryLog()) as door:
            with Endpoint(door.port) as endpoint:
                for number, payload in enumerate((PACK, b"undecodable", b"unknown name", PACK)):
                    await endpoint.ask(post(number, payload))
                await endpoint.ask(post(0))
                await endpoint.ask_before_ping(b"\x00")
            statistics = door.statistics()
            door._report()
            door._report()
        assert statistics.answers == {"2.04": 2, "4.00": 2}
        assert statistics.events == {"duplicate": 1, "ignored_short": 1, "reset_ping": 1}
        assert (
            statistics.datagrams,
            statistics.packs_logged,
            statistics.remembered,
            statistics.peers,
        ) == (7, 3, 4, 1)
        assert (statistics.packs_waiting, statistics.bytes_waiting, statistics.assemblies) == (0, 0, 0)

    asyncio.run(check())
    events = [record.message for record in caplog.records if record.name.startswith("lichtmast")]
    assert events == ["coap_door_opened", "coap_refused", "coap_door_closed"]
    assert "undecodable" not in caplog.text


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"host": "127.0.0.1"}, "no IPv6 address"),
        ({"host": "localhost"}, "no IPv6 address"),
        ({"port": 65_536}, "0 to 65535"),
        ({"port": -1}, "0 to 65535"),
        ({"peer_requests_per_s": 265.0}, "message ids"),
        *(({name: 0}, name) for name in _POSITIVE),
    ],
)
def test_settings_that_cannot_work_say_what_can(changes: dict[str, object], what: str) -> None:
    with pytest.raises(CoapSettingsError, match=what):
        new_settings(**changes)


def test_the_default_settings_keep_an_endpoint_within_its_message_ids_on_the_standard_port() -> None:
    assert CoapSettings().port == 5683
    assert CoapSettings(peer_requests_per_s=250.0, peer_burst_requests=3_786).peer_requests_per_s == 250.0


def test_the_exported_names_are_promised() -> None:
    assert coap_door.__all__ == [
        "CoapDoor",
        "CoapDoorError",
        "CoapSettings",
        "CoapSettingsError",
        "CoapStatistics",
        "Dtls",
        "DtlsStatistics",
        "Inspect",
        "Inspection",
        "Publish",
        "wall_clock_us",
    ]


def _code_and_id(answer: bytes) -> tuple[int, int]:
    message = decode(answer)
    assert isinstance(message, Message)
    return message.code, message.message_id


def _type_code_token(answer: bytes) -> tuple[Type, int, bytes]:
    message = read(answer)
    return message.type, message.code, message.token
