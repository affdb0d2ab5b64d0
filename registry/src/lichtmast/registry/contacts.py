"""When and from which address each device was last heard, over which transport: for whoever asks why it is quiet.

Written in batches, without an event and without raising the revision: it is no change that anybody made. Erased after
CONTACT_KEPT_US, because an address can tell whose a node is. It is for our own probes, never for the public API.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv6Address
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sqlalchemy import Engine, bindparam, delete, select
from sqlalchemy.dialects.sqlite import insert

from lichtmast.registry import schema
from lichtmast.registry.contact_schema import device_contact
from lichtmast.registry.database import open_engine, writing
from lichtmast.wire.identity import DeviceId

CONTACT_KEPT_US: Final = 30 * 24 * 3600 * 1_000_000
"""How long it is kept from where a device was heard."""

_C: Final = device_contact.c


class Bearer(StrEnum):
    """Over what a device was heard."""

    MQTT = "mqtt"
    COAP = "coap"


@dataclass(frozen=True, slots=True)
class Contact:
    """A device was heard: over what, from where, and when last."""

    device: DeviceId
    bearer: Bearer
    address: IPv6Address = field(repr=False)
    heard_us: int


class ContactBook:
    """The contacts of one register. Use `ContactBook.open`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the register's file. Raises RegistryUnavailableError."""
        return cls(open_engine(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.dispose()

    def note(self, contacts: Iterable[Contact], *, now_us: int) -> int:
        """Keep these, and forget what is too old; how many were of devices of the register. The newer one stays."""
        rows = [
            {
                "tenant": one.device.tenant,
                "name": one.device.device,
                "bearer": one.bearer.value,
                "from_": str(one.address),
                "when": one.heard_us,
            }
            for one in contacts
        ]
        d, t = schema.device.c, schema.tenant.c
        of_device = (
            select(d.id, bindparam("bearer"), bindparam("from_"), bindparam("when"))
            .join(schema.tenant, t.id == d.tenant_id)
            .where(t.code == bindparam("tenant"), d.name == bindparam("name"))
        )
        fresh = insert(device_contact).from_select(["device_id", "transport", "address", "heard_us"], of_device)
        newest = fresh.on_conflict_do_update(
            index_elements=["device_id", "transport"],
            set_={"address": fresh.excluded.address, "heard_us": fresh.excluded.heard_us},
            where=fresh.excluded.heard_us >= _C.heard_us,
        )
        with writing(self._engine) as connection:
            kept = connection.execute(newest, rows).rowcount if rows else 0
            connection.execute(delete(device_contact).where(_C.heard_us < now_us - CONTACT_KEPT_US))
        return kept

    def of(self, device: DeviceId) -> Sequence[Contact]:
        """From where a device was heard, newest first."""
        d, t = schema.device.c, schema.tenant.c
        query = (
            select(_C.transport, _C.address, _C.heard_us)
            .join(schema.device, d.id == _C.device_id)
            .join(schema.tenant, t.id == d.tenant_id)
            .where(t.code == device.tenant, d.name == device.device)
            .order_by(_C.heard_us.desc())
        )
        with self._engine.connect() as connection:
            return [
                Contact(device, Bearer(bearer), IPv6Address(address), heard_us)
                for bearer, address, heard_us in connection.execute(query)
            ]
