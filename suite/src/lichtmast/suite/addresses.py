"""By which addresses people and devices reach this server, as its links, certificates and pages write them."""

from lichtmast.api import ApiSettings
from lichtmast.suite.settings import Settings


def bracketed(name: str) -> str:
    """A host as it stands in a URL (RFC 3986 section 3.2.2)."""
    return f"[{name}]" if ":" in name else name


def page_url(settings: Settings, port: int) -> str:
    """Where people find the pages: by the first DNS name where there is one, since passkeys belong to names."""
    scheme = "http" if settings.secure is None else "https"
    name = _dns_name(settings) or settings.names[0]
    return f"{scheme}://{bracketed(name)}:{port}/"


def api_settings(settings: Settings, port: int) -> ApiSettings:
    """What the pages and the API are told of it."""
    if settings.secure is None:
        return ApiSettings(security_contact=settings.security_contact)
    name = _dns_name(settings)
    return ApiSettings(
        public_url=None if name is None else page_url(settings, port),
        allowed_hosts=tuple(one for one in settings.names if ":" not in one),
        security_contact=settings.security_contact,
    )


def _dns_name(settings: Settings) -> str | None:
    return next((one for one in settings.names if ":" not in one), None)
