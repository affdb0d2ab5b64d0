"""Certificate requests: what is granted, and each bad input with its own reason (bad-input catalogue, group 92)."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from authority_parts import DEVICE, key_pem, key_usage, name, openssl, p256, request, rsa_key, spki, uris
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from lichtmast.registry.pki import CsrFlaw, CsrRefused, read_csr
from lichtmast.wire import DeviceId
from lichtmast.wire.label import spki_pin

OTHER = DeviceId("gm0402", "lm-0002")
PLAIN = request()


def flaw_of(der: bytes) -> CsrFlaw:
    with pytest.raises(CsrRefused) as refused:
        read_csr(der)
    assert str(refused.value).startswith("the certificate request is refused: ")
    return refused.value.flaw


@pytest.mark.parametrize(
    ("subject", "extensions", "device", "common_name"),
    [
        (None, [], None, None),
        (name(DEVICE.device), [], None, DEVICE.device),
        (None, [uris(DEVICE.urn)], DEVICE, None),
        (name(DEVICE.device), [uris(DEVICE.urn)], DEVICE, DEVICE.device),
    ],
)
def test_a_request_may_name_its_device_or_nobody(
    subject: x509.Name | None, extensions: list[x509.ExtensionType], device: DeviceId | None, common_name: str | None
) -> None:
    read = read_csr(request(subject=subject, extensions=extensions))
    assert (read.device, read.common_name) == (device, common_name)
    assert (read.spki_der, read.pin) == (spki(p256()), spki_pin(spki(p256())))
    read.require_names_of(DEVICE)


@pytest.mark.parametrize("subject", [None, name(OTHER.device)])
@pytest.mark.parametrize("names", [None, uris(OTHER.urn)])
def test_a_request_for_another_device_than_the_keys_is_refused(
    subject: x509.Name | None, names: x509.SubjectAlternativeName | None
) -> None:
    read = read_csr(request(subject=subject, extensions=[names] if names else []))
    if subject is None and names is None:
        read.require_names_of(DEVICE)
        return
    with pytest.raises(CsrRefused) as refused:
        read.require_names_of(DEVICE)
    assert refused.value.flaw is CsrFlaw.NAMES


def test_the_same_device_name_of_another_tenant_is_another_device() -> None:
    read = read_csr(request(extensions=[uris(DeviceId("gm0363", DEVICE.device).urn)]))
    with pytest.raises(CsrRefused):
        read.require_names_of(DEVICE)


@pytest.mark.parametrize(
    "extension",
    [
        x509.BasicConstraints(ca=False, path_length=None),
        key_usage(),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
        x509.SubjectKeyIdentifier(b"12345678901234567890"),
    ],
)
def test_a_wish_that_harms_nobody_is_passed_over(extension: x509.ExtensionType) -> None:
    assert read_csr(request(extensions=[extension])).device is None


@pytest.mark.parametrize(
    ("der", "flaw"),
    [
        pytest.param(lambda: b"x" * 2049, CsrFlaw.TOO_LARGE, id="too large"),
        pytest.param(lambda: b"", CsrFlaw.UNREADABLE, id="empty"),
        pytest.param(lambda: b"-----BEGIN CERTIFICATE REQUEST-----", CsrFlaw.UNREADABLE, id="PEM"),
        pytest.param(lambda: PLAIN[:-1], CsrFlaw.UNREADABLE, id="cut"),
        pytest.param(lambda: PLAIN + b"\0", CsrFlaw.UNREADABLE, id="more behind it"),
        pytest.param(lambda: request(rsa_key(2048)), CsrFlaw.KEY, id="RSA 2048"),
        pytest.param(lambda: request(rsa_key(1024)), CsrFlaw.KEY, id="RSA 1024"),
        pytest.param(lambda: request(ec.generate_private_key(ec.SECP384R1())), CsrFlaw.KEY, id="P-384"),
        pytest.param(lambda: request(ec.generate_private_key(ec.SECP256K1())), CsrFlaw.KEY, id="secp256k1"),
        pytest.param(lambda: request(algorithm=hashes.SHA512()), CsrFlaw.SIGNATURE_ALGORITHM, id="SHA-512"),
        pytest.param(lambda: foreign_key(PLAIN), CsrFlaw.SIGNATURE, id="somebody else's key"),
        pytest.param(lambda: request(subject=name("a", "b")), CsrFlaw.SUBJECT, id="two common names"),
        pytest.param(lambda: request(subject=name(organisation="x")), CsrFlaw.SUBJECT, id="an organisation alone"),
        pytest.param(lambda: request(subject=name("lm-1", organisation="x")), CsrFlaw.SUBJECT, id="an organisation"),
        pytest.param(lambda: request(subject=name("*")), CsrFlaw.SUBJECT, id="a wildcard"),
        pytest.param(lambda: request(subject=name("lm/+/#")), CsrFlaw.SUBJECT, id="topic characters"),
        pytest.param(lambda: request(subject=name("lm-\0001")), CsrFlaw.SUBJECT, id="NUL"),
        pytest.param(lambda: request(subject=name("LM-0001")), CsrFlaw.SUBJECT, id="capitals"),
        pytest.param(
            lambda: request(subject=name("lm-0001"), extensions=[uris(OTHER.urn)]), CsrFlaw.NAMES, id="two devices"
        ),
        pytest.param(lambda: request(extensions=[uris(DEVICE.urn, OTHER.urn)]), CsrFlaw.NAMES, id="two URIs"),
        pytest.param(lambda: request(extensions=[uris("https://x.nl")]), CsrFlaw.NAMES, id="another URI"),
        pytest.param(lambda: request(extensions=[uris(DEVICE.urn + ":x")]), CsrFlaw.NAMES, id="more in the URN"),
        pytest.param(
            lambda: request(extensions=[x509.SubjectAlternativeName([x509.DNSName("x.nl")])]), CsrFlaw.NAMES, id="DNS"
        ),
        pytest.param(
            lambda: request(
                extensions=[
                    x509.SubjectAlternativeName([x509.UniformResourceIdentifier(DEVICE.urn), x509.RFC822Name("a@x.nl")])
                ]
            ),
            CsrFlaw.NAMES,
            id="a mail address beside",
        ),
        pytest.param(
            lambda: request(extensions=[x509.BasicConstraints(ca=True, path_length=0)]), CsrFlaw.AUTHORITY, id="CA:TRUE"
        ),
        pytest.param(lambda: request(extensions=[key_usage(authority=True)]), CsrFlaw.AUTHORITY, id="keyCertSign"),
        pytest.param(
            lambda: request(extensions=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])]),
            CsrFlaw.USAGE,
            id="serverAuth",
        ),
        pytest.param(
            lambda: request(
                extensions=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.CODE_SIGNING])]
            ),
            CsrFlaw.USAGE,
            id="code signing beside",
        ),
        pytest.param(
            lambda: request(extensions=[x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\0")]),
            CsrFlaw.EXTENSION,
            id="an unknown extension",
        ),
        pytest.param(lambda: request(extensions=[x509.OCSPNoCheck()]), CsrFlaw.EXTENSION, id="another extension"),
        pytest.param(lambda: off_the_curve(PLAIN), CsrFlaw.UNREADABLE, id="a point off the curve"),
    ],
)
def test_a_bad_request_is_refused_for_its_own_reason(der: Callable[[], bytes], flaw: CsrFlaw) -> None:
    assert flaw_of(der()) is flaw


def foreign_key(der: bytes) -> bytes:
    """The request with the key of somebody else, whom it would impersonate."""
    other = spki(ec.generate_private_key(ec.SECP256R1()))
    return der.replace(spki(p256()), other)


def off_the_curve(der: bytes) -> bytes:
    point = spki(p256())[-64:]
    return der.replace(point, point[:32] + point[:32])


def test_every_flaw_has_a_bad_request() -> None:
    (marks,) = (
        mark.args[1]
        for mark in test_a_bad_request_is_refused_for_its_own_reason.pytestmark  # type: ignore[attr-defined] # pytest sets it
        if mark.name == "parametrize"
    )
    assert {case.values[1] for case in marks} == set(CsrFlaw)


@pytest.mark.system
def test_requests_by_openssl_are_read(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(key_pem(p256()))
    words = ["openssl", "req", "-new", "-key", "key.pem", "-outform", "DER", "-out", "csr.der"]
    for more, flaw in (
        (["-subj", f"/CN={DEVICE.device}"], None),
        (["-subj", "/"], None),
        (["-sha384", "-subj", "/", "-addext", f"subjectAltName=URI:{DEVICE.urn}"], None),
        (["-subj", "/", "-addext", "basicConstraints=CA:FALSE", "-addext", "keyUsage=digitalSignature"], None),
        (["-subj", f"/C=NL/O=Gemeente/CN={DEVICE.device}"], CsrFlaw.SUBJECT),
        (["-sha1", "-subj", "/"], CsrFlaw.SIGNATURE_ALGORITHM),
    ):
        subprocess.run([*words, *more], cwd=tmp_path, check=True, capture_output=True)
        der = (tmp_path / "csr.der").read_bytes()
        if flaw is None:
            assert read_csr(der).pin == spki_pin(spki(p256()))
        else:
            assert flaw_of(der) is flaw


@pytest.mark.system
def test_however_a_p256_key_is_written_its_pin_is_the_same(tmp_path: Path) -> None:
    key, changed = tmp_path / "key.pem", tmp_path / "changed.pem"
    key.write_bytes(key_pem(p256()))
    for change in (["-conv_form", "compressed"], ["-param_enc", "explicit"]):
        assert openssl("ec", "-in", key, "-out", changed, *change).returncode == 0
        made = openssl("req", "-new", "-key", changed, "-outform", "DER", "-subj", "/").stdout
        assert spki(p256()) not in made
        assert read_csr(made).spki_der == spki(p256())


@pytest.mark.system
def test_a_curve_that_only_looks_like_p256_is_refused(tmp_path: Path) -> None:
    key, changed = tmp_path / "key.pem", tmp_path / "changed.pem"
    key.write_bytes(key_pem(p256()))
    assert openssl("ec", "-in", key, "-out", changed, "-param_enc", "explicit").returncode == 0
    made = openssl("req", "-new", "-key", changed, "-outform", "DER", "-subj", "/").stdout
    generator = bytes.fromhex("6b17d1f2e12c4247f8bce6e563a440f2")
    assert made.count(generator) == 1
    assert flaw_of(made.replace(generator, generator[::-1])) is CsrFlaw.UNREADABLE


@pytest.mark.slow
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_and_raise_nothing_else(der: bytes) -> None:
    with pytest.raises(CsrRefused):
        read_csr(der)


FULL = request(
    subject=name(DEVICE.device),
    extensions=[
        uris(DEVICE.urn),
        x509.BasicConstraints(ca=False, path_length=None),
        key_usage(),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
    ],
)


@pytest.mark.slow
@given(st.integers(0, len(FULL) - 1), st.binary(min_size=1, max_size=3))
def test_an_altered_request_is_refused(place: int, altered: bytes) -> None:
    der = FULL[:place] + altered + FULL[place + len(altered) :]
    if der == FULL:
        assert read_csr(der).device == DEVICE
    else:
        with pytest.raises(CsrRefused):
            read_csr(der)
