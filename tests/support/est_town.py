"""A register with lampposts, an authority, and a real EST server on ::1 that both stand behind."""

import asyncio
import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from est_client import Node
from starlette.applications import Starlette
from starlette.types import ASGIApp

from lichtmast.api import Broadcaster, TlsFiles, open_socket, serve
from lichtmast.api.est import create_est_app
from lichtmast.registry import AssetRecord, Registry
from lichtmast.registry.auditing import Actor, ActorKind
from lichtmast.registry.identity import Claim
from lichtmast.registry.importing import import_source
from lichtmast.registry.pki import Authority
from lichtmast.wire import DeviceId

TENANT = "gm0402"
OTHER_TENANT = "gm0363"
ENGINEER = Actor(ActorKind.USER, "engineer@example.nl", "2001:db8::7")
SECRET = b"a secret of a test, long enough to be one"
HOUR_US = 3_600_000_000


def wall_clock_us() -> int:
    return time.time_ns() // 1_000


class EstTown:
    """Use `EstTown.open`. `shift_us` moves the clock that the server reads."""

    def __init__(self, folder: Path, registry: Registry) -> None:
        self.folder = folder
        self.registry = registry
        self.shift_us = 0
        self._turn = 0
        self.authority = Authority.create(folder / "authority", SECRET, organisation="Hilversum", now_us=self.now_us())
        self.root = folder / "root.pem"
        self.device_trust = folder / "devices.pem"
        self.assets: dict[str, list[AssetRecord]] = {}
        for tenant in (TENANT, OTHER_TENANT):
            registry.ensure_tenant(tenant, tenant)
            report = registry.import_assets(tenant, import_source("csv", self._lampposts(tenant)), dry_run=False)
            assert report.as_json()["assets"] == 8, report.as_json()
            self.assets[tenant] = registry.things(tenant)
        self.write_trust()

    @classmethod
    @contextlib.contextmanager
    def open(cls, folder: Path) -> Iterator[Self]:
        """A town for as long as the block lasts."""
        with Registry.open(folder / "registry.sqlite") as registry:
            yield cls(folder, registry)

    def now_us(self) -> int:
        return wall_clock_us() + self.shift_us

    def write_trust(self) -> None:
        """What clients and doors trust by files."""
        self.root.write_bytes(self.authority.root_pem)
        self.device_trust.write_bytes(self.authority.device_trust_pem)

    def tls_files(self, name: str = "est") -> TlsFiles:
        """A server certificate of our authority."""
        issued = self.authority.issue_server(["::1", "localhost"], now_us=wall_clock_us())
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(issued.chain_pem)
        key.write_bytes(issued.key_pem)
        return TlsFiles(certificate, key)

    def trusting(self) -> ssl.SSLContext:
        """A client that knows our root."""
        return ssl.create_default_context(cafile=str(self.root))

    def showing(self, node: Node, certificate_pem: bytes) -> ssl.SSLContext:
        """A client that shows a certificate too."""
        file = self.folder / f"{node.device.device}-client.pem"
        file.write_bytes(certificate_pem + node.key_pem)
        context = self.trusting()
        context.load_cert_chain(file)
        return context

    def node(self, name: str, *, tenant: str = TENANT, staged: bool = True) -> Node:
        """A node with a key of its own; its label is in the register unless told otherwise."""
        node = Node(DeviceId(tenant, name))
        if staged:
            self.registry.identity.stage(node.label(self.authority.root_pin), "weather", at_us=self.now_us())
        return node

    def claim(self, node: Node, asset: int | None = None, *, by: Actor = ENGINEER, **more: Any) -> Claim:  # noqa: ANN401
        """Open the claim of a node on one of the tenant's lampposts, the next one in turn where None is named."""
        known = self.registry.device(node.device)
        if asset is None and known is not None and known.asset_id is not None:
            asset = next(n for n, one in enumerate(self.assets[node.device.tenant]) if one.id == known.asset_id)
        elif asset is None:
            asset = self._turn = (self._turn + 1) % 8
        return self.registry.identity.open_claim(
            node.label(self.authority.root_pin),
            asset_id=self.assets[node.device.tenant][asset].id,
            by=by,
            at_us=self.now_us(),
            **more,
        )

    def est_app(self, **options: Any) -> Starlette:  # noqa: ANN401 - options of create_est_app
        return create_est_app(self.registry, lambda: self.authority, self.now_us, **options)

    def _lampposts(self, tenant: str) -> Path:
        west = {TENANT: 5.17, OTHER_TENANT: 4.9}[tenant]
        lines = [f"P{number:04d},Kerkstraat {number + 1},{west + 0.0007 * number:.6f},52.22" for number in range(8)]
        path = self.folder / f"{tenant}.csv"
        path.write_text("\n".join(["id,naam,lon,lat", *lines]), "utf-8")
        return path


@contextlib.contextmanager
def serving(app: ASGIApp, tls: TlsFiles | None = None, client_trust: Path | None = None) -> Iterator[int]:
    """A real server on a free port of ::1, in a thread of its own so that blocking clients can ask it."""
    listener = open_socket("::1", 0)
    port = int(listener.getsockname()[1])
    started = threading.Event()
    stop: list[Callable[[], object]] = []

    async def run() -> None:
        task = asyncio.current_task()
        assert task is not None
        stop.append(lambda: asyncio_loop.call_soon_threadsafe(task.cancel))
        asyncio_loop = asyncio.get_running_loop()
        with contextlib.suppress(asyncio.CancelledError):
            await serve(app, [listener], Broadcaster(), tls=tls, client_trust=client_trust, on_started=started.set)

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="est server", daemon=True)
    thread.start()
    assert started.wait(20), "the server did not start"
    try:
        yield port
    finally:
        stop[0]()
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"
