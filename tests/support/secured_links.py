"""What a secured link of the agent meets: a broker and a CoAP door with certificates, on ::1."""

import asyncio
import ssl
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from identity_town import Credentials as DeviceCredentials
from identity_town import IdentityTown
from uplink_town import Broker

from lichtmast.edge.clock import SystemClock
from lichtmast.edge.identity import Credentials, Moment
from lichtmast.edge.identity.refusals import Refusal
from lichtmast.edge.uplink.errors import LinkRefusedError
from lichtmast.edge.uplink.link import Session


def tls_broker(folder: Path, town: IdentityTown, chain: Path | None = None, key: Path | None = None) -> Broker:
    """A nats-server that speaks MQTT over TLS 1.3, and asks for certificates of this town."""
    tls = f"""tls {{
        cert_file: "{chain or town.server_certificate}", key_file: "{key or town.server_key}"
        ca_file: "{town.device_trust}", verify: true, min_version: "1.3", timeout: 5
    }}"""
    return Broker(folder, mqtt=tls)


def server_context(town: IdentityTown, of: DeviceCredentials) -> ssl.SSLContext:
    """For the far end, which is a client of the broker too."""
    context = of.client_context(town.root)
    context.check_hostname = False
    return context


@dataclass
class HeldIdentity:
    """An identity that a test holds; the clock is trusted unless it says otherwise."""

    trust: Path
    of: DeviceCredentials
    wall_us: int | None = None
    is_trusted: bool = True

    def credentials(self) -> Credentials:
        return Credentials(self.trust, self.of.certificate, self.of.key)

    def moment(self) -> Moment:
        return Moment(SystemClock().wall_us() if self.wall_us is None else self.wall_us, self.is_trusted)


async def refusal_of(opening: AbstractAsyncContextManager[Session]) -> Refusal | None:
    """Why a link does not open; None where it does."""
    try:
        async with asyncio.timeout(15), opening:
            return None
    except LinkRefusedError as error:
        return error.refusal
