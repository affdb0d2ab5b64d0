"""Wrong and hostile MQTT: what comes of it, and that nobody else notices.

The broker is not ours, so this is the contract we rely on (catalogue groups 1 to 30 as far as they concern MQTT 3.1.1
without certificates; property and alias groups 19 to 22 are MQTT 5, which is refused whole). MQTT 3.1.1 has no reason
code: what a client may not publish is dropped with its PUBACK (section 3.3.5 leaves the server that choice).
"""

import gzip
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from mqtt_bytes import connect, packet, publish, subscribe
from running_lichtmast import Running

from lichtmast.suite.folder import Folder

UP = "lm/gm0402/lm-0/up"
DENIED = "9003000180"
"""SUBACK with return code 0x80 (section 3.9.3)."""


def pack(device: str, seq: int | None, **changes: object) -> bytes:
    first: dict[str, object] = {"bn": f"urn:dev:lm:gm0402:{device}", "bt": round(time.time(), 3)}
    if seq is not None:
        first |= {"lm-epoch": 1, "lm-seq": seq}
    return json.dumps(
        [{**first, "n": "/air/0/pm10", "u": "kg/m3", "v": 1e-8, **changes}], separators=(",", ":")
    ).encode()


@dataclass(frozen=True)
class Case:
    """What is sent and what comes of it: `closed`, `dropped`, `denied`, or the reason in quarantine."""

    group: int
    name: str
    sent: bytes
    outcome: str


CASES = [
    Case(1, "PUBLISH before CONNECT", publish(UP, b"x"), "closed"),
    Case(2, "second CONNECT", connect() + connect(), "closed"),
    Case(3, "remaining length of five bytes", connect() + b"\x32\xff\xff\xff\xff\x7f", "closed"),
    Case(4, "remaining length of 256 MB", connect() + b"\x32\xff\xff\xff\x7f" + b"x" * 100, "closed"),
    Case(5, "QoS 3", connect() + publish(UP, b"x", qos=3), "closed"),
    Case(6, "packet identifier 0", connect() + publish(UP, b"x", identifier=0), "closed"),
    Case(7, "U+0000 in the topic", connect() + publish(b"lm/gm0402/lm\x00/up", b"x"), "closed"),
    Case(8, "topic is not UTF-8", connect() + publish(b"lm/gm0402/\xc3\x28/up", b"x"), "closed"),
    Case(8, "surrogate in the topic", connect() + publish(b"lm/gm0402/\xed\xa0\x80/up", b"x"), "closed"),
    Case(9, "publish to +", connect() + publish("lm/gm0402/+/up", b"x"), "closed"),
    Case(9, "publish to #", connect() + publish("lm/gm0402/#", b"x"), "closed"),
    Case(10, "empty topic", connect() + publish("", b"x"), "closed"),
    Case(11, "topic of 65,535 bytes", connect() + publish("a" * 65_535, b"x"), "dropped"),
    Case(12, "topic of 200 levels", connect() + publish("/".join("a" * 200), b"x"), "dropped"),
    Case(13, "a pack of another device", connect() + publish(UP, pack("lm-1", None)), "identity_mismatch"),
    Case(13, "the topic of our own door", connect() + publish("lm/door/coap/up", b"LMB1"), "dropped"),
    Case(13, "the log's own interface", connect() + publish("$JS/API/STREAM/PURGE/READINGS", b""), "dropped"),
    Case(13, "another device's acknowledgements", connect() + publish("lm/gm0402/lm-0/ack", b'{"epoch":1}'), "dropped"),
    Case(14, "subscribe #", connect() + subscribe("#"), "denied"),
    Case(14, "subscribe $SYS/#", connect() + subscribe("$SYS/#"), "denied"),
    Case(14, "subscribe $JS/#", connect() + subscribe("$JS/#"), "denied"),
    Case(14, "subscribe to readings", connect() + subscribe("lm/+/+/up"), "denied"),
    Case(14, "subscribe with U+0000", connect() + subscribe(b"a\x00"), "closed"),
    Case(15, "retained reading that is no pack", connect() + publish(UP, b"r", retain=True), "undecodable"),
    Case(20, "MQTT 5", connect(version=5), "closed"),
    Case(23, "empty payload", connect() + publish(UP, b""), "empty"),
    Case(24, "payload of 10 MB", connect() + publish(UP, b"x" * 10_000_000), "closed"),
    Case(24, "payload over the pack limit", connect() + publish(UP, b"[" + b" " * 70_000 + b"]"), "too_large"),
    Case(25, "gzip bomb", connect() + publish(UP, gzip.compress(b"0" * 5_000_000)), "undecodable"),
    Case(0, "QoS 2 that is never released", connect() + publish(UP, b"2", qos=2), "dropped"),
    Case(0, "dots in a topic level", connect() + publish("lm/gm0402/a.b/up", b"x"), "undecodable"),
    Case(0, "unregistered device", connect() + publish("lm/gm0402/nobody/up", pack("nobody", 1)), "unknown_device"),
    Case(0, "reserved flags", connect() + b"\xc5\x00", "closed"),
    Case(0, "packet type 15", connect() + b"\xf0\x00", "closed"),
    Case(0, "acknowledgement of nothing", connect() + packet(0x40, b"\x00\x07") + publish(UP, b""), "empty"),
]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One Lichtmast for all cases: each must leave it whole for the next."""
    folder = tmp_path_factory.mktemp("mqtt")
    one = Running(Folder.choose(folder / "data"), folder / "output.log")
    one.register("lm-0", "lm-1", "neighbour")
    one.start()
    yield one
    assert one.stop() == 0


def exchange(port: int, sent: bytes, expected: str) -> tuple[bool, bytes]:
    """Send, and read until closed or until the answer that was expected is there; (closed, what came)."""
    came = b""
    with socket.create_connection(("::1", port), timeout=10) as connection:
        try:
            connection.sendall(sent)
            while not (expected != "closed" and came.endswith(_last_answer(expected))):
                part = connection.recv(1_000)
                if not part:
                    return True, came
                came += part
        except (ConnectionResetError, BrokenPipeError):
            return True, came
    return False, came


def _last_answer(expected: str) -> tuple[bytes, ...]:
    return (bytes.fromhex(DENIED),) if expected == "denied" else (b"\x40\x02\x00\x01", b"\x50\x02\x00\x01")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=[f"{case.group}: {case.name}" for case in CASES])
def test_bad_mqtt_is_answered_as_agreed_and_harms_no_neighbour(town: Running, case: Case) -> None:
    before = town.audit()
    closed, _ = exchange(town.mqtt_port, case.sent, case.outcome)
    neighbour = pack("neighbour", before["stored"] + 1)
    exchange(town.mqtt_port, connect("neighbour") + publish("lm/gm0402/neighbour/up", neighbour), "stored")
    after = town.audit()
    assert closed == (case.outcome == "closed")
    assert after["stored"] == before["stored"] + 1, "the neighbour's reading was not stored"
    refused = case.outcome if case.outcome not in {"closed", "dropped", "denied"} else None
    assert after["quarantined"] - before["quarantined"] == (refused is not None)
    assert after["faults"] == []
    if refused is not None:
        assert town.status()["refusals"].get(refused, 0) > 0


def test_a_slow_connect_is_cut_off(town: Running) -> None:
    """Group 29: one byte and silence."""
    with socket.create_connection(("::1", town.mqtt_port), timeout=15) as connection:
        connection.sendall(connect()[:3])
        assert connection.recv(1) == b""


def test_a_repetition_with_the_dup_flag_is_stored_once(town: Running) -> None:
    """Group 26."""
    before = town.audit()
    raw = pack("lm-1", 1)
    twice = publish("lm/gm0402/lm-1/up", raw) + publish("lm/gm0402/lm-1/up", raw, identifier=2, duplicate=True)
    exchange(town.mqtt_port, connect() + twice + publish("lm/gm0402/lm-1/up", raw, identifier=1), "stored")
    after = town.audit()
    assert after["stored"] - before["stored"] == 1
    assert after["duplicates"] - before["duplicates"] == 2


def test_a_number_used_again_for_another_reading_goes_to_quarantine(town: Running) -> None:
    """Group 27."""
    before = town.audit()
    again = publish("lm/gm0402/lm-1/up", pack("lm-1", 2)) + publish("lm/gm0402/lm-1/up", pack("lm-1", 2, v=9e-9))
    exchange(
        town.mqtt_port, connect() + publish("lm/gm0402/lm-1/up", pack("lm-1", 1, v=7e-9), identifier=3) + again, "x"
    )
    after = town.audit()
    assert after["quarantined"] - before["quarantined"] >= 1
    assert town.status()["refusals"]["sequence_conflict"] >= 1
    assert after["faults"] == []


def test_a_will_reaches_no_device(town: Running) -> None:
    """Group 16: the broker publishes a will with the rights of its client, who may not publish acknowledgements."""
    with socket.create_connection(("::1", town.mqtt_port), timeout=10) as listener:
        listener.sendall(connect("listener") + subscribe("lm/gm0402/lm-0/ack"))
        granted = b""
        while not granted.endswith(bytes.fromhex("9003000100")):
            granted += listener.recv(100)
        doomed = socket.create_connection(("::1", town.mqtt_port), timeout=10)
        doomed.sendall(connect("doomed", will=("lm/gm0402/lm-0/ack", b"gone")))
        doomed.recv(4)
        doomed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        doomed.close()  # a reset, so that the will is due
        exchange(town.mqtt_port, connect("after") + publish(UP, b"after"), "stored")
        listener.settimeout(2)
        with pytest.raises(TimeoutError):
            listener.recv(100)


def test_a_publish_cut_off_by_a_reset_is_stored_once_or_not_at_all(town: Running) -> None:
    """Group 30."""
    before = town.audit()
    for seq in range(1, 21):
        connection = socket.create_connection(("::1", town.mqtt_port), timeout=10)
        connection.sendall(connect() + publish("lm/gm0402/lm-0/up", pack("lm-0", seq)))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        connection.close()
    after = town.audit()
    assert 0 <= after["stored"] - before["stored"] <= 20
    assert after["double_packs"] == 0
