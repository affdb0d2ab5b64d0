"""From where devices were last heard: the newest stays, strangers leave nothing, and all of it is forgotten in time."""

from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path
from shutil import copyfile

import pytest

from lichtmast.registry import Registry
from lichtmast.registry.contacts import CONTACT_KEPT_US, Bearer, Contact, ContactBook
from lichtmast.wire import DeviceId

NODE, OTHER, STRANGER = (DeviceId("gm0402", name) for name in ("lm-1", "lm-2", "lm-3"))
HERE, THERE = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")
NOW_US = 1_800_000_000_000_000


def heard(device: DeviceId, address: IPv6Address, at_us: int, bearer: Bearer = Bearer.MQTT) -> Contact:
    return Contact(device, bearer, address, at_us)


@pytest.fixture
def contacts(tmp_path: Path, empty_register: Path) -> Iterator[ContactBook]:
    copyfile(empty_register, tmp_path / "register.sqlite")
    with Registry.open(tmp_path / "register.sqlite") as registry:
        for device in (NODE, OTHER):
            registry.register_device(device, "air-quality", at_us=NOW_US)
    with ContactBook.open(tmp_path / "register.sqlite") as book:
        yield book


def test_of_each_transport_the_newest_contact_stays_whatever_order_they_come_in(contacts: ContactBook) -> None:
    newest, by_coap = heard(NODE, THERE, NOW_US), heard(NODE, HERE, NOW_US - 5, Bearer.COAP)
    contacts.note([heard(NODE, HERE, NOW_US - 9), newest, by_coap, heard(OTHER, HERE, NOW_US)], now_us=NOW_US)
    contacts.note([heard(NODE, HERE, NOW_US - 1)], now_us=NOW_US)
    assert list(contacts.of(NODE)) == [newest, by_coap]


def test_a_stranger_leaves_nothing_behind(contacts: ContactBook) -> None:
    assert contacts.note([heard(STRANGER, HERE, NOW_US)], now_us=NOW_US) == 0
    assert contacts.of(STRANGER) == []


def test_a_contact_is_forgotten_after_its_time_and_not_before(contacts: ContactBook) -> None:
    contacts.note([heard(NODE, HERE, NOW_US)], now_us=NOW_US)
    contacts.note([], now_us=NOW_US + CONTACT_KEPT_US)
    assert len(contacts.of(NODE)) == 1
    contacts.note([], now_us=NOW_US + CONTACT_KEPT_US + 1)
    assert contacts.of(NODE) == []


def test_contacts_are_no_change_that_readers_of_the_register_must_hear_of(
    contacts: ContactBook, tmp_path: Path
) -> None:
    with Registry.open(tmp_path / "register.sqlite") as registry:
        before = registry.revision(), registry.audit_log.head().seq
        contacts.note([heard(NODE, HERE, NOW_US)], now_us=NOW_US)
        assert (registry.revision(), registry.audit_log.head().seq) == before


def test_an_address_is_not_in_what_a_log_would_show() -> None:
    assert "2001" not in repr(heard(NODE, HERE, NOW_US))
