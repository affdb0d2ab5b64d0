"""The network namespace that has no IPv4 address at all, in which scripts/test runs the integration tests.

scripts/ipv6-only makes it. Nothing in it can bind, reach or fall back to IPv4, so a part of Lichtmast that quietly
needs it fails there; tests/integration/test_addresses.py says where they ran elsewhere.
"""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
IPV6_ONLY: Final = ROOT / "scripts/ipv6-only"
NAMESPACE_REFUSED: Final = 125
PROBE: Final = """
import socket
with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as six:
    six.bind(("::1", 0))
    six.listen()
    socket.create_connection(six.getsockname()[:2], timeout=5).close()
for address in ("127.0.0.1", "192.0.2.1"):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as four:
        try:
            four.connect((address, 9))
        except OSError as error:
            print(address, error.strerror)
        else:
            print(address, "reached")
"""


def inside(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(IPV6_ONLY), *command], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module", autouse=True)
def namespace() -> None:
    """Skipped where the machine allows no network namespace; in CI that skip is a failure."""
    probe = inside("true")
    if probe.returncode == NAMESPACE_REFUSED:
        pytest.skip(probe.stderr.strip())


@pytest.mark.slow
@pytest.mark.system
def test_the_namespace_has_ipv6_and_no_way_to_ipv4() -> None:
    done = inside(sys.executable, "-c", PROBE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["127.0.0.1 Network is unreachable", "192.0.2.1 Network is unreachable"]


@pytest.mark.system
def test_the_command_keeps_its_own_status() -> None:
    assert inside("sh", "-c", "exit 7").returncode == 7
