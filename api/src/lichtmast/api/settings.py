"""What an operator can choose about the pages and the API. Reads no environment and no files."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_CONTACT: Final = re.compile(r"(mailto:[^\s@]+@[^\s@]+|https://\S+|tel:\+[0-9-]+)", re.ASCII)


class SettingsError(ValueError):
    """A setting cannot work; the text says which one and what would."""


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Settings of the API; every field is documented in docs/reference/api.md."""

    public_url: str | None = None
    """The address that people use, such as https://lichtmast.example: links begin with it, and HSTS follows its scheme.
    Where None, links begin with the address of the request, and only address literals and localhost are served."""
    allowed_hosts: tuple[str, ...] = ()
    """More host names that are served, besides public_url's, address literals and localhost."""
    organisation: str = "de gemeente"
    """Who manages the lampposts, as it reads in a sentence."""
    contact_url: str | None = None
    """Where people can ask or complain: an https or mailto address, shown on every page."""
    security_contact: str | None = None
    """For /.well-known/security.txt (RFC 9116): mailto:, https: or tel:. Where None, there is no such file."""
    worker_threads: int = 4
    """Reads from registry and store that run at one time."""
    requests_waiting_max: int = 64
    """Requests that may wait for a worker thread; the next one gets 503."""
    catalogue_check_interval_s: float = 1.0
    """How often at most the register is asked whether anything changed."""

    def __post_init__(self) -> None:
        if self.public_url is not None:
            parts = urlsplit(self.public_url)
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
                raise SettingsError(f"public_url {self.public_url[:100]!r} is not of the form https://name.example")
            if parts.path not in {"", "/"}:
                raise SettingsError(
                    f"public_url {self.public_url[:100]!r} has a path; serve the API at the root of a host"
                )
        for name in ("worker_threads", "requests_waiting_max"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}, must be at least 1")
        for name in ("security_contact", "contact_url"):
            value = getattr(self, name)
            if value is not None and not _CONTACT.fullmatch(value):
                raise SettingsError(f"{name} {value[:100]!r} is no mailto:, https: or tel: address")

    @property
    def origin(self) -> str | None:
        """public_url without a slash at its end."""
        return None if self.public_url is None else self.public_url.rstrip("/")
