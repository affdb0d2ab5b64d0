"""`lichtmast ca`: what it makes and says, on a data folder of its own."""

import json
import stat
from pathlib import Path

import pytest
from authority_parts import openssl, verified
from typer.testing import CliRunner, Result

from lichtmast.registry import Registry
from lichtmast.registry.pki import (
    Authority,
    AuthorityError,
    KeyMissingError,
    RevokedSerial,
    WrongSecretError,
    new_serial,
)
from lichtmast.suite.commands import ca as command
from lichtmast.suite.commands.ca import app
from lichtmast.suite.folder import Folder
from lichtmast.suite.unlock import unlock_secret

pytestmark = pytest.mark.slow  # each command opens the register for its event


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LICHTMAST_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("LICHTMAST_UNLOCK_FILE", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    return tmp_path / "data"


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


def said(*words: str | Path) -> str:
    done = run(*words)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def shown() -> list[tuple[str, bool, bool]]:
    told = json.loads(said("show", "--json"))
    return [(one["role"], one["signs"], one["key_here"]) for one in told["certificates"]]


def test_init_makes_an_authority_that_show_shows(data: Path) -> None:
    assert "Gemeente Voorbeeld" in said("init", "--organisation", "Gemeente Voorbeeld")
    told = json.loads(said("show", "--json"))
    assert (told["organisation"], told["roll_due"]) == ("Gemeente Voorbeeld", [])
    assert shown() == [("root", True, True), ("devices", True, True), ("servers", True, True)]
    table = said("show")
    assert all(one["pin"] in table and one["not_after"][:10] in table for one in told["certificates"])
    assert stat.S_IMODE((data / "authority").stat().st_mode) == 0o700


def test_a_second_init_changes_nothing_and_says_so(data: Path) -> None:
    said("init")
    before = sorted(path.name for path in (data / "authority").iterdir())
    assert isinstance(run("init").exception, AuthorityError)
    assert before == sorted(path.name for path in (data / "authority").iterdir())


def test_without_an_authority_every_command_says_how_to_make_one(data: Path, tmp_path: Path) -> None:
    assert not data.exists()
    for words in (["show"], ["offline", tmp_path / "safe"], ["roll", "devices"], ["server", tmp_path / "a", "::1"]):
        done = run(*words)
        assert isinstance(done.exception, AuthorityError)
        assert "lichtmast ca init" in str(done.exception)


def test_another_unlock_secret_is_told(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said("init")
    assert (data / "unlock").exists()
    other = tmp_path / "other"
    other.write_text("x" * 40)
    other.chmod(0o600)
    monkeypatch.setenv("LICHTMAST_UNLOCK_FILE", str(other))
    assert isinstance(run("show").exception, WrongSecretError)


def test_the_root_goes_offline_and_comes_back_for_a_roll_over(data: Path, tmp_path: Path) -> None:
    said("init")
    assert str(tmp_path / "safe") in said("offline", tmp_path / "safe").replace("\n", "")
    assert shown()[0] == ("root", True, False)
    assert "not here" in said("show")
    assert list((data / "authority").glob("root-*.key")) == []
    assert isinstance(run("roll", "servers").exception, KeyMissingError)
    said("roll", "servers", "--root-key", tmp_path / "safe")
    said("roll", "root", "--root-key", tmp_path / "safe")
    assert [role for role, signs, _ in shown() if signs] == ["root", "devices", "servers"]
    assert len(shown()) == 2 + 2 + 3 + 2


def test_a_stolen_device_authority_is_distrusted_and_no_other(data: Path) -> None:
    said("init")
    assert "0 certificates of the old one are revoked" in " ".join(said("roll", "devices", "--distrust-old").split())
    assert [role for role, _, _ in shown()] == ["root", "devices", "servers"]
    assert run("roll", "root", "--distrust-old").exit_code == 2
    assert isinstance(run("roll", "servers", "--distrust-old").exception, AuthorityError)
    assert data.exists()


def test_an_authority_near_its_end_is_told(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said("init")
    then = Authority.open(data / "authority", unlock_secret(Folder(data))).certificates()[1].not_after_us
    monkeypatch.setattr(command, "now_us", lambda: then - 1)
    assert "lichtmast ca roll devices" in said("show")
    assert json.loads(said("show", "--json"))["roll_due"] == ["devices", "servers"]


@pytest.mark.system
def test_a_server_elsewhere_gets_a_key_and_a_chain_that_openssl_takes(data: Path, tmp_path: Path) -> None:
    said("init")
    said("server", tmp_path / "broker", "2001:db8::1", "broker.example.nl")
    chain, key = tmp_path / "broker.pem", tmp_path / "broker.key"
    (root,) = (data / "authority").glob("root-*.pem")
    assert verified(chain, root, "sslserver", "-untrusted", chain, "-verify_hostname", "broker.example.nl") == "ok"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert openssl("pkey", "-in", key, "-noout").returncode == 0
    before = key.read_bytes()
    again = run("server", tmp_path / "broker", "::1")
    assert again.exit_code == 2
    assert "exists" in again.stderr
    assert key.read_bytes() == before


def test_every_change_is_an_event_of_the_log(data: Path, tmp_path: Path) -> None:
    said("init")
    said("roll", "devices")
    said("server", tmp_path / "broker", "::1")
    said("offline", tmp_path / "safe")
    with Registry.open(Folder(data).registry) as registry:
        assert registry.audit_log.verify().first_bad is None
        events = [one for one in registry.audit_log.read() if one.subject_kind == "authority"]
    assert [(one.action, one.subject) for one in events] == [
        ("authority.made", "root"),
        ("authority.rolled", "devices"),
        ("authority.server_certified", "servers"),
        ("authority.root_offline", "root"),
    ]


@pytest.mark.system
def test_revocation_lists_name_what_the_register_revoked(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said("init")
    assert "0 certificates" in said("crl", tmp_path / "lists.pem")
    serial = new_serial()
    monkeypatch.setattr("lichtmast.registry.identity.IdentityBook.revoked", lambda *_, **__: [RevokedSerial(serial, 1)])
    said("crl", tmp_path / "lists.pem")
    told = openssl("crl", "-in", tmp_path / "lists.pem", "-noout", "-text").stdout.decode()
    assert f"Serial Number: {serial:032X}" in told.replace("0x", "")
    assert data.exists()
