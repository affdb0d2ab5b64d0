"""tests/conftest.py: in CI a test that did not run has not passed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import pytest

def test_that_runs():
    pass

def test_that_skips_itself():
    pytest.skip("no coffee here")

@pytest.mark.skip(reason="marked")
def test_that_is_marked():
    pass

@pytest.mark.xfail(strict=True)
def test_that_is_known_to_fail():
    raise AssertionError
"""
MODULE = "import pytest\npytest.importorskip('no_such_module')\n"


def outcome(root: Path, folder: Path, suite: str, **environment: str) -> tuple[int, str]:
    (folder / "conftest.py").write_text((root / "tests/conftest.py").read_text())
    (folder / "test_suite.py").write_text(suite)
    kept = {name: value for name, value in os.environ.items() if name not in {"CI", "LICHTMAST_NO_SKIP"}}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)],
        env=kept | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{"CI": "true"}, {"LICHTMAST_NO_SKIP": "1"}])
def test_a_skipped_test_fails_in_ci(root: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    status, output = outcome(root, tmp_path, SUITE, **environment)
    assert status == 1
    assert "1 failed, 1 passed, 1 xfailed, 1 error" in output  # a mark skips in set-up, and that is an error
    assert "no coffee here" in output
    assert "A skipped test is a failure here" in output


@pytest.mark.slow
def test_a_skipped_module_fails_in_ci(root: Path, tmp_path: Path) -> None:
    status, output = outcome(root, tmp_path, MODULE, CI="true")
    assert status == 2
    assert "no_such_module" in output


@pytest.mark.slow
def test_a_skipped_test_is_only_a_skip_at_home(root: Path, tmp_path: Path) -> None:
    status, output = outcome(root, tmp_path, SUITE)
    assert status == 0
    assert "1 passed, 2 skipped, 1 xfailed" in output
