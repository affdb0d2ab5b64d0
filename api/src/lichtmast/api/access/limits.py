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
PASSKEY_THREADS: Final = 2
PASSKEY_WAITING_MAX: Final = 32
"""Passkey answers that may wait for one of the threads; the next gets 503."""
KNOCK_NETWORK_BURST, KNOCK_NETWORK_PER_S = 60, 1.0
"""Passkey questions and answers, and tries of links, from one /64: so many at once, then so many a second."""
KNOCK_SITE_BURST, KNOCK_SITE_PER_S = 240, 4.0
"""The same from one /48."""
KNOCKERS_MAX: Final = 4_096
"""Networks, and sites, whose knocks are counted at one time."""
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
