"""What may start where: off loopback nothing is plaintext, and settings that would weaken that are refused with why."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from lichtmast.suite.__main__ import app
from lichtmast.suite.addresses import api_settings, page_url
from lichtmast.suite.errors import SuiteError
from lichtmast.suite.settings import SecureSettings, Settings


@pytest.mark.parametrize("host", ["2001:db8::1", "::", "fe80::1%lo", "fd00::1"])
def test_off_loopback_nothing_is_plaintext(host: str) -> None:
    with pytest.raises(SuiteError, match="off loopback nothing is plaintext"):
        Settings(host)
    assert Settings(host, secure=SecureSettings(names=("lichtmast.example.nl",))).host == host


def test_every_address_needs_a_name_that_certificates_can_carry() -> None:
    with pytest.raises(SuiteError, match="--name"):
        Settings("::", secure=SecureSettings())
    settings = Settings("::", secure=SecureSettings(names=("lichtmast.example.nl", "2001:db8::1")))
    assert settings.names == ("lichtmast.example.nl", "2001:db8::1")


def test_certificates_name_the_host_without_its_zone_and_each_name_once() -> None:
    assert Settings("fe80::1%lo", secure=SecureSettings(names=("a.example", "fe80::1"))).names == (
        "fe80::1",
        "a.example",
    )


@pytest.mark.parametrize("name", ["192.0.2.1", "10.1", "Lichtmast.example", "a b", "", "-a.example", "x" * 64, "a..b"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(SuiteError, match="--name"):
        SecureSettings(names=(name,))


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="belong together"):
        SecureSettings(page_certificate=tmp_path / "chain.pem")


def test_people_are_sent_to_the_dns_name_because_passkeys_belong_to_names() -> None:
    settings = Settings("2001:db8::1", secure=SecureSettings(names=("lichtmast.example.nl", "other.example.nl")))
    assert page_url(settings, 8443) == "https://lichtmast.example.nl:8443/"
    told = api_settings(settings, 8443)
    assert told.origin == "https://lichtmast.example.nl:8443"
    assert told.allowed_hosts == ("lichtmast.example.nl", "other.example.nl")
    bare = Settings("2001:db8::1", secure=SecureSettings())
    assert page_url(bare, 8443) == "https://[2001:db8::1]:8443/"
    assert api_settings(bare, 8443).public_url is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--name", "lichtmast.example.nl"], "belong to --secure"),
        (["--secure", "--town"], "town has no certificates"),
        (["--host", "2001:db8::1", "--town"], "town has no certificates"),
        (["--secure", "--tls-key", "key.pem"], "belong together"),
        (["--host", "::"], "--name"),
        (["--host", "192.0.2.1"], "not an IPv6"),
    ],
)
def test_the_command_refuses_what_would_weaken_it(tmp_path: Path, words: list[str], told: str) -> None:
    ended = CliRunner().invoke(app, ["up", "--data", str(tmp_path), *words])
    assert ended.exit_code != 0
    assert told in " ".join(f"{ended.output} {ended.exception}".replace("│", " ").split())
    assert not (tmp_path / "registry.sqlite").exists()
