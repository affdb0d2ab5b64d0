"""The folder of an authority: a change goes in whole, one at a time, and what it leaves over is cleared away."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from lichtmast.registry.pki.certifying import AuthorityKind, Issuer, pem_of, pin_of
from lichtmast.registry.pki.errors import AuthorityError, KeyDamagedError
from lichtmast.registry.pki.state import CERTIFICATE, FILE, KEY, NAME, State, missing, write_state
from lichtmast.registry.pki.vault import DRAFT, Vault, read_whole, sync_folder, write_whole

UNFINISHED: Final = "authority.unfinished"
"""Lies in the folder from before the first key is written until the first authority stands."""


def write_change(
    folder: Path, vault: Vault, state: State, made: dict[str, Issuer], crosses: dict[str, x509.Certificate]
) -> None:
    """Keys and certificates first, under new names; then the state, which is the change; then what it left over."""
    for name, issuer in made.items():
        vault.write_key(folder / (name + KEY), issuer.key)
    for name, certificate in ({name: one.certificate for name, one in made.items()} | crosses).items():
        write_whole(folder / (name + CERTIFICATE), pem_of(certificate))
    write_state(folder, state)
    _sweep(folder, state)


def begin_creation(folder: Path) -> None:
    """Mark that what lies here without a state is from a creation that was cut off, and may be cleared away.

    Raises AuthorityError where files of an authority lie here without state and mark: the state was lost or is not
    restored yet, and a new authority would cost every node its root.
    """
    mark = folder / UNFINISHED
    if mark.exists():
        return
    found = sorted(path.name for path in folder.iterdir() if NAME.fullmatch(_stem(path.name)))
    if found:
        raise AuthorityError(
            f"{folder} holds files of a certificate authority, such as {found[0]}, but {FILE} is missing; restore the "
            "folder from a backup, or move these files elsewhere to begin a new authority, which no node on its pole "
            "trusts"
        )
    write_whole(mark, b"")


def end_creation(folder: Path) -> None:
    """The authority stands: from now on nothing here is left over from making it."""
    mark = folder / UNFINISHED
    if mark.exists():
        mark.unlink()
        sync_folder(folder)


def read_certificate(folder: Path, name: str) -> x509.Certificate:
    """One certificate of the authority. Raises KeyMissingError or KeyDamagedError."""
    path = folder / (name + CERTIFICATE)
    try:
        return x509.load_pem_x509_certificate(read_whole(path))
    except ValueError as error:
        raise KeyDamagedError(f"the certificate {path} is cut or altered; take the folder from a backup") from error


def read_issuer_key(vault: Vault, path: Path, certificate: x509.Certificate) -> ec.EllipticCurvePrivateKey:
    """The key of this certificate. Raises VaultError."""
    key = vault.read_key(path)
    if key.public_key() != certificate.public_key():
        raise KeyDamagedError(f"the key {path} is not the one of its certificate; take the folder from a backup")
    return key


def name_of(kind: AuthorityKind, certificate: x509.Certificate) -> str:
    """What its files are called; no second key ever has the same name."""
    return f"{kind.value}-{pin_of(certificate).hex()}"


def name_across(of: x509.Certificate, by: x509.Certificate) -> str:
    """What the file of one root's certificate by another is called."""
    return f"cross-{pin_of(of).hex()}-{pin_of(by).hex()}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder while it is read or changed; released when the process ends, however it ends."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError as error:
        raise AuthorityError(missing(folder)) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _sweep(folder: Path, state: State) -> None:
    """Remove files of ours that the state does not name: left by a crash, or no longer of use."""
    kept = {name + CERTIFICATE for name in state.certificate_names()} | {name + KEY for name in state.key_names()}
    swept = [path for path in folder.iterdir() if path.name not in kept and NAME.fullmatch(_stem(path.name))]
    for path in swept:
        path.unlink()
    if swept:
        sync_folder(folder)


def _stem(name: str) -> str:
    return name.removesuffix(DRAFT).removesuffix(KEY).removesuffix(CERTIFICATE)
