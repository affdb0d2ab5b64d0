"""Option numbers by the names of their standards, and what the door accepts of each.

An option that is missing here is unrecognised: 4.02 where critical, ignored where elective (RFC 7252 section 5.4.1).
If-Match, If-None-Match and OSCORE are missing on purpose: nobody may believe that a condition or a protection that we
do not carry out was met.
"""

from dataclasses import dataclass
from typing import Final

# RFC 7252 section 5.10.
URI_HOST: Final = 3
URI_PORT: Final = 7
URI_PATH: Final = 11
CONTENT_FORMAT: Final = 12
MAX_AGE: Final = 14
URI_QUERY: Final = 15
ACCEPT: Final = 17
PROXY_URI: Final = 35
PROXY_SCHEME: Final = 39
SIZE1: Final = 60
# RFC 7959 section 2.1.
BLOCK2: Final = 23
BLOCK1: Final = 27
# RFC 9175 sections 2.2.1 and 3.2.1.
ECHO: Final = 252
REQUEST_TAG: Final = 292

NUMBER_MAX: Final = 65_535
"""RFC 7252 section 12.2: option numbers have 16 bits, the encoding reaches further."""

LINK_FORMAT: Final = 40
"""Content-Format of RFC 6690."""


@dataclass(frozen=True, slots=True)
class OptionRule:
    """The lengths an option may have, and whether it may occur more than once (RFC 7252 table 4)."""

    name: str
    bytes_min: int
    bytes_max: int
    repeatable: bool = False


RULES: Final[dict[int, OptionRule]] = {
    URI_HOST: OptionRule("Uri-Host", 1, 255),
    URI_PORT: OptionRule("Uri-Port", 0, 2),
    URI_PATH: OptionRule("Uri-Path", 0, 255, repeatable=True),
    CONTENT_FORMAT: OptionRule("Content-Format", 0, 2),
    URI_QUERY: OptionRule("Uri-Query", 0, 255, repeatable=True),
    ACCEPT: OptionRule("Accept", 0, 2),
    BLOCK2: OptionRule("Block2", 0, 3),
    BLOCK1: OptionRule("Block1", 0, 3),
    PROXY_URI: OptionRule("Proxy-Uri", 1, 1034),
    PROXY_SCHEME: OptionRule("Proxy-Scheme", 1, 255),
    SIZE1: OptionRule("Size1", 0, 4),
    ECHO: OptionRule("Echo", 1, 40),
    REQUEST_TAG: OptionRule("Request-Tag", 0, 8, repeatable=True),
}


def is_critical(number: int) -> bool:
    """Whether a receiver that does not know the option must refuse the request (section 5.4.6)."""
    return number & 1 == 1
