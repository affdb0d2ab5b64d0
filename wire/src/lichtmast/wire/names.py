"""SenML names: which characters a resolved name may hold (RFC 8428 section 4.5.1), and the device at its start.

Will not: know whether a name is in the device's profile, or accept LwM2M's leading slash as a whole name.
"""

import re
from typing import Final

from lichtmast.wire import limits
from lichtmast.wire.identity import URN_PREFIX, DeviceId, IdentityError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*", re.ASCII)
_SUFFIX: Final = re.compile(r"/[A-Za-z0-9\-:./_]+", re.ASCII)

is_name_text: Final = _NAME.fullmatch
"""The pattern alone, bound once for the decoder's inner loop; the length is checked beside it."""


def is_suffix(text: str) -> bool:
    """Whether the text can follow a device URN: a slash, then characters of RFC 8428 section 4.5.1, short enough."""
    return len(text) <= limits.SUFFIX_LENGTH_MAX and _SUFFIX.fullmatch(text) is not None


def device_of_name(name: str) -> DeviceId:
    """The device whose URN begins a resolved name, up to its first slash. Raises IdentityError for any other name."""
    urn, slash, rest = name.partition("/")
    if not slash or not rest:
        raise IdentityError(f"{name[:80]!r} is not {URN_PREFIX}TENANT:DEVICE/SUFFIX")
    return DeviceId.from_urn(urn)
