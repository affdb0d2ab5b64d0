"""The settings file: every error names the table, the key and what would be right."""

from pathlib import Path

import pytest

from lichtmast.edge.errors import SettingsError
from lichtmast.edge.preparing import prepare
from lichtmast.edge.settings import Settings, parse_settings, read_settings
from lichtmast.wire import DeviceId
from lichtmast.wire.label import Label

SMALLEST = """
[device]
tenant = "gm0402"
name = "lm-0001"
profile = "air-quality"

[[driver]]
name = "air"
kind = "simulated"
"""


WHOLE = (
    SMALLEST.replace("air-quality", "noise")
    + """
[driver.channel.level]
shape = "constant"
unit = "dB"
value = 50
[[driver.reading]]
channel = "level"
suffix = "/noise/0/level"
"""
)
LABEL = Label(DeviceId("gm0402", "lm-0001"), b"k" * 16, b"r" * 16)


def parsed(more: str = "", text: str = SMALLEST) -> Settings:
    return parse_settings(more + text)


def refusal(more: str, text: str = SMALLEST) -> str:
    with pytest.raises(SettingsError) as caught:
        parse_settings(more + text)
    return str(caught.value)


def test_the_smallest_file_has_a_default_for_everything_else() -> None:
    settings = parsed()
    assert settings.device.id == DeviceId("gm0402", "lm-0001")
    assert settings.device.state == Path("/var/lib/lichtmast-edge/lm-0001")
    assert (settings.report.interval_s, settings.report.content_format) == (60, 110)
    assert (settings.outbox.hours, settings.outbox.bytes_max, settings.outbox.drop) == (168, 64 * 1024 * 1024, "oldest")
    assert (settings.clock.source, settings.clock.servers) == ("kernel", ())
    assert (settings.uplink.order, dict(settings.uplink.endpoints)) == (("mqtt",), {"mqtt": ("::1", 1883)})
    assert (settings.pole, settings.place, settings.reboot_command, settings.rules) == (None, None, (), ())


def test_everything_can_be_set() -> None:
    settings = parsed(
        """
reboot_command = ["/sbin/reboot"]
[report]
interval_s = 900
format = "cbor"
[outbox]
hours = 48.0
bytes = 1048576
drop = "newest"
[clock]
source = "sntp"
servers = ["[2001:db8::1]:1234", "2001:db8::2", "[2001:db8::3]", "time.example.nl:124"]
[uplink]
order = ["coap", "mqtt"]
failover_after_s = 30
return_after_s = 300
spread_s = 600
[uplink.coap]
host = "fe80::1%eth0"
[uplink.mqtt]
host = "broker.example.nl"
port = 8884
[identity]
label = "LABEL"
key = "/run/credentials/lichtmast-edge@lm-0001.service/key"
[enrol]
host = "2001:db8::9"
port = 9444
[pole]
interfaces = ["eth0"]
[place]
latitude = 52.22
longitude = 5.17
""".replace("LABEL", LABEL.text)
    )
    assert (settings.report.interval_s, settings.report.content_format) == (900, 112)
    assert settings.clock.servers == (
        ("2001:db8::1", 1234),
        ("2001:db8::2", 123),
        ("2001:db8::3", 123),
        ("time.example.nl", 124),
    )
    assert dict(settings.uplink.endpoints) == {"coap": ("fe80::1%eth0", 5684), "mqtt": ("broker.example.nl", 8884)}
    assert settings.uplink.tls == {"coap", "mqtt"}
    assert settings.uplink.spread_s == 600
    told = settings.identity
    assert told.label == LABEL
    assert (told.key, told.host, told.port) == (
        Path("/run/credentials/lichtmast-edge@lm-0001.service/key"),
        "2001:db8::9",
        9444,
    )
    assert settings.pole is not None
    assert (settings.pole.interfaces, settings.pole.port) == (("eth0",), 5683)
    assert settings.reboot_command == ("/sbin/reboot",)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("nonsense", "not TOML"),
        ("[report]\ninterval = 60\n", "[report] interval is not a setting; [report] takes format, interval_s"),
        ("[reporting]\n", "reporting is not a setting"),
        ("[report]\ninterval_s = 0\n", "[report] interval_s is 0; give 0.1 to 86400"),
        ("[report]\ninterval_s = true\n", "[report] interval_s is not a number"),
        ("[report]\ninterval_s = nan\n", "[report] interval_s is not a number"),
        ('[report]\nformat = "xml"\n', "[report] format is 'xml'; choose json or cbor"),
        ("[outbox]\nhours = 701\n", "[outbox] hours is 701; give 0.01 to 700"),
        ("[outbox]\nbytes = 1.5\n", "[outbox] bytes is not a whole number"),
        ('[outbox]\ndrop = "all"\n', "[outbox] drop is 'all'; choose oldest or newest"),
        ('[clock]\nsource = "sntp"\n', 'servers belong to source = "sntp"'),
        ('[clock]\nservers = ["::1"]\n', 'servers belong to source = "sntp"'),
        ('[clock]\nsource = "sntp"\nservers = ["[::1]:x"]\n', "has no port after its colon"),
        ('[uplink]\norder = ["mqtt", "mqtt"]\n', "[uplink] order holds a word twice"),
        ("[uplink]\norder = []\n", "[uplink] order is empty"),
        ('[uplink]\norder = ["http"]\n', "[uplink] order holds 'http'; choose of mqtt, coap"),
        ('[uplink.mqtt]\nhost = "2001:db8::1"\ntls = false\n', "nothing leaves this one in plaintext"),
        ('[uplink.mqtt]\nhost = "localhost"\ntls = false\n', "host localhost is another machine"),
        ('[uplink.mqtt]\nhost = "fe80::1%lo"\ntls = false\n', "nothing leaves this one in plaintext"),
        ("[uplink]\nplaintext_beyond_loopback = true\n", "[uplink] plaintext_beyond_loopback is gone"),
        ("[uplink]\nplaintext_beyond_loopback = false\n", "[uplink] plaintext_beyond_loopback is gone"),
        ('[identity]\nlabel = "LM1:GM0402:LM-0001"\n', "[identity] label: this label has 3 parts of 6"),
        ('[identity]\nlabels = "x"\n', "[identity] labels is not a setting; [identity] takes key, label"),
        ('[enrol]\nhost = "https://est.example.nl"\n', "[enrol] host"),
        ("[enrol]\nport = 0\n", "[enrol] port is not a whole number"),
        ('[uplink.mqtt]\nhost = "192' + '.0.2.1"\n', "there is no IPv4 here"),
        ('[uplink.mqtt]\nhost = "2001:db8::g"\n', "is no IPv6 address"),
        ("[uplink.mqtt]\nport = 65536\n", "[uplink.mqtt] port is not a whole number from 1 to 65,535"),
        ('pole = "eth0"\n', "pole is not a table; write [pole]"),
        ("[place]\nlatitude = 52.0\n", "[place] longitude is missing"),
        ("rule = 3\n", "rule is not a list of tables; write [[rule]]"),
    ],
)
def test_what_is_wrong_is_named(more: str, told: str) -> None:
    assert told in refusal(more)


def test_an_unknown_profile_and_a_bad_name_are_refused() -> None:
    assert "[device] profile is 'toaster'" in refusal("", SMALLEST.replace("air-quality", "toaster"))
    assert "[device]" in refusal("", SMALLEST.replace("lm-0001", "LM.1"))


def test_an_agent_without_drivers_is_refused() -> None:
    assert "no [[driver]]" in refusal("", SMALLEST.partition("[[driver]]")[0])


def test_the_file_is_named_in_its_errors(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml cannot be read: No such file"):
        read_settings(tmp_path / "absent.toml")
    path = tmp_path / "agent.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match=r"agent\.toml is not UTF-8"):
        read_settings(path)
    path.write_text("[device]\n")
    with pytest.raises(SettingsError, match=r"agent\.toml: \[device\] tenant is missing"):
        read_settings(path)


def test_a_relative_state_folder_counts_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(SMALLEST.replace('profile = "air-quality"', 'profile = "air-quality"\nstate = "here"'))
    assert read_settings(path).device.state == tmp_path / "here"


def test_what_stays_on_this_machine_is_plaintext_and_what_leaves_it_is_secured() -> None:
    assert parsed().uplink.tls == frozenset()
    assert parsed("[uplink.mqtt]\ntls = true\n").uplink.tls == {"mqtt"}
    beyond = parsed('[uplink]\norder = ["coap", "mqtt"]\n[uplink.coap]\nhost = "2001:db8::1"\n')
    assert beyond.uplink.tls == {"coap"}
    assert dict(beyond.uplink.endpoints) == {"coap": ("2001:db8::1", 5684), "mqtt": ("::1", 1883)}


def test_certificates_come_from_the_server_that_takes_packs_unless_told_otherwise() -> None:
    settings = parsed('[uplink.mqtt]\nhost = "lichtmast.example.nl"\n')
    assert (settings.identity.host, settings.identity.port) == ("lichtmast.example.nl", 9443)


def test_a_label_of_another_device_is_refused() -> None:
    other = Label(DeviceId("gm0402", "lm-0002"), b"k" * 16, b"r" * 16)
    told = refusal(f'[identity]\nlabel = "{other.text}"\n')
    assert told == "[identity] label is that of gm0402/lm-0002, and [device] says gm0402/lm-0001"


def test_a_secured_link_without_a_label_is_readable_for_making_the_key_and_refused_for_running() -> None:
    settings = parsed('[uplink.mqtt]\nhost = "2001:db8::1"\n', WHOLE)
    with pytest.raises(SettingsError, match=r"\[uplink\.mqtt\] is secured, and \[identity\] label is missing"):
        prepare(settings)
    labelled = f'[identity]\nlabel = "{LABEL.text}"\n[uplink.mqtt]\nhost = "2001:db8::1"\n'
    assert prepare(parsed(labelled, WHOLE)).settings.identity.label == LABEL
