"""The file of the data folder about the network of devices: `silence.toml`, missing where nobody has to.

device_prefixes = ["2001:db8:10::/48"]   # where devices belong; a device heard from elsewhere is told
device_domain = "nodes.example.nl"       # gm0402/lm-0001 is lm-0001.gm0402.nodes.example.nl
"""

import re
import tomllib
from dataclasses import dataclass
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any, Final

from lichtmast.suite.errors import SuiteError
from lichtmast.wire import DeviceId

NAME: Final = "silence.toml"
_DOMAIN: Final = re.compile(r"(?=.{1,200}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class SilenceSettings:
    """What is known of the network of devices; without it those rungs say that they do not know."""

    device_prefixes: tuple[IPv6Network, ...] = ()
    """The prefixes of the address plan in which devices belong."""
    device_domain: str | None = None
    """The domain below which every device has a name: device, municipality, domain."""

    def name_of(self, device: DeviceId) -> str | None:
        """The DNS name of a device."""
        return None if self.device_domain is None else f"{device.device}.{device.tenant}.{self.device_domain}"


def read_silence(folder: Path) -> SilenceSettings:
    """Read the file of this folder; without one, what holds then. Raises SuiteError."""
    path = folder / NAME
    if not path.exists():
        return SilenceSettings()
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        prefixes, domain = table.pop("device_prefixes", []), table.pop("device_domain", None)
        if table:
            raise SuiteError(f"{path}: unknown: {', '.join(sorted(table))}; there are device_domain, device_prefixes")
        if not (isinstance(prefixes, list) and all(isinstance(one, str) for one in prefixes)):
            raise SuiteError(f'{path}: device_prefixes is a list of prefixes, such as ["2001:db8:10::/48"]')
        if domain is not None and not (isinstance(domain, str) and _DOMAIN.fullmatch(domain)):
            raise SuiteError(f"{path}: device_domain is a DNS name in lower case, such as nodes.example.nl")
        return SilenceSettings(tuple(map(IPv6Network, prefixes)), domain)
    except OSError as error:
        raise SuiteError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SuiteError(f"{path}: {error}") from error
