"""Keys at rest."""

import hashlib
import os
import stat
from pathlib import Path

import pytest
from authority_parts import SECRET, p256, rsa_key
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from lichtmast.registry.pki import KeyDamagedError, KeyMissingError, VaultError, WrongSecretError
from lichtmast.registry.pki.vault import Vault, write_whole


def test_a_key_comes_back_and_another_secret_a_flipped_bit_and_nothing_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    with pytest.raises(KeyMissingError):
        Vault(SECRET).read_key(path)
    Vault(SECRET).write_key(path, p256())
    assert Vault(SECRET).read_key(path).private_numbers() == p256().private_numbers()
    with pytest.raises(WrongSecretError):
        Vault(SECRET + b"!").read_key(path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(KeyDamagedError):
            Vault(SECRET).read_key(path)


def test_a_key_that_was_never_ours_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    for pem in (
        p256().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        rsa_key(2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(SECRET)),
    ):
        path.write_bytes(b"sha256 " + hashlib.sha256(pem).hexdigest().encode() + b"\n" + pem)
        with pytest.raises(KeyDamagedError):
            Vault(SECRET).read_key(path)


def test_a_file_that_cannot_be_read_or_is_too_large_is_said(tmp_path: Path) -> None:
    with pytest.raises(VaultError, match="directory"):
        Vault(SECRET).read_key(tmp_path)
    (tmp_path / "large").write_bytes(b"x" * 65_537)
    with pytest.raises(KeyDamagedError, match="larger"):
        Vault(SECRET).read_key(tmp_path / "large")


def test_a_file_is_replaced_as_a_whole_whatever_a_power_cut_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    (tmp_path / "file.draft").write_bytes(b"half")
    write_whole(path, b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_file_is_on_disk_before_it_takes_its_name_and_its_name_before_anything_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, rename = os.fsync, Path.rename

    def synced(handle: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        sync(handle)

    def renamed(path: Path, target: Path) -> Path:
        done.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    write_whole(tmp_path / "file", b"new")
    assert done == ["file", "rename", "folder"]
