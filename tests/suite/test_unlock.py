"""The secret that unlocks the keys: found where it was put, made once, refused where others can read it."""

import stat
import threading
from pathlib import Path

import pytest

from lichtmast.suite.errors import UnlockError
from lichtmast.suite.folder import Folder
from lichtmast.suite.unlock import CREDENTIAL, CREDENTIALS, VARIABLE, unlock_secret


@pytest.fixture(autouse=True)
def no_secret_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv(CREDENTIALS, raising=False)


def private(path: Path, secret: str) -> Path:
    path.write_text(secret)
    path.chmod(0o600)
    return path


def test_it_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    first = unlock_secret(folder)
    assert len(first) >= 48
    assert unlock_secret(folder) == first
    assert stat.S_IMODE(folder.unlock.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["unlock"]


def test_programs_that_begin_at_once_agree_on_one(tmp_path: Path) -> None:
    seen: list[bytes] = []
    gate = threading.Barrier(8)

    def begin() -> None:
        gate.wait()
        seen.append(unlock_secret(Folder(tmp_path)))

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(seen) == 8
    assert len(set(seen)) == 1


def test_a_named_file_wins_over_the_credential_and_that_over_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path)
    private(folder.unlock, "f" * 40)
    private(tmp_path / CREDENTIAL, "c" * 40)
    assert unlock_secret(folder) == b"f" * 40
    monkeypatch.setenv(CREDENTIALS, str(tmp_path))
    assert unlock_secret(folder) == b"c" * 40
    monkeypatch.setenv(VARIABLE, str(private(tmp_path / "named", "n" * 40 + "\n")))
    assert unlock_secret(folder) == b"n" * 40


def test_a_file_that_others_can_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    private(folder.unlock, "f" * 40).chmod(0o640)
    with pytest.raises(UnlockError, match="chmod 600"):
        unlock_secret(folder)


@pytest.mark.parametrize("secret", ["", "short", "x" * 5000])
def test_a_secret_of_a_wrong_length_is_refused(tmp_path: Path, secret: str) -> None:
    folder = Folder(tmp_path)
    private(folder.unlock, secret)
    with pytest.raises(UnlockError, match=r"holds \d+ bytes"):
        unlock_secret(folder)


def test_a_named_file_that_is_not_there_is_told_and_none_is_made_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(UnlockError, match="cannot be read"):
        unlock_secret(Folder(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_credential_may_show_the_mask_of_its_access_control_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CREDENTIALS, str(tmp_path))
    private(tmp_path / CREDENTIAL, "c" * 40).chmod(0o440)
    assert unlock_secret(Folder(tmp_path)) == b"c" * 40
    (tmp_path / CREDENTIAL).chmod(0o444)
    with pytest.raises(UnlockError, match="by others"):
        unlock_secret(Folder(tmp_path))


def test_where_keys_are_locked_already_no_other_secret_is_made(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.authority.mkdir()
    with pytest.raises(UnlockError, match=VARIABLE):
        unlock_secret(folder)
    assert not folder.unlock.exists()
