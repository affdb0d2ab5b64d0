"""Every limit about people, named once. Units are last in the names."""

from typing import Final

LOGIN_CHARACTERS_MAX: Final = 150
NAME_CHARACTERS_MAX: Final = 100
PASSWORD_CHARACTERS_MIN: Final = 12
PASSWORD_CHARACTERS_MAX: Final = 200
"""A password is hashed whole; longer ones would only cost time."""
GRANTS_PER_ACCOUNT_MAX: Final = 100
AREA_POINTS_MAX: Final = 100

TOTP_STEP_S: Final = 30
TOTP_STEPS_ASIDE: Final = 1
"""How many time steps a clock may be off, either way."""
TOTP_SEED_BYTES: Final = 20
RECOVERY_CODES: Final = 10
RECOVERY_CODE_BYTES: Final = 10
PASSKEYS_PER_ACCOUNT_MAX: Final = 10
CREDENTIAL_BYTES_MAX: Final = 16 * 1024

SECRET_BYTES: Final = 32
"""Sessions, tickets and tokens."""
SESSION_IDLE_S: Final = 8 * 3600
"""A working day: who put the phone away in the evening signs in again in the morning."""
SESSION_LIFE_S: Final = 7 * 24 * 3600
SESSION_SEEN_EVERY_S: Final = 300
"""How exactly the register knows when a session was last used: finer would make each read a write."""
SESSIONS_PER_ACCOUNT_MAX: Final = 20
"""The oldest goes."""
RECENT_S: Final = 15 * 60
"""How long after signing in credentials may be changed without signing in again."""
AGENT_CHARACTERS_MAX: Final = 100

TOKENS_PER_ACCOUNT_MAX: Final = 50
TOKEN_DAYS_MAX: Final = 366

LINK_S: Final = 24 * 3600
"""First run, invitation, reset."""
HALF_SIGN_IN_S: Final = 5 * 60
"""Between the password and the code."""
CHALLENGE_S: Final = 5 * 60
CHALLENGES_USED_MAX: Final = 10_000
"""Passkey challenges that are remembered as answered. Where there are more, all that are as old as the oldest end."""

FREE_ATTEMPTS: Final = 5
"""Wrong attempts by one network on one account before it has to wait."""
FREE_ATTEMPTS_OF_NETWORK: Final = 20
"""The same for one network on any accounts: a town hall is one network."""
FREE_ATTEMPTS_ON_ACCOUNT: Final = 50
"""The same on one account from everywhere that it has never signed in from."""
DELAY_S_MAX: Final = 15 * 60
DELAY_ON_ACCOUNT_S_MAX: Final = 5 * 60
FORGIVEN_EVERY_S: Final = 10 * 60
"""One attempt is forgotten in this time."""
KNOWN_NETWORKS_MAX: Final = 20
KNOWN_NETWORK_S: Final = 90 * 24 * 3600
ATTEMPT_KEPT_S: Final = 24 * 3600
