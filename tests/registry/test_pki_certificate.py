"""Device certificates as strangers show them: each bad one of group 92 with its own reason."""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from authority_parts import DEVICE, Leaf, key_usage, name, new_authority, now_us, p256, rsa_key, spki, stolen, uris
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from lichtmast.registry.pki import CertificateFlaw, CertificateRefused, device_of_certificate, new_serial
from lichtmast.registry.pki.certifying import Issuer

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


@cache
def issuer() -> Issuer:
    with TemporaryDirectory() as folder:
        return stolen(new_authority(Path(folder) / "authority"), "devices")


def der(leaf: Leaf, algorithm: hashes.SHA256 | hashes.SHA512 | None = None) -> bytes:
    return leaf.signed(issuer(), algorithm).public_bytes(Encoding.DER)


def flaw_of(shown: bytes) -> CertificateFlaw:
    with pytest.raises(CertificateRefused) as refused:
        device_of_certificate(shown)
    assert str(refused.value).startswith("the certificate is refused: ")
    return refused.value.flaw


def test_what_the_authority_issues_is_read_back(tmp_path: Path) -> None:
    at_us, serial = now_us(), new_serial()
    issued = new_authority(tmp_path / "authority").issue_device(DEVICE, spki(p256()), serial=serial, now_us=at_us)
    told = device_of_certificate(issued)
    assert (told.device, told.serial) == (DEVICE, serial)
    assert told.not_before_us < at_us < told.not_after_us


def test_a_leaf_with_nothing_wrong_in_it_is_a_devices() -> None:
    assert device_of_certificate(der(Leaf())).device == DEVICE


@pytest.mark.parametrize(
    ("shown", "flaw"),
    [
        pytest.param(lambda: b"x" * 2049, CertificateFlaw.TOO_LARGE, id="too large"),
        pytest.param(lambda: b"", CertificateFlaw.UNREADABLE, id="empty"),
        pytest.param(lambda: der(Leaf())[:-1], CertificateFlaw.UNREADABLE, id="cut"),
        pytest.param(lambda: der(Leaf()) + b"\0", CertificateFlaw.UNREADABLE, id="more behind it"),
        pytest.param(lambda: der(Leaf(key=rsa_key(1024))), CertificateFlaw.KEY, id="RSA 1024"),
        pytest.param(lambda: der(Leaf(key=ec.generate_private_key(ec.SECP384R1()))), CertificateFlaw.KEY, id="P-384"),
        pytest.param(lambda: der(Leaf(), hashes.SHA512()), CertificateFlaw.SIGNATURE_ALGORITHM, id="SHA-512"),
        pytest.param(
            lambda: der(Leaf(basic=x509.BasicConstraints(ca=True, path_length=None))),
            CertificateFlaw.AUTHORITY,
            id="CA:TRUE",
        ),
        pytest.param(lambda: der(Leaf(basic=None)), CertificateFlaw.AUTHORITY, id="no basicConstraints"),
        pytest.param(lambda: der(Leaf(usage=None)), CertificateFlaw.USAGE, id="no keyUsage"),
        pytest.param(lambda: der(Leaf(usage=key_usage(authority=True))), CertificateFlaw.USAGE, id="keyCertSign"),
        pytest.param(lambda: der(Leaf(extended=())), CertificateFlaw.USAGE, id="no extendedKeyUsage"),
        pytest.param(lambda: der(Leaf(extended=(SERVER,))), CertificateFlaw.USAGE, id="serverAuth only"),
        pytest.param(lambda: der(Leaf(extended=(CLIENT, SERVER))), CertificateFlaw.USAGE, id="serverAuth too"),
        pytest.param(lambda: der(Leaf(names=None)), CertificateFlaw.NAMES, id="no name"),
        pytest.param(
            lambda: der(Leaf(names=x509.SubjectAlternativeName([x509.DNSName("x.nl")]))),
            CertificateFlaw.NAMES,
            id="DNS",
        ),
        pytest.param(
            lambda: der(Leaf(names=uris(DEVICE.urn, "urn:dev:lm:gm0402:lm-0002"))), CertificateFlaw.NAMES, id="two URNs"
        ),
        pytest.param(
            lambda: der(Leaf(names=uris("urn:dev:lm:gm0402:a/+/#"))), CertificateFlaw.NAMES, id="topic in URN"
        ),
        pytest.param(
            lambda: der(Leaf(names=uris("urn:dev:lm:gm0402:a*b"))), CertificateFlaw.NAMES, id="wildcard in URN"
        ),
        pytest.param(lambda: der(Leaf(subject=name())), CertificateFlaw.SUBJECT, id="no common name"),
        pytest.param(lambda: der(Leaf(subject=name("lm-0002"))), CertificateFlaw.SUBJECT, id="another's common name"),
        pytest.param(lambda: der(Leaf(subject=name("*"))), CertificateFlaw.SUBJECT, id="wildcard"),
        pytest.param(
            lambda: der(Leaf(subject=name(DEVICE.device, "lm-0002"))), CertificateFlaw.SUBJECT, id="two common names"
        ),
        pytest.param(
            lambda: der(Leaf(subject=name(DEVICE.device, organisation="x"))), CertificateFlaw.SUBJECT, id="organisation"
        ),
    ],
)
def test_a_bad_certificate_is_refused_for_its_own_reason(shown: Callable[[], bytes], flaw: CertificateFlaw) -> None:
    assert flaw_of(shown()) is flaw


def test_every_flaw_has_a_bad_certificate() -> None:
    (marks,) = (
        mark.args[1]
        for mark in test_a_bad_certificate_is_refused_for_its_own_reason.pytestmark  # type: ignore[attr-defined] # pytest sets it
        if mark.name == "parametrize"
    )
    assert {case.values[1] for case in marks} == set(CertificateFlaw)


@pytest.mark.slow
@given(st.binary(max_size=500))
def test_any_bytes_are_refused_and_raise_nothing_else(shown: bytes) -> None:
    with pytest.raises(CertificateRefused):
        device_of_certificate(shown)


@pytest.mark.slow
@given(st.data())
def test_an_altered_certificate_is_read_or_refused(data: st.DataObject) -> None:
    """Its signature is the TLS library's to verify, so it may be read here."""
    whole = _one()
    place = data.draw(st.integers(0, len(whole) - 1))
    altered = data.draw(st.binary(min_size=1, max_size=3))
    shown = whole[:place] + altered + whole[place + len(altered) :]
    with suppress(CertificateRefused):  # anything else that it raises is a failure
        device_of_certificate(shown)


@cache
def _one() -> bytes:
    return der(Leaf())
