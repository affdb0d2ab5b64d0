"""A signing key that never leaves a token: all that is asked of it is to sign, and OpenSSL takes what it signed."""

from pathlib import Path
from typing import NoReturn

import pytest
from authority_parts import DEVICE, SECRET, active, new_authority, now_us, openssl, p256, spki, verified
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from lichtmast.registry.pki import Authority, AuthorityKind, RevokedSerial, new_serial
from lichtmast.registry.pki.shelf import read_certificate
from lichtmast.registry.pki.state import read_state
from lichtmast.registry.pki.vault import Vault

pytestmark = pytest.mark.system  # openssl


class Token(ec.EllipticCurvePrivateKey):
    """A key as a PKCS#11 adapter would give it: it signs and tells its public half, and nothing gets it out."""

    def __init__(self, inside: ec.EllipticCurvePrivateKey) -> None:
        self._inside = inside
        self.signatures = 0

    def sign(
        self, data: bytes | bytearray | memoryview, signature_algorithm: ec.EllipticCurveSignatureAlgorithm
    ) -> bytes:
        self.signatures += 1
        return self._inside.sign(data, signature_algorithm)

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._inside.public_key()

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._inside.curve

    @property
    def key_size(self) -> int:
        return self._inside.key_size

    def _stays(self, *_: object, **__: object) -> NoReturn:
        pytest.fail("the authority asked for more than a signature")

    exchange = private_numbers = private_bytes = __copy__ = __deepcopy__ = _stays


class TokenVault(Vault):
    """Gives keys as tokens."""

    def __init__(self, secret: bytes) -> None:
        super().__init__(secret)
        self.tokens: list[Token] = []

    def read_key(self, path: Path) -> ec.EllipticCurvePrivateKey:
        self.tokens.append(Token(super().read_key(path)))
        return self.tokens[-1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    new_authority(tmp_path / "authority")
    return tmp_path / "authority"


def test_an_authority_whose_keys_are_foreign_objects_signs_all_that_it_signs(folder: Path, tmp_path: Path) -> None:
    state, vault = read_state(folder), TokenVault(SECRET)
    certificates = {name: read_certificate(folder, name) for name in state.certificate_names()}
    authority = Authority(folder, vault, state, certificates)

    serial = new_serial()
    der = authority.issue_device(DEVICE, spki(p256()), serial=serial, now_us=now_us())
    leaf, lists, chain = tmp_path / "leaf.pem", tmp_path / "lists.pem", tmp_path / "chain.pem"
    leaf.write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))
    assert verified(leaf, active(folder, "devices"), "sslclient", "-partial_chain") == "ok"
    chain.write_bytes(authority.issue_server(["::1"], now_us=now_us()).chain_pem)
    assert verified(chain, active(folder, "root"), "sslserver", "-untrusted", chain) == "ok"

    lists.write_bytes(authority.crl([RevokedSerial(serial, now_us())], now_us=now_us()))
    assert b"verify OK" in openssl("crl", "-in", lists, "-noout", "-CAfile", active(folder, "devices")).stderr
    assert "revoked" in verified(
        leaf, active(folder, "devices"), "sslclient", "-partial_chain", "-crl_check", "-CRLfile", lists
    )
    assert sum(token.signatures for token in vault.tokens) == 4  # two leaves and two lists

    authority.roll_issuing(AuthorityKind.DEVICES, now_us=now_us())  # the root's key is a token too
    assert (
        verified(
            next(folder.glob(f"{authority._state.active(AuthorityKind.DEVICES)}.pem")), active(folder, "root"), "any"
        )
        == "ok"
    )
    assert vault.tokens[-1].signatures == 1
