"""The key and the certificate on the disk: made once, for nobody else, old or new and never half, gone when wiped."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from est_stand import EstStand, Node
from identity_town import IdentityTown

from lichtmast.edge.identity import Certificate, IdentityFolder, KeyFileError
from lichtmast.edge.identity.exchange import perform
from lichtmast.edge.identity.keys import load_key, make_key
from lichtmast.edge.identity.schedule import Result
from lichtmast.edge.identity.wiping import WipeError, wipe
from lichtmast.wire import DeviceId
from lichtmast.wire.faultpoint import EXIT_CODE

DEVICE = DeviceId("gm0402", "lamp-0001")
OLD, NEW = Certificate("1", 1, 2), Certificate("2", 3, 4)
PEM = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def made(folder: Path) -> IdentityFolder:
    identity = IdentityFolder(folder)
    identity.make()
    return identity


def test_a_key_is_for_its_owner_alone_and_in_a_folder_for_its_owner_alone(tmp_path: Path) -> None:
    identity = made(tmp_path / "state")
    before = os.umask(0)
    try:
        make_key(identity.key)
    finally:
        os.umask(before)
    assert identity.key.stat().st_mode & 0o777 == 0o600
    assert identity.path.stat().st_mode & 0o777 == 0o700
    assert [one.name for one in identity.path.iterdir()] == ["key.pem"]


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    identity = made(tmp_path)
    key = make_key(identity.key)
    with pytest.raises(KeyFileError, match="a key is made once"):
        make_key(identity.key)
    assert load_key(identity.key).pin == key.pin


def test_a_thousand_keys_are_a_thousand_keys(tmp_path: Path) -> None:
    pins = set()
    for _ in range(1000):
        pins.add(make_key(tmp_path / "key.pem").pin)
        (tmp_path / "key.pem").unlink()
    assert len(pins) == 1000


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o777])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    make_key(tmp_path / "key.pem")
    (tmp_path / "key.pem").chmod(mode)
    with pytest.raises(KeyFileError, match="can be read by others"):
        load_key(tmp_path / "key.pem")


def test_a_credential_of_systemd_is_taken_and_a_link_is_not(tmp_path: Path) -> None:
    make_key(tmp_path / "credential")
    (tmp_path / "credential").chmod(0o400)
    identity = IdentityFolder(tmp_path / "state", tmp_path / "credential")
    assert load_key(identity.key).pin
    (tmp_path / "link").symlink_to(tmp_path / "credential")
    with pytest.raises(KeyFileError, match="cannot be read"):
        load_key(tmp_path / "link")


def test_what_is_no_p256_key_is_refused_without_quoting_it(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    make_key(path)
    whole = path.read_bytes()
    foreign = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for raw in (b"", b"nonsense", whole[:-40], whole[:100], foreign):
        path.write_bytes(raw)
        with pytest.raises(KeyFileError, match="holds no P-256 key") as caught:
            load_key(path)
        assert not any(line in str(caught.value) for line in raw.decode().splitlines()[1:2])
    assert repr(load_whole(path, whole)) == "DeviceKey(***)"


def load_whole(path: Path, whole: bytes) -> object:
    path.write_bytes(whole)
    return load_key(path)


def test_a_file_cut_anywhere_leaves_the_certificate_before(tmp_path: Path) -> None:
    identity = made(tmp_path)
    identity.keep_certificate(OLD, PEM)
    identity.keep_certificate(NEW, PEM)
    file = identity.path / "certificate.pem"
    whole = file.read_bytes()
    for size in range(len(whole)):
        file.write_bytes(whole[:size])
        kept = identity.load()
        assert kept.certificate == OLD
        assert kept.certificate_file.name == "certificate.previous.pem"
        assert "cut or altered" in kept.damage
    file.write_bytes(whole)
    assert identity.load().certificate == NEW


def test_a_flipped_bit_anywhere_is_noticed(tmp_path: Path) -> None:
    identity = made(tmp_path)
    identity.keep_certificate(OLD, PEM)
    file = identity.path / "certificate.pem"
    whole = file.read_bytes()
    for at in range(len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert identity.load().certificate is None, at


def test_with_both_files_gone_it_asks_again_and_gets_what_it_had(tmp_path: Path) -> None:
    town = IdentityTown(tmp_path / "town")
    node = Node(tmp_path / "state", town, DEVICE)
    with EstStand(town, DEVICE).running() as stand:
        perform(node.order(stand))
        for one in node.folder.path.glob("*.pem"):
            if one != node.folder.key:
                one.write_bytes(b"")
        assert node.folder.load().certificate is None
        assert perform(node.order(stand)).result is Result.DONE
        assert node.folder.load().certificate is not None


KILLED = """
import os, sys
from pathlib import Path
from lichtmast.wire.faultpoint import arm
from lichtmast.edge.identity import Certificate, IdentityFolder
arm({sys.argv[2]: sys.argv[3]}, leave=os._exit, sleep=lambda _: None)
IdentityFolder(Path(sys.argv[1])).keep_certificate(Certificate("2", 3, 4), b"new")
"""


@pytest.mark.slow
@pytest.mark.parametrize("point", ["edge.config_written", "edge.config_renamed"])
@pytest.mark.parametrize("which", [1, 2])
def test_killed_while_it_is_kept_there_is_the_old_certificate_or_the_new(
    tmp_path: Path, point: str, which: int
) -> None:
    identity = made(tmp_path)
    identity.keep_certificate(OLD, PEM)
    words = [sys.executable, "-c", KILLED, str(tmp_path), point, f"exit@{which}"]
    assert subprocess.run(words, check=False, timeout=30).returncode == EXIT_CODE
    kept = identity.load()
    assert kept.damage == ""
    assert kept.certificate == (NEW if (point, which) == ("edge.config_renamed", 2) else OLD)


CUT = """
import os, sys
from pathlib import Path
from lichtmast.edge.identity.keys import make_key
wanted, passed = int(sys.argv[2]), 0
def dies(call):
    def instead(*words, **named):
        global passed
        passed += 1
        if passed == wanted:
            os._exit(70)
        return call(*words, **named)
    return instead
for name in ("open", "fsync", "link", "unlink"):
    setattr(os, name, dies(getattr(os, name)))
make_key(Path(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("step", range(1, 8))
def test_killed_at_any_step_of_making_a_key_there_is_a_whole_key_or_none(tmp_path: Path, step: int) -> None:
    path = tmp_path / "key.pem"
    words = [sys.executable, "-c", CUT, str(path), str(step)]
    assert subprocess.run(words, check=False, timeout=30).returncode == 70
    if path.exists():
        assert load_key(path).pin
    else:
        assert make_key(path).pin
    assert path.stat().st_mode & 0o777 == 0o600


# Wiping.


def test_wiping_overwrites_before_it_deletes_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, settings = tmp_path / "state", tmp_path / "agent.toml"
    identity = made(state)
    make_key(identity.key)
    (state / "outbox.sqlite").write_bytes(b"readings" * 10_000)
    (state / "empty").mkdir()
    settings.write_text("secret")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("not ours")
    (state / "link").symlink_to(elsewhere)
    gone: dict[str, bytes] = {}
    unlink = Path.unlink

    def watched(path: Path, missing_ok: bool = False) -> None:  # noqa: FBT001, FBT002 - pathlib's own
        if not path.is_symlink():
            gone[path.name] = path.read_bytes()
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    wiped = wipe(state, [settings])
    assert wiped[0].name == "key.pem"
    assert set(gone) == {"key.pem", "outbox.sqlite", "agent.toml"}
    assert all(set(content) == {0} for content in gone.values())
    assert len(gone["outbox.sqlite"]) == 80_000
    assert not state.exists()
    assert elsewhere.read_text() == "not ours"


def test_what_cannot_be_wiped_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/outbox").write_bytes(b"x")

    def refuse(_: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(WipeError, match="outbox cannot be wiped: Operation not permitted"):
        wipe(tmp_path / "state")


# The commands.

SETTINGS = """
[device]
tenant = "gm0402"
name = "lamp-0001"
profile = "noise"
state = "state"
{more}
[[driver]]
name = "ear"
kind = "simulated"
[driver.channel.level]
shape = "constant"
unit = "dB"
value = 50
[[driver.reading]]
channel = "level"
suffix = "/noise/0/level"
"""


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    edge = [sys.executable, "-m", "lichtmast.edge", *words, "--settings", str(folder / "agent.toml")]
    return subprocess.run(edge, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
def test_the_commands_make_a_key_show_it_and_wipe_it_and_never_print_it(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(SETTINGS.format(more='[uplink.mqtt]\nhost = "2001:db8::1"'))
    refused = command(tmp_path, "check")
    assert refused.returncode == 2
    assert "[identity] label is missing" in refused.stderr
    new = command(tmp_path, "identity", "new")
    assert new.returncode == 0, new.stderr
    assert "BEGIN PUBLIC KEY" in new.stdout
    again = command(tmp_path, "identity", "new")
    assert (again.returncode, "a key is made once" in again.stderr) == (1, True)
    shown = json.loads(command(tmp_path, "identity", "show", "--json").stdout)
    key = load_key(tmp_path / "state/identity/key.pem")
    assert shown["public_key"] == key.public_pem == command(tmp_path, "identity", "label-key").stdout
    secret = (tmp_path / "state/identity/key.pem").read_text().splitlines()[1]
    town = IdentityTown(tmp_path / "town")
    label = Node(tmp_path / "other", town, DEVICE).label
    (tmp_path / "agent.toml").write_text(SETTINGS.format(more=f'[identity]\nlabel = "{label.text}"'))
    checked = command(tmp_path, "selftest", "--json")
    (verdict,) = [one for one in json.loads(checked.stdout)["checks"] if one["name"] == "key"]
    assert (verdict["verdict"], "and the label" in verdict["told"]) == ("FAIL", True)
    refused = command(tmp_path, "wipe")
    assert (refused.returncode, "say --yes" in refused.stderr) == (2, True)
    assert (tmp_path / "state/identity/key.pem").exists()
    wiped = command(tmp_path, "wipe", "--yes")
    assert wiped.returncode == 0, wiped.stderr
    assert not (tmp_path / "state").exists()
    assert not (tmp_path / "agent.toml").exists()
    assert not any(secret in one.stdout + one.stderr for one in (new, again, checked, refused, wiped))
