"""When a certificate is renewed, and when its end is announced to people. Pure: time and chance are arguments."""

from collections.abc import Collection
from dataclasses import dataclass

from cryptography import x509

from lichtmast.registry.pki import certifying
from lichtmast.registry.pki.errors import AuthorityError
from lichtmast.registry.pki.limits import ANNOUNCED_DAYS, DAY_US, RENEWAL_JITTER


@dataclass(frozen=True, slots=True)
class ServerCertificateDue:
    """What a server's certificate asks for now: to be renewed, and an announcement of so many days before its end."""

    renew: bool
    announce_days: int | None


def renewal_at_us(begin_us: int, end_us: int, chance: float) -> int:
    """Two thirds of a certificate's life, and up to a twentieth of it more by `chance` of 0 to 1.

    All devices of a street may have been certified in one hour; chance spreads their renewals.
    """
    return begin_us + int((end_us - begin_us) * (2 / 3 + RENEWAL_JITTER * chance))


def server_certificate_due(
    chain_pem: bytes, *, now_us: int, chance: float, announced: Collection[int]
) -> ServerCertificateDue:
    """What the first certificate of a PEM file asks for, also where it is an operator's own.

    `announced` are the days that were announced for this certificate; the caller keeps them. One who was away is told
    the nearest announcement alone. Raises AuthorityError where there is no certificate in it.
    """
    begin_us, end_us = certificate_times_us(chain_pem)
    near = [days for days in ANNOUNCED_DAYS if end_us - now_us <= days * DAY_US]
    due = min(near, default=None)
    return ServerCertificateDue(
        renew=now_us >= renewal_at_us(begin_us, end_us, chance),
        announce_days=None if due in announced else due,
    )


def certificate_times_us(chain_pem: bytes) -> tuple[int, int]:
    """From when to when the first certificate of a PEM file is valid. Raises AuthorityError."""
    try:
        certificate = x509.load_pem_x509_certificate(chain_pem)
    except ValueError as error:
        raise AuthorityError("there is no PEM certificate in what should be a server's certificate") from error
    return certifying.not_before_us(certificate), certifying.not_after_us(certificate)
