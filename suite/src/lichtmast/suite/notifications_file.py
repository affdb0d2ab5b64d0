"""The file of the data folder that says how notifications leave: `notifications.toml`, missing where nobody has to.

oin = "00000001234567890000"           # the organisation, for CloudEvents; optional
allow_networks = ["2001:db8:7::/48"]   # where webhooks may lead besides the public internet
[smtp]
host = "mail.example.nl"
port = 587
security = "starttls"                  # or tls; none for a mail server at ::1
from = "lichtmast@example.nl"
user = "lichtmast"                     # optional, with
password_file = "/etc/lichtmast/mail-password"
ca_file = "/etc/lichtmast/mail-ca.pem" # optional
"""

import tomllib
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any, Final

from lichtmast.ingest.notifying import NotifyingSettings, SmtpSecurity, SmtpSettings
from lichtmast.suite.errors import SuiteError

NAME: Final = "notifications.toml"
_KEYS: Final = {"oin", "allow_networks", "smtp"}
_SMTP_KEYS: Final = {"host", "port", "security", "from", "user", "password_file", "ca_file"}


def read_notifications(folder: Path, page_url: str) -> NotifyingSettings:
    """Read the file of this folder, and the password that it names; without a file, what holds then.

    Relative names count from the folder. Raises SuiteError.
    """
    path = folder / NAME
    if not path.exists():
        return NotifyingSettings(page_url)
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        _require_known(table, _KEYS, path)
        networks = table.get("allow_networks", [])
        if not isinstance(networks, list):
            raise SuiteError(f'{path}: allow_networks is a list of prefixes, such as ["2001:db8:7::/48"]')
        return NotifyingSettings(
            page_url,
            _smtp(table.get("smtp"), path),
            _text(table, "oin", path, usual=""),
            tuple(IPv6Network(one) for one in networks),
        )
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path}, or the password that it names, cannot be read: {error}") from error
    except ValueError as error:
        raise SuiteError(f"{path}: {error}") from error


def _smtp(table: object, path: Path) -> SmtpSettings | None:
    if table is None:
        return None
    if not isinstance(table, dict):
        raise SuiteError(f"{path}: smtp is a table: [smtp]")
    _require_known(table, _SMTP_KEYS, path)
    security = SmtpSecurity(_text(table, "security", path, usual="starttls"))
    port = table.get("port", 465 if security is SmtpSecurity.TLS else 587)
    if not isinstance(port, int) or isinstance(port, bool):
        raise SuiteError(f"{path}: port is no number")
    password_file, ca_file = (_text(table, key, path, usual="") for key in ("password_file", "ca_file"))
    return SmtpSettings(
        _text(table, "host", path),
        _text(table, "from", path),
        port,
        security,
        _text(table, "user", path, usual=""),
        (path.parent / password_file).read_text(encoding="utf-8").strip() if password_file else "",
        path.parent / ca_file if ca_file else None,
    )


def _require_known(table: dict[str, Any], keys: set[str], path: Path) -> None:
    unknown = sorted(table.keys() - keys)
    if unknown:
        raise SuiteError(f"{path}: unknown: {', '.join(unknown)}; there are {', '.join(sorted(keys))}")


def _text(table: dict[str, Any], key: str, path: Path, usual: str | None = None) -> str:
    value = table.get(key, usual)
    if not isinstance(value, str) or (not value and usual is None):
        raise SuiteError(f"{path}: {key} is missing or no text")
    return value
