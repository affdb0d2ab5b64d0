"""From a reading to a mailbox: a lamp fails, somebody is told once, over a kill, and told when it burns again."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from free_ports import free_port
from running_lichtmast import Running, lichtmast
from smtp_server import smtp_server

from lichtmast.suite.folder import Folder
from lichtmast.wire import DeviceId, Reading, encode, topics

pytestmark = pytest.mark.slow
LAMP = DeviceId("gm0402", "lamp-1")
RULE = """
name = "lamp failure"
tenant = "gm0402"
severity = "critical"
fold_s = 1
[scope]
profile = "lamp-controller"
capability = "failure"
[condition]
kind = "threshold"
above = 0.5
"""


def wait_for(told: Callable[[], Any], what: str, timeout_s: float = 40) -> Any:  # noqa: ANN401 - whatever is told
    until_s = time.monotonic() + timeout_s
    while not (found := told()):
        assert time.monotonic() < until_s, f"waited {timeout_s} s for {what}"
        time.sleep(0.05)
    return found


@contextmanager
def webhook() -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """A receiver on ::1: its address, and (id, event) of what it took."""
    taken: list[tuple[str, dict[str, Any]]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            taken.append((self.headers["webhook-id"], json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6

    with Server(("::1", free_port()), Receiver) as server:
        threading.Thread(target=server.serve_forever, name="webhook").start()
        try:
            yield f"http://[::1]:{server.server_address[1]}/alerts", taken
        finally:
            server.shutdown()


def say(running: Running, seq: int, *, failure: bool) -> None:
    """One pack of the lamp over MQTT."""

    async def publish() -> None:
        now_us = time.time_ns() // 1_000
        pack = encode(LAMP, [Reading("/lamp/0/failure", failure, None, now_us)], epoch=1, seq=seq)
        async with aiomqtt.Client("::1", running.mqtt_port, timeout=10) as client:
            await client.publish(topics.up_topic(LAMP), pack, qos=1)

    asyncio.run(publish())


def told(running: Running, *words: str) -> Any:  # noqa: ANN401 - JSON
    done = lichtmast(*words, "--json", data=running.folder.path)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_lamp_that_fails_wakes_somebody_once(tmp_path: Path) -> None:
    running = Running(Folder.choose(tmp_path / "data"), tmp_path / "output.log")
    rule = tmp_path / "rule.toml"
    rule.write_text(RULE)
    with smtp_server() as mail, webhook() as (url, hooked):
        (running.folder.path / "notifications.toml").write_text(
            f'allow_networks = ["::1/128"]\n[smtp]\nhost = "::1"\nport = {mail.port}\nsecurity = "none"\n'
            'from = "lichtmast@example.nl"\n'
        )
        running.start()
        try:
            told(running, "device", "add", str(LAMP), "--profile", "lamp-controller")
            told(running, "rule", "add", str(rule))
            told(running, "channel", "add", "on-call", "--tenant", "gm0402", "--kind", "email",
                 "--target", "storing@example.nl", "--severity", "critical")  # fmt: skip
            made = told(running, "channel", "add", "desk", "--tenant", "gm0402", "--kind", "webhook", "--target", url)
            assert made["secret"].startswith("whsec_")
            tested = told(running, "channel", "test", str(made["channel"]))
            assert tested["accepted"]
            hooked.clear()
            wait_for(lambda: running.status()["alerts"]["rules"] == 1, "the engine knows the rule")

            say(running, 1, failure=False)
            say(running, 2, failure=True)
            wait_for(lambda: mail.taken and hooked, "a mail and a webhook")
            [alert] = told(running, "alert", "list")["alerts"]
            assert alert["state"] == "new"
            assert alert["rule"] == "lamp failure"
            assert told(running, "alert", "ack", str(alert["alert"]))["state"] == "acknowledged"

            running.kill()
            running.start()
            say(running, 3, failure=True)
            say(running, 4, failure=False)
            wait_for(lambda: len(hooked) > 1, "word that it burns again")
            wait_for(lambda: len(mail.taken) > 1, "a mail that says so")
            [cleared] = told(running, "alert", "list", "--state", "cleared")["alerts"]
            assert cleared["alert"] == alert["alert"]
            assert told(running, "audit")["stored"] == 4
        finally:
            running.kill()
    events = [notice["event"] for _, event in hooked for notice in event["data"]["notices"]]
    assert events == ["raised", "cleared"]
    assert len({number for number, _ in hooked}) == 2
    assert len(mail.taken) == 2
    assert all(message["To"] == "storing@example.nl" for message in mail.taken)
