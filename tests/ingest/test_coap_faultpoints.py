"""A fault beside the log of the CoAP door: the device is told to come again, and the door goes on."""

import asyncio
from collections.abc import Iterator

import pytest

from lichtmast.ingest.coap import core as core_module
from lichtmast.ingest.coap.message import code
from lichtmast.ingest.coap.testing import PACK, Endpoint, MemoryLog, open_door, post, read
from lichtmast.wire.faultpoint import arm, disarm


@pytest.fixture(autouse=True)
def _disarmed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(core_module, "SEPARATE_AFTER_S", 1_000.0)  # no answer counts as late here
    yield
    disarm()


@pytest.mark.parametrize(("point", "logged"), [("coap.before_log", []), ("coap.after_log", [PACK])])
def test_a_fault_beside_the_log_is_answered_503_and_the_next_pack_is_taken(point: str, logged: list[bytes]) -> None:
    async def check() -> None:
        log = MemoryLog()
        async with open_door(log) as door:
            with Endpoint(door.port) as endpoint:
                arm({point: "raise@1"}, leave=lambda _: None, sleep=lambda _: None)
                assert read(await endpoint.ask(post(1))).code == code("5.03")
                assert log.payloads == logged
                assert read(await endpoint.ask(post(2))).code == code("2.04")
                assert log.payloads == [*logged, PACK]

    asyncio.run(check())
