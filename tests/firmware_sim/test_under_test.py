"""A server for somebody else's test says what is wrong when it cannot be had."""

import socket
from pathlib import Path

import pytest

from lichtmast.firmware_sim.under_test import HOST, AckListener, Ports, Server, UnderTestError, find_command
from lichtmast.wire import DeviceId


@pytest.mark.slow
def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0), family=socket.AF_INET6) as taken:
        ports = Ports.free()
        server = Server(tmp_path, Ports(taken.getsockname()[1], ports.mqtt, ports.coap))
        with pytest.raises(UnderTestError, match=r"(?s)lichtmast up did not start:.*another port with --http-port"):
            server.start()
    server.stop()


def test_without_the_command_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnderTestError, match="install the distribution lichtmast"):
        find_command()


@pytest.mark.slow
def test_a_device_of_no_profile_is_refused_with_the_reason(tmp_path: Path) -> None:
    server = Server(tmp_path, Ports.free())
    with pytest.raises(UnderTestError, match=r"device add gm0402/a-one failed: .*telepathy"):
        server.add_device(DeviceId("gm0402", "a-one"), "telepathy")
    assert len(server.add_device(DeviceId("gm0402", "a-one"), "noise")) == 4


def test_a_broker_that_never_answers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lichtmast.firmware_sim.under_test.START_TIMEOUT_S", 0.2)
    listener = AckListener(DeviceId("gm0402", "a-one"), (HOST, 1))
    with pytest.raises(UnderTestError, match=r"no broker answers at \[::1\]:1"):
        listener.__enter__()
    listener.__exit__()
