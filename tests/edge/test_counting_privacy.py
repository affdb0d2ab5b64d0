"""A planted address is found nowhere: not in the outbox, not in the log, not in what the agent tells of itself."""

import asyncio
import hashlib
import itertools
import json
import logging
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from lichtmast.edge.drivers import DriverContext, Worker, build_driver
from lichtmast.edge.outbox import Draft, Outbox, OutboxSettings
from lichtmast.edge.sampling import Sampler, read_drivers
from lichtmast.edge.timekeeping import Stamp
from lichtmast.wire.identity import DeviceId

PLANTED = [f"0a:1b:2c:3d:4e:{number:02x}" for number in range(0x51, 0x51 + 12)]

SETTINGS = """
[[driver]]
name = "eye"
kind = "simulated"
control = "{control}"
[driver.channel.people]
shape = "passers"
[[driver.reading]]
channel = "people"
sample_s = 1
statistics = {{ total = "/people/0/total" }}
counted = {{}}
"""


class TurnedClock:
    """Time as the test turns it."""

    boot = "2b1f6b3c-0000-4000-8000-000000000001"
    now_s = 1_000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_us(self) -> int:
        return int(self.now_s * 1e6)


def traces(address: str) -> Iterator[bytes]:
    """The address as people write it, and what usually passes for anonymous: its plain hashes."""
    octets = bytes.fromhex(address.replace(":", ""))
    for text in (address, address.upper(), address.replace(":", "-"), address.replace(":", "")):
        yield text.encode()
        for name in ("md5", "sha1", "sha256", "blake2b"):
            digest = hashlib.new(name, text.encode())
            yield digest.digest()[:8]
            yield digest.hexdigest()[:16].encode()
    yield octets


def found_in(haystack: bytes) -> list[bytes]:
    return [trace for address in PLANTED for trace in traces(address) if trace in haystack]


def test_the_search_finds_a_planted_address() -> None:
    assert found_in(b"... 0A:1B:2C:3D:4E:51 ...")
    assert found_in(hashlib.sha256(PLANTED[3].encode()).hexdigest().encode())


def test_a_planted_address_is_found_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    control, state = tmp_path / "control.json", tmp_path / "state"
    state.mkdir()
    (driver,) = drivers = read_drivers(tomllib.loads(SETTINGS.format(control=control))["driver"])
    clock, told = TurnedClock(), []
    context = DriverContext("eye", 1, driver.wanted, clock.monotonic_s, lambda _: None)

    async def scenario() -> bytes:
        worker = Worker(
            "eye",
            lambda: build_driver(driver.kind, driver.options, context),
            wanted=driver.wanted,
            seed=1,
            monotonic_s=clock.monotonic_s,
            on_refused=lambda name, reason: told.append((name, reason)),
        )
        sampler = Sampler(drivers, {"eye": worker.channels}, now_s=clock.now_s, fresh_salt=lambda: os.urandom(16))
        outbox = Outbox.open(state / "outbox.db", DeviceId("gm0402", "pole-1"), settings=OutboxSettings(), clock=clock)
        whole = {"identifiers": {"people": PLANTED}}
        for behaviour in (whole, {"values": {"people": PLANTED}}, {"raise": f"no idea of {PLANTED[0]}"}, whole, whole):
            control.write_text(json.dumps(behaviour))
            clock.now_s += 400
            sampler.take("eye", await worker.read(), clock.now_s)
            report = sampler.report(clock.now_s)
            if report.readings:
                assert [reading.value for reading in report.readings] == [len(PLANTED)]
                outbox.put([Draft(report.readings)], Stamp(1_700_000_000_000_000, 0.1))
        numbers = list(outbox.sendable())
        packs = b"".join(pack.payload for pack in outbox.load(numbers))
        assert b"/people/0/total" in packs
        said = (report, sampler.latest(), sampler.statistics(), worker.statistics(), outbox.statistics(), told, sampler)
        outbox.close()
        await worker.close()
        return packs + "".join(map(repr, said)).encode()

    seen = asyncio.run(scenario())
    files = [one for one in state.rglob("*") if one.is_file()]
    assert files
    assert ("eye", "DriverError") in told
    for haystack in (seen, caplog.text.encode(), *(one.read_bytes() for one in files)):
        assert found_in(haystack) == []


def test_addresses_do_not_stay_in_the_drivers_thread_after_they_were_counted(tmp_path: Path) -> None:
    """What the garbage collector still reaches from anything alive, once the interval is over."""
    import gc

    from lichtmast.edge.drivers import Identifiers

    control = tmp_path / "control.json"
    (driver,) = drivers = read_drivers(tomllib.loads(SETTINGS.format(control=control))["driver"])
    ticks = itertools.count(0.0, 1_000.0)
    context = DriverContext("eye", 1, driver.wanted, lambda: 0.0, lambda _: None)

    async def scenario() -> None:
        worker = Worker(
            "eye",
            lambda: build_driver(driver.kind, driver.options, context),
            wanted=driver.wanted,
            seed=1,
            monotonic_s=lambda: 0.0,
            on_refused=lambda _, reason: pytest.fail(reason),
        )
        sampler = Sampler(drivers, {"eye": worker.channels}, now_s=next(ticks), fresh_salt=lambda: os.urandom(16))
        control.write_text(json.dumps({"identifiers": {"people": PLANTED}}))
        sampler.take("eye", await worker.read(), next(ticks))
        sampler.report(next(ticks))
        await asyncio.sleep(0)
        gc.collect()
        assert [one for one in gc.get_objects() if isinstance(one, Identifiers)] == []
        await worker.close()

    asyncio.run(scenario())
