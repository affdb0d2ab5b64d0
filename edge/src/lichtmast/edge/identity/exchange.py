"""One exchange with the EST server from its beginning to the files that come of it: enrol, renew, or fetch authorities.

Blocking. The agent runs it in a process of its own (`python -m lichtmast.edge.identity`), which it ends when it takes
too long: nothing that a server sends gets into the memory of the agent.
"""

from base64 import encodebytes
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum, unique
from pathlib import Path
from typing import Any, Final, Self

from cryptography import x509

from lichtmast.edge.identity import est
from lichtmast.edge.identity.certificates import (
    as_pem,
    believed_roots,
    pin_of,
    read_bundle,
    read_certificate,
    read_issued,
    read_pem,
)
from lichtmast.edge.identity.errors import CertificateError, EstError, KeyFileError
from lichtmast.edge.identity.keeping import Certificate, IdentityFolder, pem_in
from lichtmast.edge.identity.keys import DeviceKey, load_key
from lichtmast.edge.identity.refusals import IdentityRefusedError, Refusal
from lichtmast.edge.identity.schedule import Outcome, Result, Step
from lichtmast.edge.identity.tls import Credentials, Moment
from lichtmast.wire.label import Label, parse_label, pin_text

_OK: Final = 200
_ACCEPTED: Final = 202
_SERVER_FAILS: Final = range(500, 600)
_TOO_MANY: Final = 429


@dataclass(frozen=True, slots=True)
class Order:
    """What the process is asked to do, as JSON on its standard input: nothing of it is secret."""

    step: Step
    label: str
    host: str
    port: int
    state: str
    key: str
    wall_us: int
    is_trusted: bool

    def to_fields(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """The inverse of `to_fields`."""
        return cls(**{**fields, "step": Step(fields["step"])})


def perform(order: Order) -> Outcome:
    """Do it, and say how it went; whatever may be expected of a server or a disk is an outcome."""
    try:
        return _Exchange(order).run()
    except IdentityRefusedError as error:
        return Outcome(Result.REFUSED, str(error), refusal=error.refusal)
    except EstError as error:
        return Outcome(Result.UNREACHABLE, str(error))
    except (CertificateError, KeyFileError) as error:
        return Outcome(Result.REFUSED, str(error))


@unique
class _Operation(StrEnum):
    """RFC 7030 section 3.2.2."""

    CACERTS = "cacerts"
    ENROLL = "simpleenroll"
    REENROLL = "simplereenroll"


class _Exchange:
    """The state of one exchange."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._label: Label = parse_label(order.label)
        self._folder = IdentityFolder(Path(order.state), Path(order.key))
        self._server = est.Server(order.host, order.port)
        self._moment = Moment(order.wall_us, order.is_trusted)

    def run(self) -> Outcome:
        key = load_key(self._folder.key)
        if key.pin != self._label.key_pin:
            raise KeyFileError(
                f"the key of this device has the pin {pin_text(key.pin)}, and its label another; make a label for it"
            )
        self._folder.make()
        bundle, roots = self._authorities()
        if self._order.step is Step.REFRESH:
            return Outcome(Result.DONE, "the authorities are known")
        return self._certificate(key, bundle, roots)

    def _authorities(self) -> tuple[list[x509.Certificate], list[x509.Certificate]]:
        """Whom to believe: the bundle of a server that is believed, and its roots. The roots are kept."""
        kept = self._folder.load().trust_file
        if kept is not None:
            try:
                return self._fetched(kept)
            except IdentityRefusedError as error:
                if error.refusal is not Refusal.SERVER_UNTRUSTED:
                    raise
        # Nobody is believed, or not this server. What anybody sends is good for one thing: to find in it the root
        # whose key the label pins, or a root whose key a believed one has signed. Then the server is asked again.
        trusted = [] if kept is None else read_pem(pem_in(kept))
        bundle = self._bundle(est.ask(self._server, _Operation.CACERTS, trust=None, moment=self._moment))
        roots = believed_roots(bundle, trusted, self._label.root_pin)
        if not roots or {pin_of(one) for one in roots} == {pin_of(one) for one in trusted}:
            raise IdentityRefusedError(Refusal.SERVER_UNTRUSTED)
        return self._fetched(self._keep(roots))

    def _fetched(self, trust: Path) -> tuple[list[x509.Certificate], list[x509.Certificate]]:
        bundle = self._bundle(est.ask(self._server, _Operation.CACERTS, trust=trust, moment=self._moment))
        roots = believed_roots(bundle, read_pem(pem_in(trust)), self._label.root_pin)
        if not roots:
            raise CertificateError("the EST server's bundle holds none of the roots that this device trusts")
        self._keep(roots)
        return bundle, roots

    def _keep(self, roots: list[x509.Certificate]) -> Path:
        self._folder.keep_trust({"roots": [pin_text(pin_of(one)) for one in roots]}, as_pem(roots))
        kept = self._folder.load().trust_file
        if kept is None:
            raise CertificateError("the disk does not keep what is written; replace the card")
        return kept

    def _bundle(self, answer: est.Answer) -> list[x509.Certificate]:
        if answer.status != _OK:
            raise EstError(f"the EST server {self._server} does not tell its authorities: {answer.reason}")
        return read_bundle(answer.body)

    def _certificate(self, key: DeviceKey, bundle: list[x509.Certificate], roots: list[x509.Certificate]) -> Outcome:
        device, kept = self._label.device, self._folder.load()
        trust = kept.trust_file
        credentials, renewed = None, None
        if self._order.step is Step.RENEW and trust is not None:
            credentials = Credentials(trust, kept.certificate_file, self._folder.key)
            renewed = read_pem(pem_in(kept.certificate_file))[0]
            read_certificate(renewed, device=device, spki=key.spki)
        answer = est.ask(
            self._server,
            _Operation.REENROLL if credentials else _Operation.ENROLL,
            trust=trust,
            moment=self._moment,
            credentials=credentials,
            request=encodebytes(key.request(device, renewed)),
        )
        if answer.status == _ACCEPTED:
            return Outcome(Result.LATER, "no engineer has claimed this device yet", retry_s=answer.retry_s)
        if answer.status == _TOO_MANY or answer.status in _SERVER_FAILS:
            return Outcome(
                Result.UNREACHABLE, f"the EST server wants it later: {answer.reason}", retry_s=answer.retry_s
            )
        if answer.status != _OK:
            return Outcome(Result.REFUSED, f"the EST server refuses: {answer.reason}", retry_s=answer.retry_s)
        issued, pem = read_issued(
            read_bundle(answer.body), bundle, roots, device=device, spki=key.spki, moment=self._moment
        )
        self._folder.keep_certificate(issued, pem)
        return Outcome(Result.DONE, "the certificate is here", certificate=issued)


def kept_certificate(folder: IdentityFolder, label: Label) -> Certificate | None:
    """The certificate that is kept, read anew and held against the key. Raises CertificateError, KeyFileError."""
    kept = folder.load()
    if kept.certificate is None:
        return None
    leaf = read_pem(pem_in(kept.certificate_file))[0]
    return read_certificate(leaf, device=label.device, spki=load_key(folder.key).spki)
