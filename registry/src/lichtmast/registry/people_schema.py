"""The tables about people, in the same metadata as `schema`; kept apart from those about lampposts and devices.

What could be used to sign in is never here as it is: passwords as argon2id, tickets, sessions, tokens and recovery
codes as SHA-256 of 80 random bits or more, TOTP seeds sealed with a key that is not in the database.
"""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
)

from lichtmast.registry.schema import metadata

account: Final = Table(
    "account",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("login", String(254), nullable=False, unique=True),
    Column("name", String, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("handle", LargeBinary(32), nullable=False, unique=True),  # what an authenticator knows the account by
    Column("password_hash", String),
    Column("totp_sealed", LargeBinary),
    Column("totp_step", BigInteger),  # the last time step whose code was used: each code once
    Column("created_at_us", BigInteger, nullable=False),
)

role_grant: Final = Table(
    "role_grant",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("tenant", String(6), nullable=False),  # a tenant's code, or * for all of them
    Column("role", String, nullable=False),
    Column("area", JSON(none_as_null=True)),
    Column("until_us", BigInteger),
    CheckConstraint("role IN ('viewer', 'engineer', 'manager', 'auditor', 'admin')", name="role"),
    Index(None, "account_id"),
)

recovery_code: Final = Table(
    "recovery_code",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Index(None, "account_id"),
)

passkey: Final = Table(
    "passkey",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("credential_id", LargeBinary, nullable=False, unique=True),
    Column("public_key", LargeBinary, nullable=False),
    Column("sign_count", BigInteger, nullable=False),
    Column("name", String, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("used_at_us", BigInteger),
    Index(None, "account_id"),
)

openid_binding: Final = Table(
    "openid_binding",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("issuer", String, nullable=False),
    Column("subject", String, nullable=False),
    UniqueConstraint("issuer", "subject"),
    Index(None, "account_id"),
)

session: Final = Table(
    "session",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("hash", LargeBinary(32), nullable=False, unique=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("strength", String, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("seen_at_us", BigInteger, nullable=False),
    Column("source", String, nullable=False),
    Column("agent", String, nullable=False),
    CheckConstraint("strength IN ('password', 'second_factor')", name="strength"),
    Index(None, "account_id"),
)

api_token: Final = Table(
    "api_token",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("hash", LargeBinary(32), nullable=False, unique=True),
    Column("prefix", String(8), nullable=False),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("name", String, nullable=False),
    Column("grants", JSON, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Column("used_day", Integer),  # days since 1970; no finer, so that a read is not a write
    Index(None, "account_id"),
)

ticket: Final = Table(
    # Single use, and short: first run, invitation, reset, half a sign-in, a passkey challenge.
    "ticket",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("purpose", String, nullable=False),
    Column("account_id", ForeignKey("account.id")),
    Column("content", LargeBinary, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Index(None, "until_us"),
)

attempt: Final = Table(
    # What throttles sign-in. Here and not in memory: a restart forgives nobody.
    "attempt",
    metadata,
    Column("key", String, primary_key=True),
    Column("level", Float, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    Index(None, "last_us"),
)

known_network: Final = Table(
    # From where an account signed in before: strangers who guess cannot keep its owner out there.
    "known_network",
    metadata,
    Column("account_id", ForeignKey("account.id"), primary_key=True),
    Column("network", String, primary_key=True),
    Column("seen_at_us", BigInteger, nullable=False),
)
