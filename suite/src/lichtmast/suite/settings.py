"""What can be set of a Lichtmast that runs in one process. Read once, passed as a value."""

from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final

from lichtmast.suite.errors import SuiteError

TOWN_SEED: Final = 402
"""What makes every simulated town the same, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the doors and pages listen, and how the log writes. A port of 0 takes a free one. Raises SuiteError.

    `sync_interval` is `always`, or how long the log may hold messages before it fsyncs them (`1s`): faster, and safe
    only where the log is replicated.
    """

    host: str = "::1"
    http_port: int = 8080
    mqtt_port: int = 1883
    coap_port: int = 5683
    sync_interval: str = "always"

    def __post_init__(self) -> None:
        try:
            loopback = IPv6Address(self.host).is_loopback
        except ValueError as error:
            raise SuiteError(f"host {self.host!r} is not an IPv6 address literal; use ::1") from error
        if not loopback:
            raise SuiteError(
                f"host {self.host} is not loopback: until devices have certificates, everything here is open and "
                "unencrypted, so it listens on ::1 only"
            )
