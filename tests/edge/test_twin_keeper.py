"""F19: a small file is the old one or the new one, whatever happens to it between (faults.md)."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lichtmast.edge.twin.errors import KeepError
from lichtmast.edge.twin.keeper import Keeper, Kept
from lichtmast.edge.twin.limits import FILE_BYTES_MAX
from lichtmast.wire.faultpoint import EXIT_CODE, FaultInjectedError, arm, disarm

OLD, NEW = b'{"version": 1}', b'{"version": 2, "interval_s": 30}'


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper(tmp_path / "configuration")


@pytest.fixture
def armed() -> Iterator[None]:
    yield
    disarm()


def test_what_was_stored_is_loaded_and_nothing_lies_beside_it(keeper: Keeper) -> None:
    assert keeper.load() == Kept()
    for content in (OLD, NEW, b""):
        keeper.store(content)
        assert keeper.load() == Kept(content)
    assert [one.name for one in keeper.path.parent.iterdir()] == ["configuration"]


@pytest.mark.slow
def test_a_file_cut_at_any_byte_is_noticed(keeper: Keeper) -> None:
    keeper.store(NEW)
    whole = keeper.path.read_bytes()
    for length in range(len(whole)):
        keeper.path.write_bytes(whole[:length])
        assert keeper.load() == Kept(damage="configuration is cut or altered"), length


@pytest.mark.slow
def test_a_file_with_any_bit_turned_is_noticed(keeper: Keeper) -> None:
    keeper.store(NEW)
    whole = keeper.path.read_bytes()
    for index in range(len(whole)):
        for bit in range(8):
            keeper.path.write_bytes(whole[:index] + bytes([whole[index] ^ 1 << bit]) + whole[index + 1 :])
            assert keeper.load().damage, (index, bit)


@pytest.mark.parametrize("garbage", [b"", b"\n", b"{}", b"\0" * 4096, os.urandom(200), b"x" * (FILE_BYTES_MAX + 1)])
def test_a_file_of_garbage_is_noticed(keeper: Keeper, garbage: bytes) -> None:
    keeper.path.write_bytes(garbage)
    assert keeper.load().damage


def test_a_folder_in_its_place_is_damage_and_no_error(keeper: Keeper) -> None:
    keeper.path.mkdir()
    assert keeper.load().damage == "configuration cannot be read: Is a directory"
    with pytest.raises(KeepError, match="cannot be written: Is a directory"):
        keeper.store(NEW)


def test_a_folder_that_is_gone_is_told(keeper: Keeper) -> None:
    lost = Keeper(keeper.path / "deeper" / "configuration")
    with pytest.raises(KeepError, match="No such file or directory; free the disk or mount it writable"):
        lost.store(NEW)


@pytest.mark.usefixtures("armed")
@pytest.mark.parametrize(("point", "left"), [("edge.config_written", OLD), ("edge.config_renamed", NEW)])
def test_a_program_that_fails_between_write_and_rename_leaves_old_or_new(
    keeper: Keeper, point: str, left: bytes
) -> None:
    keeper.store(OLD)
    arm({point: "raise@1"}, leave=os._exit, sleep=lambda _: None)
    with pytest.raises(FaultInjectedError):
        keeper.store(NEW)
    disarm()
    assert keeper.load() == Kept(left)
    keeper.store(OLD)
    assert keeper.load() == Kept(OLD), "what was left beside must not be in the way"


def test_the_new_file_is_synced_before_it_gets_the_name_and_the_folder_after(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        steps.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def renamed(source: Path, target: Path) -> Path:
        steps.append(f"rename {source.name} {target.name}")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    keeper.store(NEW)
    folder = keeper.path.parent.name
    assert steps == ["sync configuration.new", "rename configuration.new configuration", f"sync {folder}"]


STORING = """
import os, sys
from pathlib import Path
from lichtmast.edge.twin.keeper import Keeper
from lichtmast.wire.faultpoint import arm
arm({sys.argv[2]: "exit@1"}, leave=os._exit, sleep=lambda _: None)
Keeper(Path(sys.argv[1])).store(sys.argv[3].encode())
"""


@pytest.mark.slow
@pytest.mark.parametrize(("point", "left"), [("edge.config_written", OLD), ("edge.config_renamed", NEW)])
def test_a_process_that_dies_between_write_and_rename_leaves_old_or_new(
    keeper: Keeper, point: str, left: bytes
) -> None:
    keeper.store(OLD)
    died = subprocess.run(
        [sys.executable, "-c", STORING, str(keeper.path), point, NEW.decode()], timeout=60, check=False
    )
    assert died.returncode == EXIT_CODE, "the fault did not bite"
    assert keeper.load() == Kept(left)
