"""The light device's MQTT: right bytes out, anything in, and a session that knows when the broker is gone."""

import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt_bytes import connect as reference_connect
from mqtt_bytes import length, packet
from mqtt_bytes import publish as reference_publish
from mqtt_bytes import subscribe as reference_subscribe

from lichtmast.firmware_sim import limits
from lichtmast.firmware_sim.light import mqtt
from lichtmast.firmware_sim.light.session import Happened, Session

TOPIC = "lm/gm0402/lm-0001/ack"
CONNACK = b"\x20\x02\x00\x00"
SUBACK = b"\x90\x03\x00\x01\x00"
READY = CONNACK + SUBACK


def ready_session(now_s: float = 0.0) -> Session:
    session = Session(TOPIC, now_s)
    session.heard(READY, now_s)
    assert session.ready
    return session


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 70_000])
def test_packets_are_those_of_an_independent_writer(size: int) -> None:
    payload = b"x" * size
    assert mqtt.publish("lm/a/b/up", payload, 7) == reference_publish("lm/a/b/up", payload, identifier=7)
    assert mqtt.connect("probe", 60) == reference_connect("probe")
    assert mqtt.subscribe(TOPIC, 1) == reference_subscribe(TOPIC)


def test_the_broker_s_packets_are_read() -> None:
    raw = CONNACK + SUBACK + b"\x40\x02\x01\x02" + b"\xd0\x00" + reference_publish(TOPIC, b"{}", qos=0)
    expected = [
        mqtt.Connack(0),
        mqtt.Suback(1, 0),
        mqtt.Puback(0x0102),
        mqtt.Pingresp(),
        mqtt.Publish(TOPIC, b"{}"),
    ]
    assert mqtt.Parser().feed(raw) == expected
    for cut in range(len(raw)):
        parser = mqtt.Parser()
        assert parser.feed(raw[:cut]) + parser.feed(raw[cut:]) == expected
    drops = mqtt.Parser()
    assert [one for byte in raw for one in drops.feed(bytes([byte]))] == expected


@pytest.mark.slow
@given(st.lists(st.binary(max_size=64)))
def test_any_bytes_are_packets_or_a_fault(pieces: list[bytes]) -> None:
    parser = mqtt.Parser()
    try:
        for one in pieces:
            parser.feed(one)
    except mqtt.MqttFault:
        pass


@pytest.mark.slow
@given(st.lists(st.sampled_from([CONNACK, SUBACK, b"\x40\x02\x00\x02", b"\xd0\x00", b"\x20\x02\x00\x05", b"\xff"])))
def test_a_session_ends_with_a_fault_and_nothing_else(pieces: list[bytes]) -> None:
    session = Session(TOPIC, 0.0)
    try:
        for one in pieces:
            session.heard(one, 1.0)
    except mqtt.MqttFault:
        pass


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"\x20\x02\x02\x00", "0x20"),
        (b"\x20\x03\x00\x00\x00", "0x20"),
        (b"\x41\x02\x00\x01", "0x41"),
        (b"\x40\x01\x00", "0x40"),
        (b"\x50\x02\x00\x01", "0x50"),
        (b"\xd0\x01\x00", "0xd0"),
        (b"\xc0\x00", "0xc0"),
        (b"\x00\x00", "0x00"),
        (b"\x30\x80\x00", "shortest"),
        (b"\x30\xff\xff\xff\xff", "four bytes"),
        (b"\x30" + length(limits.MQTT_PACKET_BYTES_MAX + 1), "at most 65536"),
        (reference_publish(TOPIC, b"", qos=1), "QoS 0"),
        (packet(0x38, b"\x00\x01a"), "QoS 0"),
        (packet(0x30, b"\x00\x05abc"), "whole topic"),
        (packet(0x30, b"\x00\x00"), "whole topic"),
        (packet(0x30, b"\x00"), "whole topic"),
        (packet(0x30, b"\x00\x01\xff"), "UTF-8"),
    ],
)
def test_what_the_standard_forbids_is_a_fault_that_says_so(raw: bytes, why: str) -> None:
    with pytest.raises(mqtt.MqttFault, match=why):
        mqtt.Parser().feed(raw)


def test_the_largest_packet_is_read_and_one_byte_more_is_not() -> None:
    body = b"\x00\x01a" + b"x" * (limits.MQTT_PACKET_BYTES_MAX - 3)
    (read,) = mqtt.Parser().feed(packet(0x31, body))
    assert read == mqtt.Publish("a", body[3:])
    with pytest.raises(mqtt.MqttFault):
        mqtt.Parser().feed(packet(0x31, body + b"x"))


def test_a_session_subscribes_after_its_welcome_and_then_may_publish() -> None:
    session = Session(TOPIC, 0.0)
    assert session.heard(CONNACK, 0.0) == (mqtt.subscribe(TOPIC, 1), [])
    assert not session.may_publish
    assert session.heard(SUBACK, 0.0) == (b"", [Happened.READY])
    first = session.publish("up", b"one", 0.0)
    assert not session.may_publish
    assert session.heard(b"\x40\x02" + first[6:8], 0.5) == (b"", [Happened.PUBLISHED])
    assert session.may_publish
    assert session.publish("up", b"one", 1.0)[6:8] != first[6:8], "each message has its own identifier"


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"\x20\x02\x00\x05", "CONNACK with code 5"),
        (b"\x90\x03\x00\x01\x80", "0x80"),
        (b"\x40\x02\x00\x09", "PUBACK 9"),
    ],
)
def test_a_refusal_or_an_answer_to_nothing_ends_the_session(raw: bytes, why: str) -> None:
    session = Session(TOPIC, 0.0)
    if raw[0] != 0x20:
        session.heard(CONNACK, 0.0)
    with pytest.raises(mqtt.MqttFault, match=why):
        session.heard(raw, 0.0)


def test_the_acknowledgement_of_another_message_ends_the_session() -> None:
    session = ready_session()
    identifier = int.from_bytes(session.publish("up", b"one", 0.0)[6:8], "big")
    with pytest.raises(mqtt.MqttFault, match="not in flight"):
        session.heard(b"\x40\x02" + (identifier + 1).to_bytes(2, "big"), 0.0)


def test_messages_of_another_topic_are_not_ours() -> None:
    assert ready_session().heard(reference_publish("lm/else", b"{}", qos=0), 0.0) == (b"", [])
    assert ready_session().heard(reference_publish(TOPIC, b"{}", qos=0), 0.0) == (b"", [b"{}"])


def test_a_silent_session_pings_and_gives_up_where_nothing_comes_back() -> None:
    session = ready_session()
    assert session.wake_at_s() == limits.MQTT_KEEPALIVE_S
    assert session.tick(limits.MQTT_KEEPALIVE_S - 0.1) == b""
    assert session.tick(limits.MQTT_KEEPALIVE_S) == mqtt.PINGREQ
    gone_s = limits.MQTT_KEEPALIVE_S + limits.MQTT_TIMEOUT_S
    assert session.wake_at_s() == gone_s
    assert session.tick(gone_s - 0.1) == b""
    with pytest.raises(mqtt.MqttFault, match="PINGREQ"):
        session.tick(gone_s)
    alive = ready_session()
    alive.tick(limits.MQTT_KEEPALIVE_S)
    alive.heard(b"\xd0\x00", limits.MQTT_KEEPALIVE_S + 1)
    assert alive.tick(gone_s) == b""


def test_a_publish_without_an_answer_ends_the_session_but_not_while_the_broker_speaks() -> None:
    session = ready_session()
    session.publish("up", b"one", 0.0)
    session.heard(reference_publish(TOPIC, b"{}", qos=0), 15.0)
    assert session.tick(limits.MQTT_TIMEOUT_S) == b""
    with pytest.raises(mqtt.MqttFault, match="PUBLISH"):
        session.tick(15.0 + limits.MQTT_TIMEOUT_S)


@pytest.mark.slow
def test_identifiers_wrap_and_are_never_zero() -> None:
    session = ready_session()
    seen = set()
    for _ in range(65_540):
        identifier = session.publish("up", b"", 0.0)[6:8]
        seen.add(identifier)
        session.heard(b"\x40\x02" + identifier, 0.0)
    assert len(seen) == 65_535
    assert b"\x00\x00" not in seen


def test_paho_agrees_on_the_version() -> None:
    assert mqtt.connect("x", 60)[8] == paho.MQTTv311
