"""A broker never outlives the program that started it, whenever that program dies."""

import subprocess
import sys
from pathlib import Path

import pytest

from lichtmast.ingest import leash

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")

WORD = "import sys; print('up', flush=True); sys.stdin.read()"


def test_the_program_ends_when_its_parent_is_killed() -> None:
    """The parent starts the leashed program, which says so through the pipe that both hold, and is killed."""
    command = [sys.executable, "-I", "-S", leash.__file__]
    starter = (
        f"import os, subprocess; subprocess.run([*{command!r}, str(os.getpid()), {sys.executable!r}, '-c', {WORD!r}])"
    )
    parent = subprocess.Popen([sys.executable, "-c", starter], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdin is not None
    assert parent.stdout is not None
    with parent.stdin, parent.stdout:
        assert parent.stdout.readline() == b"up\n"
        parent.kill()
        parent.wait()
        assert parent.stdout.read() == b"", "the program still holds its end of the pipe"


def test_the_program_is_not_started_when_its_parent_died_before_it_could_ask(tmp_path: Path) -> None:
    """As when the parent is killed while Python starts: by then somebody else is the parent."""
    told = tmp_path / "started"
    died = subprocess.Popen([sys.executable, "-c", ""])
    died.wait()
    done = subprocess.run(
        [sys.executable, "-I", "-S", leash.__file__, str(died.pid), "touch", str(told)], check=False, timeout=30
    )
    assert done.returncode == 1
    assert not told.exists()
