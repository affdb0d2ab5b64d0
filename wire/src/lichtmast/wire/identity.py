"""Who a device is: tenant and device name, as URN, topic and subject.

Does not decide whether the device exists or may speak: that is the registry's answer.
"""

import re
from dataclasses import dataclass
from typing import Final, Self

_TENANT: Final = re.compile(r"gm[0-9]{4}", re.ASCII)
_DEVICE: Final = re.compile(r"[a-z0-9-]{3,40}", re.ASCII)
URN_PREFIX: Final = "urn:dev:lm:"


class IdentityError(ValueError):
    """A text is no tenant, device, URN or topic of ours."""


@dataclass(frozen=True, slots=True, order=True)
class DeviceId:
    """A device of a tenant; valid by construction.

    `tenant` is the CBS municipality code in lower case (`gm0402`), `device` is 3 to 40 of `a-z 0-9 -`.
    Raises IdentityError for anything else.
    """

    tenant: str
    device: str

    def __post_init__(self) -> None:
        if not _TENANT.fullmatch(self.tenant):
            raise IdentityError(f"tenant {self.tenant[:60]!r} is not gm and four digits, as in gm0402")
        if not _DEVICE.fullmatch(self.device):
            raise IdentityError(f"device {self.device[:60]!r} is not 3 to 40 characters of a-z, 0-9 and -")

    def __str__(self) -> str:
        return f"{self.tenant}/{self.device}"

    @property
    def urn(self) -> str:
        """The SenML base name, certificate SAN URI and CoAP endpoint name (RFC 9039 form)."""
        return f"{URN_PREFIX}{self.tenant}:{self.device}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `gm0402/lm-0001`, the inverse of str()."""
        tenant, slash, device = text.partition("/")
        if not slash:
            raise IdentityError(f"device {text[:60]!r} is not of the form tenant/device")
        return cls(tenant, device)

    @classmethod
    def from_urn(cls, urn: str) -> Self:
        """Read a device URN, the inverse of `urn`."""
        if not urn.startswith(URN_PREFIX):
            raise IdentityError(f"{urn[:80]!r} does not start with {URN_PREFIX}")
        tenant, _, device = urn[len(URN_PREFIX) :].partition(":")
        return cls(tenant, device)


def is_tenant(text: str) -> bool:
    """Whether the text is a tenant code, such as gm0402."""
    return _TENANT.fullmatch(text) is not None
