"""What can go wrong with people, as part of the register's tree.

RegistryError
└── PeopleError                the text says what happened and the next step
    ├── UnknownPersonError     no such account, passkey, session, token, grant or ticket
    ├── NotAcceptedError       a login, password, name, grant or code that cannot be
    └── NotNowError            the state of the account forbids it: its last second factor, a full list, the last admin
"""

from lichtmast.registry.errors import RegistryError


class PeopleError(RegistryError):
    """Root of what can go wrong with people."""


class UnknownPersonError(PeopleError):
    """No such account, passkey, session, token, grant or ticket."""


class NotAcceptedError(PeopleError):
    """What was given cannot be; nothing has changed."""


class NotNowError(PeopleError):
    """The state of the account forbids it; nothing has changed."""
