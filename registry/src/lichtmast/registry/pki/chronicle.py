"""Changes to the authority, in the log of changes.

They are made in files, so they cannot stand in one transaction with their event: the event is written right after.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from lichtmast.registry.auditing import Actor, Event, append
from lichtmast.registry.database import open_engine, writing


class AuthorityAction(StrEnum):
    """What is logged; docs/reference/certificates.md lists them."""

    MADE = "authority.made"
    ROLLED = "authority.rolled"
    ROOT_OFFLINE = "authority.root_offline"
    SERVER_CERTIFIED = "authority.server_certified"


def log_authority(
    register: Path, action: AuthorityAction, subject: str, *, by: Actor, at_us: int, after: Mapping[str, Any]
) -> None:
    """Log what was just done to one authority, by its kind, or for one server. Raises RegistryUnavailableError."""
    engine = open_engine(register)
    try:
        with writing(engine) as connection:
            append(connection, Event(action, "authority", subject, by, at_us, after=after))
    finally:
        engine.dispose()
