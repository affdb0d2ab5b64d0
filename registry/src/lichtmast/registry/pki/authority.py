"""The certificate authority of one Lichtmast: a root that may lie in a safe, and two authorities under it that work.

One signs devices, the other servers, and neither is trusted for the other's work. Roll-over is one atomic change: the
new authority stands beside the old one, which stays trusted until the last certificate that it signed has ended.

Will not: know which devices there are, or keep a log of what it issued; the register does both.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from lichtmast.registry.pki import certifying, limits
from lichtmast.registry.pki.certifying import AuthorityKind, Issuer, RevokedSerial, ServerCertificate, der_of, pem_of
from lichtmast.registry.pki.errors import AuthorityError, KeyDamagedError, KeyMissingError
from lichtmast.registry.pki.shelf import (
    begin_creation,
    end_creation,
    locked,
    name_across,
    name_of,
    read_certificate,
    read_issuer_key,
    write_change,
)
from lichtmast.registry.pki.state import CERTIFICATE, FILE, KEY, Member, State, read_state
from lichtmast.registry.pki.vault import Vault, make_folder, sync_folder, write_whole
from lichtmast.wire import DeviceId

ISSUING: Final = (AuthorityKind.DEVICES, AuthorityKind.SERVERS)


@dataclass(frozen=True, slots=True)
class Told:
    """What can be said of one certificate of the authority."""

    role: str  # root, devices, servers or cross
    subject: str
    pin: bytes
    not_before_us: int
    not_after_us: int
    signs: bool
    key_here: bool


class Authority:
    """An authority on disk. Reading and issuing never wait; changes take a lock on the folder."""

    def __init__(self, folder: Path, vault: Vault, state: State, certificates: dict[str, x509.Certificate]) -> None:
        self._folder = folder
        self._vault = vault
        self._state = state
        self._certificates = certificates
        self._issuers: dict[str, Issuer] = {}

    @classmethod
    def create(cls, folder: Path, secret: bytes, *, organisation: str, now_us: int) -> Self:
        """Make a root and both authorities under it.

        Raises AuthorityError where there is an authority already, or keys of one whose state is lost.
        """
        if not 1 <= len(organisation) <= limits.ORGANISATION_CHARACTERS_MAX or not organisation.isprintable():
            raise AuthorityError(
                f"the organisation's name must be 1 to {limits.ORGANISATION_CHARACTERS_MAX} printable characters"
            )
        vault = Vault(secret)
        make_folder(folder)
        with locked(folder):
            if cls.is_made(folder):
                raise AuthorityError(f"there is a certificate authority in {folder} already; it was left as it is")
            begin_creation(folder)
            root = certifying.new_root(organisation, now_us)
            made = {name_of(AuthorityKind.ROOT, root.certificate): root}
            for kind in ISSUING:
                issuer = certifying.new_issuing(kind, root, organisation, now_us)
                made[name_of(kind, issuer.certificate)] = issuer
            members: dict[AuthorityKind, tuple[Member, ...]] = {
                kind: (Member(name),) for kind, name in zip(AuthorityKind, made, strict=True)
            }
            write_change(folder, vault, State(organisation, 1, members), made, {})
        return cls.open(folder, secret)

    @staticmethod
    def is_made(folder: Path) -> bool:
        """Whether there is one. What a kill left of making one is none: `create` begins anew."""
        return (folder / FILE).exists()

    @classmethod
    def open(cls, folder: Path, secret: bytes) -> Self:
        """The authority in this folder. Raises AuthorityError: missing, another secret, or damaged."""
        vault = Vault(secret)
        with locked(folder):
            state = read_state(folder)
            end_creation(folder)
            certificates = {name: read_certificate(folder, name) for name in state.certificate_names()}
            opened = cls(folder, vault, state, certificates)
            opened._check_signatures()
            for kind in ISSUING:
                opened._issuer(state.active(kind))
        return opened

    @property
    def organisation(self) -> str:
        """Whose authority it is; part of every authority's name."""
        return self._state.organisation

    @property
    def root_pem(self) -> bytes:
        """The newest root."""
        return pem_of(self._active(AuthorityKind.ROOT))

    @property
    def root_pin(self) -> bytes:
        """The pin of the newest root, for labels that are printed from now on."""
        return certifying.pin_of(self._active(AuthorityKind.ROOT))

    @property
    def device_trust_pem(self) -> bytes:
        """What device certificates are verified by: no root, so that a server's certificate is never a device's.

        An OpenSSL that is given it must be told X509_V_FLAG_PARTIAL_CHAIN, because none of it signs itself.
        """
        return b"".join(map(pem_of, self._all(AuthorityKind.DEVICES)))

    @property
    def device_issuer_der(self) -> bytes:
        """The certificate of the authority that signs devices now."""
        return der_of(self._active(AuthorityKind.DEVICES))

    @property
    def device_issuer_pins(self) -> tuple[bytes, ...]:
        """The pins of the authorities whose device certificates are valid, the one that signs now last."""
        return tuple(map(certifying.pin_of, self._all(AuthorityKind.DEVICES)))

    def device_issuer_of(self, pin: bytes) -> bytes | None:
        """DER of the device authority with this pin, where it is in force: its certificates may be handed out again."""
        found = (one for one in self._all(AuthorityKind.DEVICES) if certifying.pin_of(one) == pin)
        return next(map(der_of, found), None)

    @property
    def est_bundle_der(self) -> list[bytes]:
        """Every certificate that /cacerts gives (RFC 7030 section 4.1.3): roots, newest first, and all below them."""
        kinds = (AuthorityKind.ROOT, *ISSUING)
        everyone = [one for kind in kinds for one in reversed(self._all(kind))]
        return [der_of(one) for one in everyone + self._crosses()]

    def issue_device(self, device: DeviceId, spki_der: bytes, *, serial: int, now_us: int) -> bytes:
        """A certificate of 90 days, DER. The serial is from `new_serial`, and logged before this is handed out."""
        key = certifying.p256_of(spki_der)
        return der_of(certifying.certify_device(device, key, self._signing(AuthorityKind.DEVICES), serial, now_us))

    def issue_server(self, hosts: Sequence[str], *, now_us: int) -> ServerCertificate:
        """A new key and a certificate of 90 days for IPv6 addresses and DNS names."""
        key = certifying.new_key()
        issuer = self._signing(AuthorityKind.SERVERS)
        leaf = certifying.certify_server(hosts, key.public_key(), issuer, certifying.new_serial(), now_us)
        chain = [leaf, issuer.certificate, *self._new_with_old()]
        return ServerCertificate(certifying.open_pem(key), b"".join(map(pem_of, chain)), certifying.not_after_us(leaf))

    def crl(self, revoked: Sequence[RevokedSerial], *, now_us: int) -> bytes:
        """PEM: a list of each device authority with what is revoked, and an empty one of each server authority.

        Serials are random, so a list that also names a neighbour's serials is right and one list a kind is enough.
        """
        return b"".join(
            certifying.revocation_list(
                self._issuer(one.name), revoked if kind is AuthorityKind.DEVICES else (), now_us
            ).public_bytes(Encoding.PEM)
            for kind in ISSUING
            for one in self._state.members[kind]
        )

    def roll_due(self, now_us: int) -> list[AuthorityKind]:
        """The issuing authorities that should be followed by a new one, because little of their time is left."""
        near_us = now_us + limits.ROLL_DAYS * limits.DAY_US
        return [kind for kind in ISSUING if certifying.not_after_us(self._active(kind)) < near_us]

    def roll_issuing(
        self, kind: AuthorityKind, *, now_us: int, root_keys: Path | None = None, distrust_old: bool = False
    ) -> None:
        """A new issuing authority. The old one signs no more; it stays trusted until its last certificate has ended.

        `root_keys` is the folder that `take_root_offline` moved the root's key to. `distrust_old` is for a stolen
        device authority: it is dropped at once, and with it every certificate that it signed.
        """
        if kind not in ISSUING:
            raise AuthorityError("a root is rolled with roll_root")
        if distrust_old and kind is not AuthorityKind.DEVICES:
            raise AuthorityError(
                "a stolen server authority cannot be distrusted from here: nodes trust whatever their root signed. "
                "Roll the root over, print new labels and bring them to the poles"
            )
        with self._changing():
            issuer = certifying.new_issuing(kind, self._root(root_keys), self.organisation, now_us)
            name = name_of(kind, issuer.certificate)
            followed = (Member(name),) if distrust_old else self._followed(kind, name, now_us)
            members = self._state.members | {kind: followed}
            self._change(replace(self._state, members=members), {name: issuer}, {})

    def roll_root(self, *, now_us: int, root_keys: Path | None = None) -> None:
        """A new root with new authorities under it, and each root certified by the other (RFC 4210 section 4.4).

        Nodes that pinned the old root trust the new one by that, for as long as the old one is valid. The other way
        about it holds while certificates from under the old root may still be shown. The new root's key lies in the
        folder; the old one's is of no more use and is removed from there.
        """
        with self._changing():
            old = self._root(root_keys)
            new = certifying.new_root(self.organisation, now_us)
            made = {name_of(AuthorityKind.ROOT, new.certificate): new}
            for kind in ISSUING:
                issuer = certifying.new_issuing(kind, new, self.organisation, now_us)
                made[name_of(kind, issuer.certificate)] = issuer
            crosses = {
                name_across(of.certificate, by.certificate): certifying.certify_across(of.certificate, by, now_us, days)
                for of, by, days in ((new, old, limits.ROOT_DAYS), (old, new, limits.LEAF_DAYS))
            }
            members = {kind: self._followed(kind, name, now_us) for kind, name in zip(AuthorityKind, made, strict=True)}
            state = replace(self._state, members=members, crosses=(*self._state.crosses, *crosses))
            self._change(state, made, crosses)

    def forget_ended(self, *, now_us: int) -> bool:
        """Remove what nothing valid depends on any more, with its keys; whether there was any. Daily is enough."""
        with self._changing():
            members = {
                kind: tuple(one for one in self._state.members[kind] if self._needed(kind, one, now_us))
                for kind in AuthorityKind
            }
            crosses = tuple(
                name for name in self._state.crosses if certifying.not_after_us(self._certificates[name]) > now_us
            )
            state = replace(self._state, members=members, crosses=crosses)
            if state == self._state:
                return False
            self._change(state, {}, {})
        return True

    def take_root_offline(self, to: Path) -> Path:
        """Move the root's key, still encrypted with the same secret, into another folder; returns its file there.

        Everything but rolling over goes on without it.
        """
        name = self._state.active(AuthorityKind.ROOT)
        here = self._folder / (name + KEY)
        there = to.absolute() / (name + KEY)
        with self._changing():
            if not here.exists():
                raise KeyMissingError(f"the root's key is not in {self._folder}: it is offline already")
            if there.resolve().is_relative_to(self._folder.resolve()):
                raise AuthorityError(
                    f"{to} is inside {self._folder}; name a folder elsewhere, such as a removable medium"
                )
            key = self._root(None).key
            to.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(to / (name + CERTIFICATE), self.root_pem)
            self._vault.write_key(there, key)
            if self._vault.read_key(there).private_numbers() != key.private_numbers():
                raise KeyDamagedError(f"{there} does not read back as it was written; nothing was removed")
            here.unlink()
            sync_folder(self._folder)
            if here.exists():
                raise AuthorityError(f"{here} is still there after it was removed; remove it by hand")
        return there

    def changed_on_disk(self) -> bool:
        """Whether another process changed it, as a roll-over does; then open it again."""
        return read_state(self._folder).revision != self._state.revision

    def certificates(self) -> list[Told]:
        """All of its certificates, roots first."""
        keys = set(self._state.key_names())
        named = [(kind.value, one.name) for kind in AuthorityKind for one in self._state.members[kind]]
        named += [("cross", name) for name in self._state.crosses]
        active = {self._state.active(kind) for kind in AuthorityKind}
        return [
            Told(
                role,
                certificate.subject.rfc4514_string(),
                certifying.pin_of(certificate),
                certifying.not_before_us(certificate),
                certifying.not_after_us(certificate),
                signs=name in active,
                key_here=name in keys and (self._folder / (name + KEY)).exists(),
            )
            for role, name in named
            for certificate in [self._certificates[name]]
        ]

    def _active(self, kind: AuthorityKind) -> x509.Certificate:
        return self._certificates[self._state.active(kind)]

    def _all(self, kind: AuthorityKind) -> list[x509.Certificate]:
        return [self._certificates[one.name] for one in self._state.members[kind]]

    def _crosses(self) -> list[x509.Certificate]:
        return [self._certificates[name] for name in self._state.crosses]

    def _new_with_old(self) -> list[x509.Certificate]:
        """Each later root by the one before it, the newest first: what leads from any older root to our servers."""
        place = {root.subject: place for place, root in enumerate(self._all(AuthorityKind.ROOT))}
        later = [one for one in self._crosses() if place[one.subject] > place.get(one.issuer, -1)]
        return sorted(later, key=lambda one: -place[one.subject])

    def _signing(self, kind: AuthorityKind) -> Issuer:
        return self._issuer(self._state.active(kind))

    def _issuer(self, name: str) -> Issuer:
        issuer = self._issuers.get(name)
        if issuer is None:
            certificate = self._certificates[name]
            key = read_issuer_key(self._vault, self._folder / (name + KEY), certificate)
            issuer = self._issuers[name] = Issuer(certificate, key)
        return issuer

    def _root(self, root_keys: Path | None) -> Issuer:
        """The root, with its key from the folder or from where it lies offline; it is not kept in memory."""
        name = self._state.active(AuthorityKind.ROOT)
        certificate = self._certificates[name]
        path = (root_keys or self._folder) / (name + KEY)
        if not path.exists():
            raise KeyMissingError(
                f"this needs the root's key, and {path} is not there: it is offline; bring its medium and name the "
                "folder that holds it"
            )
        return Issuer(certificate, read_issuer_key(self._vault, path, certificate))

    def _followed(self, kind: AuthorityKind, name: str, now_us: int) -> tuple[Member, ...]:
        *older, last = self._state.members[kind]
        return (*older, replace(last, superseded_us=now_us), Member(name))

    def _needed(self, kind: AuthorityKind, member: Member, now_us: int) -> bool:
        if member.superseded_us is None:
            return True
        ends_us = certifying.not_after_us(self._certificates[member.name])
        if kind is not AuthorityKind.ROOT:
            ends_us = min(ends_us, member.superseded_us + limits.LEAF_DAYS * limits.DAY_US)
        return ends_us > now_us

    def _check_signatures(self) -> None:
        roots = {root.subject: root for root in self._all(AuthorityKind.ROOT)}
        for name, certificate in self._certificates.items():
            try:
                certificate.verify_directly_issued_by(roots[certificate.issuer])
            except (KeyError, ValueError, TypeError, InvalidSignature) as error:
                raise KeyDamagedError(
                    f"{self._folder / (name + CERTIFICATE)} is not signed by a root of this authority; take the folder "
                    "from a backup"
                ) from error

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One change at a time, on what is the state now."""
        with locked(self._folder):
            if self.changed_on_disk():
                raise AuthorityError("another process changed the certificate authority meanwhile; do it again")
            yield

    def _change(self, state: State, made: dict[str, Issuer], crosses: dict[str, x509.Certificate]) -> None:
        state = replace(state, revision=self._state.revision + 1)
        write_change(self._folder, self._vault, state, made, crosses)
        kept = self._certificates | {name: one.certificate for name, one in made.items()} | crosses
        self._certificates = {name: kept[name] for name in state.certificate_names()}
        self._issuers = {name: one for name, one in self._issuers.items() if name in self._certificates}
        self._state = state
