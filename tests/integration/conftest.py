"""Every test here talks to a real Lichtmast over ::1; the fixtures of pytest, the machinery in tests/support."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from running_lichtmast import Running

from lichtmast.suite.folder import Folder


@pytest.fixture
def prepared(tmp_path: Path) -> Iterator[Running]:
    """A data folder, nothing running yet; whatever runs at the end is stopped."""
    one = Running(Folder.choose(tmp_path / "data"), tmp_path / "output.log")
    yield one
    if one.process is not None and one.process.poll() is None:
        one.process.kill()
        one.process.wait()


@pytest.fixture
def running(prepared: Running) -> Running:
    """A Lichtmast that runs."""
    prepared.start()
    return prepared
