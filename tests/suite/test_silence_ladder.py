"""The ladder as rules: each rung's fault gives its sentence and a step, and the first from the top is the answer."""

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest

from lichtmast.api.v1.refusals import SeenRefusal
from lichtmast.registry import DeviceStatus
from lichtmast.registry.alerts.conditions import GroupKind
from lichtmast.registry.contacts import Bearer, Contact
from lichtmast.suite.errors import SuiteError
from lichtmast.suite.silence import SilenceSettings, read_silence
from lichtmast.suite.silence.contacts import read_contacts
from lichtmast.suite.silence.facts import (
    SECOND_US,
    Certificate,
    Facts,
    Group,
    Name,
    Ours,
    Quarantined,
    Reach,
    Speech,
)
from lichtmast.suite.silence.finding import Rung, State
from lichtmast.suite.silence.ladder import climb, verdict
from lichtmast.suite.silence.probes import may_be_asked
from lichtmast.wire import DeviceId
from lichtmast.wire.quality import Quality

NODE = DeviceId("gm0402", "lm-1")
FEEDER, AROUND = GroupKind.FEEDER, GroupKind.NEIGHBOURHOOD
NOW_US = 1_800_000_000 * SECOND_US
HOUR_US, DAY_US = 3_600 * SECOND_US, 86_400 * SECOND_US
HEARD = Contact(NODE, Bearer.COAP, IPv6Address("2001:db8:10::7"), NOW_US - HOUR_US)
QUIET = Facts(
    NOW_US,
    status=DeviceStatus.ACTIVE,
    certificate=Certificate(NOW_US - 30 * DAY_US, NOW_US + 60 * DAY_US, is_revoked=False),
    speech=Speech(NOW_US - HOUR_US, 60.0),
    contact=HEARD,
    plan=(IPv6Network("2001:db8:10::/48"),),
    groups=(Group(FEEDER, "F12", 10, 1), Group(AROUND, "5811x351", 10, 1)),
    name=Name("lm-1.gm0402.nodes.example.nl", resolves=True),
    echo=Reach.ANSWERED,
    coap=Reach.ANSWERED,
)
"""A device that is quiet for no reason that the ladder knows."""


def answer(facts: Facts) -> tuple[Rung | None, str]:
    told = verdict(climb(facts), facts)
    assert all((told.sentence.nl, told.step.nl, told.step.en))
    return told.rung, told.sentence.en


FAULTS: list[tuple[dict[str, Any], Rung, str]] = [
    ({"ours": Ours(broker_answers=False)}, Rung.OURS, "The broker of this server does not answer."),
    ({"ours": Ours(lag=None)}, Rung.OURS, "The log of this server does not answer."),
    ({"ours": Ours(lag=10_001)}, Rung.OURS, "This server is behind: 10001 messages"),
    ({"ours": Ours(mqtt_listens=False)}, Rung.OURS, "The MQTT door of this server is shut."),
    ({"ours": Ours(coap_listens=False)}, Rung.OURS, "The CoAP door of this server is shut."),
    ({"status": None}, Rung.REGISTER, "It is not in the register."),
    ({"status": DeviceStatus.REGISTERED}, Rung.REGISTER, "Nobody has claimed it yet."),
    ({"status": DeviceStatus.CLAIMED}, Rung.REGISTER, "It is claimed, but never fetched a certificate."),
    ({"status": DeviceStatus.SUSPENDED}, Rung.REGISTER, "It is suspended"),
    ({"status": DeviceStatus.RETIRED}, Rung.REGISTER, "It is retired"),
    ({"certificate": None}, Rung.CERTIFICATE, "It has no certificate."),
    (
        {"certificate": Certificate(0, NOW_US + DAY_US, is_revoked=True)},
        Rung.CERTIFICATE,
        "Its certificate is revoked.",
    ),
    ({"certificate": Certificate(0, NOW_US, is_revoked=False)}, Rung.CERTIFICATE, "Its certificate ended just now."),
    (
        {"refusals": (SeenRefusal("mqtt", "client_id_mismatch", 7, NOW_US - 5 * 60 * SECOND_US),)},
        Rung.REFUSED,
        "The mqtt door turns it away: client_id_mismatch, 7 times, last 5 min ago.",
    ),
    (
        {"quarantined": (Quarantined("wrong_unit", 3, NOW_US - 30 * 60 * SECOND_US),)},
        Rung.QUARANTINE,
        "It speaks, but its packs go to quarantine: wrong_unit, 3 of them, last 30 min ago.",
    ),
    (
        {"speech": Speech(NOW_US, 60.0, Quality.TIME_IN_FUTURE, -86_400.0)},
        Rung.CLOCK,
        "Its clock is wrong: its last readings came 86400 s ahead.",
    ),
    (
        {"speech": Speech(NOW_US - HOUR_US, 60.0, Quality.CLOCK_SUSPECT, 600.0)},
        Rung.CLOCK,
        "Its clock is wrong: its last readings came 600 s behind.",
    ),
    (
        {"groups": (Group(AROUND, "5811x351", 10, 10), Group(FEEDER, "F12", 10, 8))},
        Rung.NEIGHBOURS,
        "It is not the device: 8 of 10 others of feeder F12 are quiet too.",
    ),
    (
        {"groups": (Group(AROUND, "5811x351", 3, 3), Group(FEEDER, "F12", 2, 2))},
        Rung.NEIGHBOURS,
        "It is not the device: 3 of 3 others of its neighbourhood are quiet too.",
    ),
    ({"is_connected": True}, Rung.SESSION, "It is connected over MQTT at this moment, and sends no readings."),
    ({"name": Name("lm-1.example", resolves=False)}, Rung.NAME, "Its name lm-1.example has no AAAA record."),
    ({"plan": (IPv6Network("2001:db8:11::/48"),)}, Rung.PLAN, "Its last address is outside the prefixes"),
    ({"echo": Reach.SILENT, "coap": Reach.SILENT}, Rung.ECHO, "It does not answer at its last address"),
    ({"echo": Reach.UNREACHABLE, "coap": Reach.UNREACHABLE}, Rung.ECHO, "It does not answer at its last address"),
    ({"coap": Reach.SILENT}, Rung.COAP, "It is there, but CoAP does not pass to it."),
    ({"coap": Reach.PROHIBITED, "echo": Reach.PROHIBITED}, Rung.COAP, "It is there, but CoAP does not pass to it."),
]


@pytest.mark.parametrize(("fault", "rung", "sentence"), FAULTS, ids=[f"{rung}: {words}" for _, rung, words in FAULTS])
def test_each_fault_is_answered_by_its_rung(fault: dict[str, Any], rung: Rung, sentence: str) -> None:
    found, told = answer(replace(QUIET, **fault))
    assert found is rung
    assert told.startswith(sentence)


def test_every_rung_that_can_be_bad_is_in_the_table() -> None:
    assert {rung for _, rung, _ in FAULTS} == set(Rung) - {Rung.SPEECH}


def test_of_two_faults_the_one_further_up_is_the_answer() -> None:
    for (lower, below, _), (upper, above, _) in zip(reversed(FAULTS), FAULTS, strict=True):
        ladder = list(Rung)
        if ladder.index(above) < ladder.index(below):
            assert answer(replace(QUIET, **(lower | upper)))[0] is above


def test_a_silence_that_nothing_explains_sends_an_engineer_and_says_so() -> None:
    assert answer(QUIET) == (None, "It is quiet, and no rung of the ladder explains it.")
    assert answer(replace(QUIET, speech=None, contact=None))[1].startswith("It has never been heard")


@pytest.mark.parametrize(
    "harmless",
    [
        {"refusals": (SeenRefusal("mqtt", "expired", 7, NOW_US - 2 * HOUR_US),)},
        {"quarantined": (Quarantined("wrong_unit", 3, NOW_US - 2 * HOUR_US),)},
        {"certificate": None, "is_secure": False},
        {"groups": (Group(FEEDER, "F12", 2, 2),)},
        {"groups": (Group(FEEDER, "F12", 10, 7),)},
        {"name": Name("lm-1.example", resolves=None)},
        {"echo": Reach.SILENT},
        {"echo": Reach.NOT_TRIED, "coap": Reach.NOT_TRIED},
        {"coap": Reach.SILENT, "contact": replace(HEARD, bearer=Bearer.MQTT)},
        {"coap": Reach.REFUSED},
    ],
    ids=str,
)
def test_what_proves_nothing_is_not_blamed(harmless: dict[str, Any]) -> None:
    assert answer(replace(QUIET, **harmless))[0] is None


def test_a_device_that_speaks_is_told_so_whatever_the_network_below_does() -> None:
    speaks = replace(QUIET, speech=Speech(NOW_US - 170 * SECOND_US, 60.0), echo=Reach.SILENT, coap=Reach.SILENT)
    assert answer(speaks) == (None, "It is not quiet: its last reading came 2 min ago.")
    assert answer(replace(speaks, speech=Speech(NOW_US - 181 * SECOND_US, 60.0)))[0] is Rung.ECHO


def test_a_certificate_that_should_have_been_renewed_is_told_and_not_blamed() -> None:
    late = replace(QUIET, certificate=Certificate(NOW_US - 90 * DAY_US, NOW_US + 2 * DAY_US, is_revoked=False))
    told = next(one for one in climb(late) if one.rung is Rung.CERTIFICATE)
    assert (told.state, told.text.en) == (State.UNKNOWN, "Its certificate ends in 48 h and it has not renewed it.")


def test_only_an_address_of_one_host_somewhere_is_asked() -> None:
    asked = {text: may_be_asked(IPv6Address(text)) for text in ("2001:db8::7", "::1", "ff02::fd", "fe80::7", "::")}
    assert [text for text, is_asked in asked.items() if is_asked] == ["2001:db8::7"]


def test_connections_of_others_are_no_contacts() -> None:
    listed = (
        b'{"data":{"connections":[{"cid":1},{"mqtt_client":"x","ip":"::1"},{"mqtt_client":"%s","ip":"2001:db8::7"}]}}'
    )
    (found,) = read_contacts(listed % NODE.urn.encode(), NOW_US)
    assert (found.device, str(found.address), found.heard_us) == (NODE, "2001:db8::7", NOW_US)


def test_the_file_names_the_plan_and_the_domain_and_nothing_else(tmp_path: Path) -> None:
    assert read_silence(tmp_path) == SilenceSettings()
    file = tmp_path / "silence.toml"
    file.write_text('device_prefixes = ["2001:db8:10::/48"]\ndevice_domain = "nodes.example.nl"\n')
    settings = read_silence(tmp_path)
    assert settings.device_prefixes == QUIET.plan
    assert settings.name_of(NODE) == "lm-1.gm0402.nodes.example.nl"
    for wrong in ('prefixes = ["::/0"]', 'device_prefixes = ["2001:db8::1/48"]', 'device_domain = "A b"', "device_"):
        file.write_text(wrong)
        with pytest.raises(SuiteError, match=r"silence\.toml"):
            read_silence(tmp_path)
