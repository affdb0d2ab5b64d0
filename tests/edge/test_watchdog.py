"""What systemd hears, on a real datagram socket."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lichtmast.edge.errors import SettingsError
from lichtmast.edge.watchdog import Watchdog


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(5)
        yield listener


def test_ready_is_said_where_systemd_listens(systemd: socket.socket) -> None:
    Watchdog.of(systemd.getsockname(), "").say("READY=1")
    assert systemd.recv(100) == b"READY=1"


def test_an_abstract_address_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0lichtmast-edge-test")
        listener.settimeout(5)
        Watchdog.of("@lichtmast-edge-test", "").say("STOPPING=1")
        assert listener.recv(100) == b"STOPPING=1"


def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    Watchdog.of("", "").say("READY=1")
    Watchdog.of(str(tmp_path / "gone"), "").say("READY=1")


def test_the_watchdog_hears_of_a_loop_that_turns_and_nothing_of_one_that_hangs(systemd: socket.socket) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        watchdog = asyncio.create_task(Watchdog.of(systemd.getsockname(), "30000").run(), name="watchdog")
        assert await loop.run_in_executor(None, systemd.recv, 100) == b"WATCHDOG=1"
        assert await loop.run_in_executor(None, systemd.recv, 100) == b"WATCHDOG=1"
        systemd.settimeout(0)
        while True:  # what it said until now
            try:
                systemd.recv(100)
            except BlockingIOError:
                break
        systemd.settimeout(0.2)
        with pytest.raises(TimeoutError):
            systemd.recv(100)  # in the loop's own thread: the loop hangs
        watchdog.cancel()
        await asyncio.gather(watchdog, return_exceptions=True)

    asyncio.run(scenario())


@pytest.mark.parametrize("told", ["soon", "0", "-1"])
def test_nonsense_from_the_environment_is_refused(told: str) -> None:
    with pytest.raises(SettingsError, match="WATCHDOG_USEC"):
        Watchdog.of("", told)
