"""Where the broker listens: its TLS port on the address that was asked for, and its client port on loopback alone.

Not in tests/integration, which runs without any IPv4 address: asked for "::", nats-server (Go) listens on IPv4 alone
there, and nobody reaches it. Where the loopback has its 127.0.0.1, as on any real machine, it listens on IPv6.
"""

import asyncio
from pathlib import Path

import psutil
import pytest
from identity_town import IdentityTown

from lichtmast.ingest.broker import Broker, BrokerSettings
from lichtmast.ingest.broker_settings import BrokerTls

pytestmark = pytest.mark.slow


def test_nothing_but_the_tls_port_leaves_the_machine(tmp_path: Path) -> None:
    town = IdentityTown(tmp_path / "pki")
    tls = BrokerTls(town.server_certificate, town.server_key, town.device_trust)

    async def play() -> None:
        async with Broker(BrokerSettings(tmp_path / "broker", "::", mqtt_port=0, tls=tls)) as broker:
            supervising = asyncio.create_task(broker.supervise())
            listening = {
                (one.laddr.ip, one.laddr.port)
                for one in psutil.Process(broker.pid).net_connections("inet")
                if one.status == psutil.CONN_LISTEN
            }
            assert listening == {("::", broker.mqtt_port), ("::1", broker.client_port)}
            await broker.stop()
            await supervising

    asyncio.run(play())
