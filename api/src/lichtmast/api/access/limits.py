"""Every limit of signing in and managing over HTTP, named once. Units are last in the names."""

from typing import Final

BODY_BYTES_MAX: Final = 64 * 1024
"""Of any request that may have a body; refused before it is parsed."""
CREDENTIAL_CHARACTERS_MAX: Final = 400
"""Of an Authorization header or a session cookie."""
FORM_FIELDS_MAX: Final = 20
SIGN_IN_THREADS: Final = 2
"""Passwords that are verified at one time: each takes 64 MiB."""
SIGN_IN_WAITING_MAX: Final = 32
"""Sign-ins that may wait for one of the threads; the next gets 503."""
LOOKUP_THREADS: Final = 4
LOOKUP_WAITING_MAX: Final = 256
"""Requests that may wait to learn who asks; the next gets 503."""
OPENID_ANSWER_BYTES_MAX: Final = 256 * 1024
"""Of what an OpenID provider answers."""
OPENID_TIMEOUT_S: Final = 10.0
OPENID_KEYS_KEPT_S: Final = 3600
"""How long the keys of a provider are used without asking again."""
OPENID_KEYS_EVERY_S: Final = 30
"""How often at most a key that is not known makes us ask."""
OPENID_ROUND_S: Final = 600
"""What a person may take at the provider's pages."""
OPENID_CLOCK_ASIDE_S: Final = 60
