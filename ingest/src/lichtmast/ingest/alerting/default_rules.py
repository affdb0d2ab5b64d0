"""The rules that a municipality begins with: documents for the register's `put_rules`."""

import tomllib
from importlib.resources import files
from typing import Any


def default_rules(tenant: str) -> list[dict[str, Any]]:
    """The documents for one tenant, each counted rule before the fleet rule that counts it."""
    text = files("lichtmast.ingest.alerting").joinpath("default_rules.toml").read_text(encoding="utf-8")
    return [{"tenant": tenant, **rule} for rule in tomllib.loads(text)["rule"]]
