"""Passkeys (WebAuthn level 2): what the browser is asked, and whether its answer holds. Discoverable, user verified."""

import json
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Connection, delete, insert, select, update
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from lichtmast.registry.people import limits
from lichtmast.registry.people.errors import NotAcceptedError, NotNowError, UnknownPersonError
from lichtmast.registry.people.records import Account, PasskeyRecord
from lichtmast.registry.people_schema import account, passkey

_P = passkey.c


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """What browsers know this site by: passkeys belong to a host name (an address has none), and to its origin."""

    host: str
    origin: str
    name: str = "Lichtmast"


@dataclass(frozen=True, slots=True)
class StoredPasskey:
    """A passkey as its answers are verified."""

    id: int
    account_id: int
    public_key: bytes
    sign_count: int


def questions_new(connection: Connection, of: Account, party: RelyingParty, challenge: bytes) -> dict[str, Any]:
    """What `navigator.credentials.create` is given. Raises NotNowError."""
    rows = connection.execute(select(_P.credential_id).where(_P.account_id == of.id)).scalars().all()
    if len(rows) >= limits.PASSKEYS_PER_ACCOUNT_MAX:
        raise NotNowError(f"an account has at most {limits.PASSKEYS_PER_ACCOUNT_MAX} passkeys; remove one first")
    options = generate_registration_options(
        rp_id=party.host,
        rp_name=party.name,
        user_id=connection.execute(select(account.c.handle).where(account.c.id == of.id)).scalar_one(),
        user_name=of.login,
        user_display_name=of.name,
        challenge=challenge,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=one) for one in rows],
    )
    return cast("dict[str, Any]", json.loads(options_to_json(options)))


def questions_sign_in(party: RelyingParty, challenge: bytes) -> dict[str, Any]:
    """What `navigator.credentials.get` is given; the browser knows by the host name whose passkeys it has."""
    options = generate_authentication_options(
        rp_id=party.host, challenge=challenge, user_verification=UserVerificationRequirement.REQUIRED
    )
    return cast("dict[str, Any]", json.loads(options_to_json(options)))


def add(
    connection: Connection, of: Account, party: RelyingParty, challenge: bytes, credential: str, name: str, at_us: int
) -> None:
    """Keep a new passkey. Raises NotAcceptedError or NotNowError."""
    name = name.strip()
    if not (0 < len(name) <= limits.NAME_CHARACTERS_MAX and name.isprintable()):
        raise NotAcceptedError(f"a passkey's name has 1 to {limits.NAME_CHARACTERS_MAX} readable characters")
    _require_size(credential)
    try:
        verified = verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=party.host,
            expected_origin=party.origin,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise NotAcceptedError("the browser's answer is no passkey for this site; begin again") from error
    if connection.execute(select(_P.id).where(_P.credential_id == verified.credential_id)).first():
        raise NotNowError("this passkey is known already")
    connection.execute(
        insert(passkey).values(
            account_id=of.id,
            credential_id=verified.credential_id,
            public_key=verified.credential_public_key,
            sign_count=verified.sign_count,
            name=name,
            created_at_us=at_us,
        )
    )


def account_of(connection: Connection, credential: str) -> StoredPasskey | None:
    """The passkey that an answer claims to be of."""
    _require_size(credential)
    try:
        credential_id = base64url_to_bytes(json.loads(credential)["id"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    row = connection.execute(
        select(_P.id, _P.account_id, _P.public_key, _P.sign_count).where(_P.credential_id == credential_id)
    ).one_or_none()
    return None if row is None else StoredPasskey(*row)


def verified(stored: StoredPasskey, party: RelyingParty, challenge: bytes, credential: str) -> int | None:
    """The count of uses that the answer tells, where it is the passkey's own, to this question; else None.

    A counter that went back says that there are two of it: refused (WebAuthn level 2 section 6.1.1).
    """
    try:
        answer = verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=party.host,
            expected_origin=party.origin,
            credential_public_key=stored.public_key,
            credential_current_sign_count=stored.sign_count,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError):
        return None
    return answer.new_sign_count


def used(connection: Connection, stored: StoredPasskey, sign_count: int, at_us: int) -> bool:
    """Note a use; False where the passkey was removed, or used, since it was read."""
    same = (_P.id == stored.id) & (_P.sign_count == stored.sign_count)
    return bool(
        connection.execute(update(passkey).where(same).values(sign_count=sign_count, used_at_us=at_us)).rowcount
    )


def listed(connection: Connection, account_id: int) -> list[PasskeyRecord]:
    """The account's passkeys, oldest first."""
    rows = connection.execute(
        select(_P.id, _P.name, _P.created_at_us, _P.used_at_us).where(_P.account_id == account_id).order_by(_P.id)
    )
    return [PasskeyRecord(*row) for row in rows]


def remove(connection: Connection, account_id: int, passkey_id: int) -> None:
    """Forget a passkey. Raises UnknownPersonError."""
    if not connection.execute(delete(passkey).where(_P.id == passkey_id, _P.account_id == account_id)).rowcount:
        raise UnknownPersonError("there is no such passkey")


def _require_size(credential: str) -> None:
    if len(credential) > limits.CREDENTIAL_BYTES_MAX:
        raise NotAcceptedError(f"a passkey's answer has at most {limits.CREDENTIAL_BYTES_MAX} bytes")
