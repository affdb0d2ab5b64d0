"""E-mail through a real mail server: encrypted, signed in, in words, and with no header that a name could add."""

import asyncio
from pathlib import Path

import pytest
from free_ports import free_port
from smtp_server import PASSWORD, USER, certificate_for_loopback, smtp_server

from lichtmast.ingest.notifying import SmtpSecurity, SmtpSettings
from lichtmast.ingest.notifying.mail import mail_of, send_mail
from lichtmast.ingest.notifying.wording import TEXTS, in_words
from lichtmast.registry.notifying import Answer, Channel, ChannelDraft, ChannelKind, Letter
from lichtmast.registry.notifying.records import Notice

NOW_US = 1_795_345_200_000_000  # 2026-11-22T11:00:00Z
PAGE = "https://lichtmast.example.nl/"
FROM = "lichtmast@example.nl"
HOSTILE = "Brink 2\r\nBcc: evil@example.net\r\n\r\n<b>hello</b> {because}"


def notice(number: int = 1, event: str = "raised", **fields: str) -> Notice:
    usual = {
        "severity": "critical",
        "name": "Kerkstraat 12",
        "rule": "Lamp uit",
        "because": "0 W gedurende 30 minuten, en het is donker",
    } | fields
    facts = Notice(number, 40 + number, event, NOW_US, "gm0402", subject="datastream/17", **usual).facts()
    return Notice.from_facts(facts)


def letter(*notices: Notice, language: str = "nl") -> Letter:
    draft = ChannelDraft("gm0402", "on-call", ChannelKind.EMAIL, "lamps@example.nl", language)
    return Letter("5f" * 16, Channel(3, draft, 0), notices or (notice(),))


def plain_settings(port: int) -> SmtpSettings:
    return SmtpSettings("::1", FROM, port, SmtpSecurity.NONE)


def send(settings: SmtpSettings | None, what: Letter | None = None) -> Answer:
    return asyncio.run(send_mail(what or letter(), settings, PAGE, NOW_US))


def test_a_message_says_what_where_why_and_the_next_step() -> None:
    told = in_words(letter(), PAGE)
    assert told.subject == "kritiek: Kerkstraat 12, Lamp uit"
    for part in ("22-11-2026 12:00 CET", "0 W gedurende", f"{PAGE}v1/alerts/41", "`lichtmast alert ack 41`"):
        assert part in told.text
    english = in_words(letter(notice(escalated_from="duty"), notice(2, "cleared"), language="en"), PAGE)
    assert english.subject == "2 notices, 2 of them critical"
    assert "Nobody acknowledged this on channel duty." in english.text
    assert "none, it is over" in in_words(letter(notice(2, "cleared"), language="en"), PAGE).text


def test_both_languages_say_the_same_things() -> None:
    assert TEXTS["nl"].keys() == TEXTS["en"].keys()


def test_no_name_of_others_adds_a_header_or_a_recipient() -> None:
    hostile = letter(notice(name=HOSTILE, rule=HOSTILE, because=HOSTILE))
    with smtp_server() as server:
        assert send(plain_settings(server.port), hostile).accepted
    (mail,) = server.taken
    assert server.recipients == ["lamps@example.nl"]
    assert mail["Bcc"] is None
    assert mail.keys() == list(mail_of(letter(), plain_settings(25), PAGE, NOW_US).keys()) + ["X-Peer"] * (
        "X-Peer" in mail
    )
    assert mail.get_content_type() == "text/plain"
    assert "{because}" in mail.get_content()
    assert "\nBcc" not in mail.get_content()


@pytest.mark.slow
@pytest.mark.parametrize("security", [SmtpSecurity.STARTTLS, SmtpSecurity.TLS])
def test_a_mail_server_is_known_by_its_certificate_before_it_hears_the_password(
    tmp_path: Path, security: SmtpSecurity
) -> None:
    certificate = certificate_for_loopback(tmp_path)
    with smtp_server(certificate, starttls=security is SmtpSecurity.STARTTLS) as server:
        stranger = send(SmtpSettings("::1", FROM, server.port, security, USER, PASSWORD))
        assert not stranger.accepted
        assert "certificate verify failed" in stranger.words
        assert server.signed_in == 0
        wrong = send(SmtpSettings("::1", FROM, server.port, security, USER, "no", certificate))
        assert (wrong.accepted, wrong.final) == (False, False)
        assert "535" in wrong.words
        good = send(SmtpSettings("::1", FROM, server.port, security, USER, PASSWORD, certificate))
        assert good == Answer(accepted=True, words="::1 took the message for lamps@example.nl")
    assert server.starttls_used == [security is SmtpSecurity.STARTTLS]
    assert server.signed_in == 1
    (mail,) = server.taken
    assert mail["Message-ID"] == f"<{'5f' * 16}@example.nl>"
    assert mail["Auto-Submitted"] == "auto-generated"


def test_a_mail_server_without_starttls_hears_nothing() -> None:
    with smtp_server() as server:
        told = send(SmtpSettings("::1", FROM, server.port))
    assert not told.accepted
    assert "STARTTLS" in told.words
    assert server.taken == []


@pytest.mark.parametrize(
    ("recipient", "data", "stays", "words"),
    [
        ("550 5.1.1 no such user", "250 OK", True, "550"),
        ("450 4.2.1 mailbox busy", "250 OK", False, "450"),
        ("", "554 5.7.1 spam", True, "554"),
        ("", "451 4.3.0 try later", False, "451"),
    ],
)
def test_a_no_is_told_in_the_servers_words_and_whether_it_will_stay(
    recipient: str,
    data: str,
    stays: bool,  # noqa: FBT001 - a table
    words: str,
) -> None:
    with smtp_server() as server:
        server.recipient_answer, server.data_answer = recipient, data
        told = send(plain_settings(server.port))
    assert (told.accepted, told.final) == (False, stays)
    assert words in told.words


def test_a_mail_server_that_is_away_or_was_never_named_is_told() -> None:
    away = send(plain_settings(free_port()))
    assert (away.accepted, away.final) == (False, False)
    assert "cannot be reached" in away.words
    unnamed = send(None)
    assert not unnamed.accepted
    assert "notifications.toml" in unnamed.words


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"host": "mail.example.nl", "security": SmtpSecurity.NONE}, "encrypted"),
        ({"sender": "nobody"}, "no e-mail address"),
        ({"sender": "a@b.nl\r\nBcc: c@d.nl"}, "no e-mail address"),
        ({"port": 0}, "port"),
        ({"user": "lichtmast"}, "belong together"),
    ],
)
def test_settings_that_cannot_be_are_told(fields: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        SmtpSettings(**({"host": "::1", "sender": FROM} | fields))  # type: ignore[arg-type] # wrong on purpose
