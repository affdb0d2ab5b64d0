"""What the architecture tests look at: the members of the workspace and the files of the project."""

import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def members() -> list[Path]:
    """Every folder that is a distribution, found by looking and not by a list."""
    found = sorted(path.parent for path in ROOT.glob("*/pyproject.toml"))
    assert found, "no distribution in the workspace"
    return found


@pytest.fixture(scope="session")
def product_modules() -> list[Path]:
    """Every Python module that is shipped."""
    found = sorted(ROOT.glob("*/src/lichtmast/**/*.py"))
    assert found, "no product code found"
    return found


@pytest.fixture(scope="session")
def project_files() -> list[Path]:
    """Every file that belongs to the project: tracked, or new and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    found = sorted({ROOT / name for name in listed.split("\0") if name})
    return [path for path in found if path.is_file()]
