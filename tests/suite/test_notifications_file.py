"""The file that says how notifications leave: read strictly, and the password from a file of its own."""

from ipaddress import IPv6Network
from pathlib import Path

import pytest

from lichtmast.ingest.notifying import SmtpSecurity
from lichtmast.suite.errors import SuiteError
from lichtmast.suite.notifications_file import NAME, read_notifications

PAGE = "https://lichtmast.example.nl/"
SOUND = """
oin = "00000001234567890000"
allow_networks = ["2001:db8:7::/48"]
[smtp]
host = "mail.example.nl"
from = "lichtmast@example.nl"
user = "lichtmast"
password_file = "mail-password"
"""


def written(folder: Path, text: str) -> Path:
    (folder / "mail-password").write_text("open sesame\n")
    (folder / NAME).write_text(text)
    return folder


def test_a_sound_file_gives_everything_and_the_password_stays_out_of_its_repr(tmp_path: Path) -> None:
    read = read_notifications(written(tmp_path, SOUND), PAGE)
    assert read.smtp is not None
    assert (read.smtp.host, read.smtp.port, read.smtp.security) == ("mail.example.nl", 587, SmtpSecurity.STARTTLS)
    assert read.smtp.password == "open sesame"  # noqa: S105 - of this test
    assert (read.source, read.allow_networks) == (
        "urn:nld:oin:00000001234567890000:systeem:lichtmast",
        (IPv6Network("2001:db8:7::/48"),),
    )
    assert "sesame" not in repr(read)


def test_without_a_file_there_is_no_mail_server_and_webhooks_lead_to_the_internet_alone(tmp_path: Path) -> None:
    read = read_notifications(tmp_path, PAGE)
    assert (read.smtp, read.allow_networks, read.source) == (None, (), PAGE)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('host = "mail.example.nl"', ""), "host is missing"),
        (('from = "lichtmast@example.nl"', 'from = "lichtmast"'), "no e-mail address"),
        (("[smtp]", '[smtp]\nsecurity = "none"'), "encrypted"),
        (("[smtp]", '[smtp]\nsecurity = "ssl"'), "ssl"),
        (("[smtp]", '[smtp]\npassword = "open"'), "unknown: password"),
        (("[smtp]", '[smtp]\nport = "587"'), "port is no number"),
        (("[smtp]", "[smtp"), NAME),
        (('"mail-password"', '"gone"'), "cannot be read"),
        (('user = "lichtmast"', ""), "belong together"),
        (("/48", "/24"), "host bits"),
        (('["2001:db8:7::/48"]', '"2001:db8:7::/48"'), "list of prefixes"),
        (("0000000123", "123"), "20 digits"),
        (("oin", "oini"), "unknown: oini"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    with pytest.raises(SuiteError, match=told):
        read_notifications(written(tmp_path, SOUND.replace(*change)), PAGE)
