"""The file that names the OpenID Connect provider of the operator's organisation.

issuer = "https://login.example.nl"
client_id = "lichtmast"
client_secret_file = "/etc/lichtmast/openid-secret"
strong = ["mfa"]                # values of amr that stand for a second factor; mfa where left out
[claims]                        # a token must have one of the values of each
tid = ["8d3f…"]
"""

import tomllib
from pathlib import Path
from typing import Any

from lichtmast.api.access.openid import OpenIdSettings
from lichtmast.suite.errors import SuiteError

_KEYS = {"issuer", "client_id", "client_secret_file", "strong", "claims"}


def read_openid(path: Path) -> OpenIdSettings:
    """Read it, and the secret that it names; a relative name counts from the file's folder. Raises SuiteError."""
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        unknown = sorted(table.keys() - _KEYS)
        if unknown:
            raise SuiteError(f"{path}: unknown: {', '.join(unknown)}; there are {', '.join(sorted(_KEYS))}")
        secret = path.parent / _text(table, "client_secret_file", path)
        return OpenIdSettings(
            _text(table, "issuer", path),
            _text(table, "client_id", path),
            secret.read_text(encoding="utf-8").strip(),
            {name: _texts(values, path) for name, values in table.get("claims", {}).items()},
            frozenset(_texts(table.get("strong", ["mfa"]), path)),
        )
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path}, or the secret that it names, cannot be read: {error}") from error
    except ValueError as error:
        raise SuiteError(f"{path}: {error}") from error


def _text(table: dict[str, Any], key: str, path: Path) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise SuiteError(f"{path}: {key} is missing or no text")
    return value


def _texts(values: object, path: Path) -> tuple[str, ...]:
    if not isinstance(values, list) or not values or not all(isinstance(one, str) for one in values):
        raise SuiteError(f'{path}: strong and each of [claims] are lists of text, such as ["mfa"]')
    return tuple(values)
