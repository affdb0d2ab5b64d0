"""What the authority refuses and logs stands in the reference."""

from enum import StrEnum
from pathlib import Path

import pytest

from lichtmast.registry import pki
from lichtmast.registry.pki import AuthorityAction, CertificateFlaw, CsrFlaw
from lichtmast.registry.pki.limits import CERTIFICATE_BYTES_MAX, CSR_BYTES_MAX, SECRET_BYTES_MAX, SECRET_BYTES_MIN

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "certificates.md"


@pytest.mark.parametrize(
    ("names", "heading"),
    [
        (CsrFlaw, "## Requests"),
        (CertificateFlaw, "## Certificates that devices show"),
        (AuthorityAction, "### What the"),
    ],
)
def test_every_name_stands_in_its_table(names: type[StrEnum], heading: str) -> None:
    section = PAGE.read_text().partition(heading)[2].partition("\n#")[0]
    listed = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
    assert sorted(listed) == sorted(names)


def test_the_limits_are_told() -> None:
    text = PAGE.read_text()
    assert CSR_BYTES_MAX == CERTIFICATE_BYTES_MAX
    assert text.count(f"more than {CSR_BYTES_MAX:,} bytes") == 2
    assert f"{SECRET_BYTES_MIN} to {SECRET_BYTES_MAX:,} bytes" in text


def test_the_exported_names_are_these() -> None:
    names = (
        "Authority AuthorityAction AuthorityError AuthorityKind CertificateFlaw CertificateRefused CertifiedDevice Csr "
        "CsrFlaw CsrRefused KeyDamagedError KeyMissingError RevokedSerial ServerCertificate ServerCertificateDue Told "
        "VaultError WrongSecretError certificate_times_us device_of_certificate log_authority new_serial read_csr "
        "renewal_at_us server_certificate_due"
    )
    assert sorted(pki.__all__) == names.split()
