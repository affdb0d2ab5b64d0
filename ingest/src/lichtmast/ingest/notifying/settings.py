"""What an operator settles about notifications: the mail server, who signs as sender, and where webhooks may lead."""

from dataclasses import dataclass, field
from email.errors import HeaderParseError
from email.headerregistry import Address
from enum import StrEnum
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Final

_OIN_DIGITS: Final = 20
_PORT_MAX: Final = 0xFFFF


class SmtpSecurity(StrEnum):
    """How the connection to the mail server is protected."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"
    """For a mail server on this machine alone."""


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """The mail server that takes our messages. Raises ValueError."""

    host: str
    sender: str
    """The address that messages are from."""
    port: int = 587
    security: SmtpSecurity = SmtpSecurity.STARTTLS
    user: str = ""
    """Empty: the server takes our messages without."""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    """Certificates that the server's is checked against, instead of the machine's own."""

    def __post_init__(self) -> None:
        try:
            address = Address(addr_spec=self.sender)
        except (HeaderParseError, ValueError, IndexError) as error:
            raise ValueError(f"from {self.sender[:100]!r} is no e-mail address") from error
        if not (address.username and address.domain and self.sender.isascii() and self.sender.isprintable()):
            raise ValueError(f"from {self.sender[:100]!r} is no e-mail address of ASCII characters")
        if not 0 < self.port <= _PORT_MAX:
            raise ValueError(f"port {self.port} is none; mail is taken at 587 (starttls) or 465 (tls)")
        if self.security is SmtpSecurity.NONE and not _is_loopback(self.host):
            raise ValueError(f"host {self.host!r} is not ::1, and off this machine mail is encrypted: starttls or tls")
        if bool(self.user) != bool(self.password):
            raise ValueError("user and password belong together: give both or neither")

    @property
    def domain(self) -> str:
        """What Message-IDs end in."""
        return self.sender.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class NotifyingSettings:
    """All of it. Raises ValueError."""

    page_url: str
    """Where people open an alert; ends in a slash."""
    smtp: SmtpSettings | None = None
    """None: e-mail channels fail, and say why."""
    oin: str = ""
    """The organisation's number (20 digits), for the source of CloudEvents as the NL GOV profile wants it."""
    allow_networks: tuple[IPv6Network, ...] = ()
    """Where webhooks may lead besides the public internet."""

    def __post_init__(self) -> None:
        if self.oin and not (len(self.oin) == _OIN_DIGITS and self.oin.isascii() and self.oin.isdigit()):
            raise ValueError(f"oin {self.oin[:40]!r} has not {_OIN_DIGITS} digits")

    @property
    def source(self) -> str:
        """Who sends CloudEvents."""
        return f"urn:nld:oin:{self.oin}:systeem:lichtmast" if self.oin else self.page_url


def _is_loopback(host: str) -> bool:
    try:
        return IPv6Address(host).is_loopback
    except ValueError:
        return False
