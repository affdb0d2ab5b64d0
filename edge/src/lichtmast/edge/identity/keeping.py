"""The files of a device's identity: its key, its certificate with chain, and the roots that it trusts.

Certificate and roots are kept files (`twin.keeper`): old or new and never half, with the one before beside them. A
first line of JSON says what is in the PEM below, which OpenSSL reads as it is: the running agent needs no parser of
certificates.

Will not: make or read a key, or know what a certificate says: `keys` and `certificates` do, in a process of their own.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from lichtmast.edge.identity import limits
from lichtmast.edge.identity.errors import CertificateError, KeyFileError
from lichtmast.edge.twin.errors import KeepError
from lichtmast.edge.twin.keeper import Keeper

FOLDER: Final = "identity"
KEY_FILE: Final = "key.pem"
_OTHERS: Final = 0o077
_GROUP_READS: Final = 0o040


@dataclass(frozen=True, slots=True)
class Certificate:
    """What this device's certificate says; `serial` in hexadecimal, as the server shows it."""

    serial: str
    not_before_us: int
    not_after_us: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What is there: the certificate and its file, the file of trusted roots, and what was found damaged."""

    certificate: Certificate | None
    certificate_file: Path
    trust_file: Path | None
    damage: str


class IdentityFolder:
    """The folder in the state folder. `key` is elsewhere where systemd hands it over as a credential."""

    def __init__(self, state: Path, key: Path | None = None) -> None:
        self.path = state / FOLDER
        self.key = key or self.path / KEY_FILE
        self._certificates = (self.path / "certificate.pem", self.path / "certificate.previous.pem")
        self._trusts = (self.path / "trust.pem", self.path / "trust.previous.pem")

    def make(self) -> None:
        """Make the folder, for nobody else. Raises KeyFileError."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
        except OSError as error:
            raise KeyFileError(f"{self.path} cannot be made: {error.strerror}; look at the disk") from error

    def load(self) -> Kept:
        """What is there. Never raises: the one before stands in for a file that cannot be used."""
        certificate_file, facts, damage = _first_whole(self._certificates)
        trust_file, _, trust_damage = _first_whole(self._trusts)
        certificate = None
        if facts is not None:
            try:
                certificate = Certificate(**facts)
            except TypeError:
                damage = damage or f"{self._certificates[0].name} says what this version does not know"
        return Kept(
            certificate,
            certificate_file or self._certificates[0],
            trust_file,
            "; ".join(one for one in (damage, trust_damage) if one),
        )

    def keep_certificate(self, certificate: Certificate, pem: bytes) -> None:
        """Put a certificate with its chain in the place of the one before. Raises CertificateError."""
        _keep(self._certificates, asdict(certificate), pem)

    def keep_trust(self, facts: Mapping[str, Any], pem: bytes) -> None:
        """Put the roots that are trusted in the place of those before. Raises CertificateError."""
        _keep(self._trusts, facts, pem)


def pem_in(path: Path) -> bytes:
    """The PEM of a kept file. Raises CertificateError."""
    found = _read(path)
    if isinstance(found, str):
        raise CertificateError(found)
    return found[1]


def read_key_file(path: Path) -> bytes:
    """The bytes of a private key that nobody else can read. Raises KeyFileError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise KeyFileError(f"there is no key at {path}; make one with lichtmast-edge identity new") from error
    except OSError as error:
        raise KeyFileError(f"the key {path} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        told = os.fstat(file.fileno())
        shared = told.st_mode & _OTHERS
        if told.st_uid == 0 and os.geteuid() != 0:
            # systemd lets a service read its credential by an access list, whose mask shows as the group's right.
            shared &= ~_GROUP_READS
        if shared:
            raise KeyFileError(
                f"the key {path} can be read by others (mode {told.st_mode & 0o777:04o}): whoever could read it may "
                "have it. Retire the device, wipe it, and make a new key"
            )
        if told.st_uid not in (0, os.geteuid()):
            raise KeyFileError(f"the key {path} belongs to user {told.st_uid}, and not to this one")
        return file.read(limits.KEY_BYTES_MAX)


def _first_whole(paths: tuple[Path, Path]) -> tuple[Path | None, dict[str, Any] | None, str]:
    """The first file that can be used, what it says, and what is wrong with those before it."""
    damage = ""
    for path in paths:
        found = _read(path)
        if not isinstance(found, str):
            return path, found[0], damage
        damage = damage or found
    return None, None, damage


def _read(path: Path) -> tuple[dict[str, Any], bytes] | str:
    kept = Keeper(path).load()
    if kept.content is None:
        return kept.damage or ""
    line, _, pem = kept.content.partition(b"\n")
    try:
        facts = json.loads(line)
    except ValueError:
        facts = None
    return (facts, pem) if isinstance(facts, dict) else f"{path.name} is not a file of this program"


def _keep(paths: tuple[Path, Path], facts: Mapping[str, Any], pem: bytes) -> None:
    content = json.dumps(facts).encode() + b"\n" + pem
    if len(content) > limits.FILE_BYTES_MAX:
        raise CertificateError(f"{len(content)} bytes are more than {paths[0].name} may have")
    current, previous = (Keeper(path) for path in paths)
    before = current.load().content
    if before == content:
        return
    try:
        if before is not None:
            previous.store(before)
        current.store(content)
    except KeepError as error:
        raise CertificateError(str(error)) from error
