"""What can be set of a Lichtmast that runs in one process. Read once, passed as a value."""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final

from lichtmast.api.access.openid import OpenIdSettings
from lichtmast.suite.errors import SuiteError

TOWN_SEED: Final = 402
"""What makes every simulated town the same, unless told otherwise."""

_NAME: Final = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class SecureSettings:
    """What there is to choose where everything is encrypted. Raises SuiteError.

    `names` are the DNS names and IPv6 literals by which devices and people reach this server besides `host`; its
    certificates carry them. `page_certificate` and `page_key` are PEM files of the operator's own for the pages and
    the API; where None, those have a certificate of our own authority, which browsers do not know.
    """

    est_port: int = 9443
    names: tuple[str, ...] = ()
    page_certificate: Path | None = None
    page_key: Path | None = None
    openid: OpenIdSettings | None = None
    """Where people of the operator's organisation sign in too; None: with their account here alone."""

    def __post_init__(self) -> None:
        for name in self.names:
            if not (_NAME.fullmatch(name) or _address(name) is not None):
                raise SuiteError(f"--name {name[:100]!r} is neither a DNS name in lower case nor an IPv6 literal")
            if name.replace(".", "").isdigit():
                raise SuiteError(f"--name {name} is an IPv4 address; everything here speaks IPv6")
        if (self.page_certificate is None) != (self.page_key is None):
            raise SuiteError("--tls-certificate and --tls-key belong together: give both or neither")


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the doors and pages listen, and how the log writes. A port of 0 takes a free one. Raises SuiteError.

    `sync_interval` is `always`, or how long the log may hold messages before it fsyncs them (`1s`): faster, and safe
    only where the log is replicated. `secure` None is for development on loopback: everything is open and plaintext.
    """

    host: str = "::1"
    http_port: int = 8080
    mqtt_port: int = 1883
    coap_port: int = 5683
    sync_interval: str = "always"
    secure: SecureSettings | None = None
    security_contact: str | None = None
    """For /.well-known/security.txt (RFC 9116): mailto:, https: or tel:."""

    def __post_init__(self) -> None:
        address = _address(self.host)
        if address is None:
            raise SuiteError(f"host {self.host!r} is not an IPv6 address literal; use ::1")
        if self.secure is None and not address.is_loopback:
            raise SuiteError(
                f"host {self.host} is not loopback, and off loopback nothing is plaintext: there, everything is "
                "encrypted and devices show certificates (--secure)"
            )
        if self.secure is not None and address.is_unspecified and not self.secure.names:
            raise SuiteError(
                f"host {self.host} is every address of this machine, so say which devices and people use: "
                "--name lichtmast.example.nl or --name 2001:db8::1, as often as needed"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """What certificates of this server name: the host, and what else was given."""
        own = () if IPv6Address(self.host.partition("%")[0]).is_unspecified else (self.host.partition("%")[0],)
        given = () if self.secure is None else self.secure.names
        return tuple(dict.fromkeys((*own, *given)))


def is_loopback(host: str) -> bool:
    """Whether a host is an IPv6 literal of this machine alone."""
    address = _address(host)
    return address is not None and address.is_loopback


def _address(text: str) -> IPv6Address | None:
    try:
        return IPv6Address(text)
    except ValueError:
        return None
