"""Tenants, devices, their URNs, topics and subjects."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lichtmast.wire import topics
from lichtmast.wire.identity import DeviceId, IdentityError, is_tenant
from lichtmast.wire.names import device_of_name, is_suffix

devices: Final = st.builds(
    DeviceId, st.from_regex(r"gm[0-9]{4}", fullmatch=True), st.from_regex(r"[a-z0-9-]{3,40}", fullmatch=True)
)
LAMP: Final = DeviceId("gm0402", "lm-0001")


@given(devices)
def test_text_urn_and_subject_lead_back_to_the_device(device: DeviceId) -> None:
    assert DeviceId.parse(str(device)) == device
    assert DeviceId.from_urn(device.urn) == device
    assert device_of_name(f"{device.urn}/lamp/0/level") == device
    assert topics.device_of_subject(topics.up_subject(device)) == device


@given(devices)
def test_topic_and_subject_are_the_same_name_with_other_separators(device: DeviceId) -> None:
    assert topics.up_topic(device).replace("/", ".") == topics.up_subject(device)
    assert topics.ack_topic(device).replace("/", ".") == topics.ack_subject(device)
    assert topics.state_topic(device).replace("/", ".") == topics.state_subject(device)
    assert topics.ev_topic(device).replace("/", ".") == topics.ev_subject(device)
    assert topics.up_subject(device).count(".") == 3


def test_names_are_spelled_as_documented() -> None:
    assert LAMP.urn == "urn:dev:lm:gm0402:lm-0001"
    assert topics.up_topic(LAMP) == "lm/gm0402/lm-0001/up"
    assert topics.ack_topic(LAMP) == "lm/gm0402/lm-0001/ack"
    assert topics.cfg_topic(LAMP) == "lm/gm0402/lm-0001/cfg"
    assert topics.cmd_topic(LAMP) == "lm/gm0402/lm-0001/cmd"
    assert topics.state_topic(LAMP) == "lm/gm0402/lm-0001/state"
    assert topics.ev_topic(LAMP) == "lm/gm0402/lm-0001/ev"


@given(st.text(max_size=60))
def test_any_other_text_is_an_identity_error(text: str) -> None:
    for read in (DeviceId.parse, DeviceId.from_urn, topics.device_of_subject, device_of_name):
        try:
            device = read(text)
        except IdentityError:
            continue
        assert str(device)


@pytest.mark.parametrize(
    "tenant", ["", "gm", "gm040", "gm04020", "GM0402", "gm04o2", "gm0402\n", " gm0402", "gm\u0660\u0664\u0660\u0662"]
)
def test_bad_tenant_is_refused(tenant: str) -> None:
    assert not is_tenant(tenant)
    with pytest.raises(IdentityError, match="tenant"):
        DeviceId(tenant, "lm-0001")


@pytest.mark.parametrize(
    "device", ["", "ab", "a" * 41, "LM-1", "lm.1", "lm/1", "lm_1", "lm 1", "lm-1\n", "lm*", "lm>", "lm+", "é-1"]
)
def test_bad_device_is_refused(device: str) -> None:
    with pytest.raises(IdentityError, match="device"):
        DeviceId("gm0402", device)


@pytest.mark.parametrize("length", [3, 40])
def test_shortest_and_longest_device_are_accepted(length: int) -> None:
    assert DeviceId("gm0402", "a" * length).device == "a" * length


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "lm",
        "lm.gm0402.lm-0001",
        "lm.gm0402.lm-0001.ack",
        "lm.gm0402.lm-0001.up.x",
        "xx.gm0402.lm-0001.up",
        "lm.door.coap.up",
        "lm.*.*.up",
        "lm.gm0402.>.up",
        "lm/gm0402/lm-0001/up",
    ],
)
def test_subject_without_a_device_is_refused(subject: str) -> None:
    with pytest.raises(IdentityError):
        topics.device_of_subject(subject)


def test_no_device_can_own_the_subject_of_the_coap_door() -> None:
    with pytest.raises(IdentityError):
        topics.device_of_subject(topics.COAP_DOOR_SUBJECT)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "urn:dev:lm:gm0402:lm-0001",
        "urn:dev:lm:gm0402:lm-0001/",
        "urn:dev:lm:gm0402:lm-0001:x/a",
        "gm0402/lm-0001/a",
    ],
)
def test_name_without_urn_and_suffix_has_no_device(name: str) -> None:
    with pytest.raises(IdentityError):
        device_of_name(name)


def test_errors_show_no_more_than_the_beginning_of_long_input() -> None:
    for read in (DeviceId.parse, DeviceId.from_urn, topics.device_of_subject, device_of_name):
        with pytest.raises(IdentityError) as caught:
            read("x" * 10_000)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("suffix", "expected"), [("/a", True), ("/a/b:c.d_e-F", True), ("//", True), ("a", False), ("/", False)]
)
def test_suffix_begins_with_a_slash_and_goes_on(suffix: str, *, expected: bool) -> None:
    assert is_suffix(suffix) is expected
