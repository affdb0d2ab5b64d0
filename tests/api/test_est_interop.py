"""EST with clients that nobody here wrote: openssl and curl, as docs/reference/est.md shows them."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from est_town import EstTown, serving

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def town(tmp_path: Path) -> Iterator[EstTown]:
    with EstTown.open(tmp_path) as opened:
        yield opened


def example() -> str:
    """The shell commands that the reference shows."""
    page = (REPOSITORY / "docs/reference/est.md").read_text()
    (block,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    return str(block)


def run(folder: Path, *command: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=timeout_s)


@pytest.mark.slow
def test_openssl_and_curl_enrol_and_renew_as_the_reference_says(town: EstTown, tmp_path: Path) -> None:
    node = town.node("lamp-0001")
    folder = tmp_path / "by-hand"
    folder.mkdir()
    (folder / "key.pem").write_bytes(node.key_pem)
    (folder / "root.pem").write_bytes(town.authority.root_pem)
    with serving(town.est_app(), town.tls_files(), town.device_trust) as port:
        script = re.sub(r"(?m)^EST=\S+", f"EST=https://[::1]:{port}/.well-known/est", example())
        unclaimed = run(folder, "bash", "-euo", "pipefail", "-c", script)
        assert unclaimed.returncode != 0, "nobody has claimed it yet"
        town.claim(node)
        done = run(folder, "bash", "-euo", "pipefail", "-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["device.pem: OK", "next.pem: OK"]
    files = (folder / "device.pem", folder / "next.pem")
    first, following = (x509.load_pem_x509_certificate(one.read_bytes()) for one in files)
    assert first.serial_number != following.serial_number
    assert first.public_key() == following.public_key() == node.key.public_key()
