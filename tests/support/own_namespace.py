"""A test file as a program in a network namespace of its own, or a skip that says why there is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def run_in_own_namespace(prepare: str, program: str) -> subprocess.CompletedProcess[str]:
    """Run a Python file where nobody else is, after these shell commands; tests/support is importable there."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        pytest.skip("needs unshare (util-linux) and ip (iproute2)")
    namespace = ["unshare", "--net", *([] if os.getuid() == 0 else ["--map-root-user"])]
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let us make a network namespace")
    return subprocess.run(
        [*namespace, "sh", "-c", f'{prepare} && exec "$0" "$1"', sys.executable, program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
