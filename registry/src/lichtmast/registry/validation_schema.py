"""The table of the versions of the rules of validation; in the same metadata as `schema`.

Append-only: what a reading was judged by stays to be looked up.
"""

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, String, Table

from lichtmast.registry.schema import _trigger, metadata

validation_rules: Final = Table(
    "validation_rules",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("document", String, nullable=False),  # canonical JSON: equal texts are equal rules
    Column("note", String, nullable=False),
    Column("actor_kind", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("source", String, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)

_APPEND_ONLY: Final = "versions of the rules of validation are append-only"
_trigger(validation_rules, "validation_rules_update", "UPDATE ON validation_rules", _APPEND_ONLY)
_trigger(validation_rules, "validation_rules_delete", "DELETE ON validation_rules", _APPEND_ONLY)
_trigger(
    validation_rules,
    "validation_rules_insert",
    "INSERT ON validation_rules WHEN NEW.version <> (SELECT coalesce(max(version), 0) + 1 FROM validation_rules)",
    "versions of the rules of validation are numbered without gaps",
)
