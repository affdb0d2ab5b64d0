"""People: accounts, what they sign in with, what they may, and the sessions and tokens that stand for them.

`PeopleBook.open(path, Seal.from_secret(...))` is the way in. Knows nothing of HTTP: cookies, pages and redirects are
the API's.
"""

from lichtmast.registry.people.book import PeopleBook
from lichtmast.registry.people.credentials import CredentialBook, TotpOffer
from lichtmast.registry.people.desk import Visit
from lichtmast.registry.people.errors import NotAcceptedError, NotNowError, PeopleError, UnknownPersonError
from lichtmast.registry.people.passkeys import RelyingParty
from lichtmast.registry.people.passwords import Passwords
from lichtmast.registry.people.records import (
    EVERY_TENANT,
    Account,
    Area,
    Bearer,
    Grant,
    HeldGrant,
    PasskeyRecord,
    Place,
    Role,
    SessionRecord,
    Strength,
    TokenRecord,
)
from lichtmast.registry.people.sealing import Seal
from lichtmast.registry.people.sign_in import (
    CodeNeeded,
    SignedIn,
    SignInAnswer,
    SignInBook,
    SignInReason,
    SignInRefused,
)
from lichtmast.registry.people.tickets import Purpose

__all__ = [
    "EVERY_TENANT",
    "Account",
    "Area",
    "Bearer",
    "CodeNeeded",
    "CredentialBook",
    "Grant",
    "HeldGrant",
    "NotAcceptedError",
    "NotNowError",
    "PasskeyRecord",
    "Passwords",
    "PeopleBook",
    "PeopleError",
    "Place",
    "Purpose",
    "RelyingParty",
    "Role",
    "Seal",
    "SessionRecord",
    "SignInAnswer",
    "SignInBook",
    "SignInReason",
    "SignInRefused",
    "SignedIn",
    "Strength",
    "TokenRecord",
    "TotpOffer",
    "UnknownPersonError",
    "Visit",
]
