"""Claim windows as rows: reading, opening, counting wrong keys, closing. Which of it may happen is decided elsewhere.

Functions on one open transaction.
"""

from typing import Any, Final

from sqlalchemy import Connection, Select, insert, select, update

from lichtmast.registry import schema
from lichtmast.registry.auditing import Actor, ActorKind
from lichtmast.registry.devices import StoredDevice
from lichtmast.registry.identity.records import Claim, ClaimState, Position
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.label import Label

_W: Final = schema.claim.c


def latest_window(connection: Connection, device: StoredDevice) -> Claim | None:
    """The device's newest claim, open or not."""
    rows = connection.execute(select_claims().where(_W.device_id == device.id).order_by(_W.id.desc()).limit(1))
    return next((claim_of(row) for row in rows), None)


def window(connection: Connection, claim_id: int) -> Claim | None:
    """One claim."""
    row = connection.execute(select_claims().where(_W.id == claim_id)).one_or_none()
    return None if row is None else claim_of(row)


def open_window(
    connection: Connection,
    device: StoredDevice,
    label: Label,
    *,
    asset_id: int,
    position: Position | None,
    by: Actor,
    at_us: int,
    expires_at_us: int,
) -> int:
    """Write a new window; its id."""
    done = connection.execute(
        insert(schema.claim)
        .values(
            device_id=device.id,
            asset_id=asset_id,
            key_pin=label.key_pin,
            opened_by_kind=by.kind.value,
            opened_by=by.name,
            opened_at_us=at_us,
            expires_at_us=expires_at_us,
            longitude=None if position is None else position.longitude,
            latitude=None if position is None else position.latitude,
            accuracy_m=None if position is None else position.accuracy_m,
            wrong_keys=0,
        )
        .returning(_W.id)
    )
    return int(done.scalar_one())


def close_window(
    connection: Connection, claim: Claim, state: ClaimState, at_us: int, serial: str | None = None
) -> None:
    """Close it for good."""
    connection.execute(
        update(schema.claim).where(_W.id == claim.id).values(closed_at_us=at_us, closed_as=state.value, serial=serial)
    )


def count_wrong_key(connection: Connection, claim: Claim) -> int:
    """One more enrolment with another key; how many there were."""
    connection.execute(update(schema.claim).where(_W.id == claim.id).values(wrong_keys=_W.wrong_keys + 1))
    return claim.wrong_keys + 1


def erase_positions(connection: Connection, before_us: int) -> int:
    """Forget where engineers stood before a moment; in how many claims."""
    return connection.execute(
        update(schema.claim)
        .where(_W.opened_at_us < before_us, _W.longitude.is_not(None))
        .values(longitude=None, latitude=None, accuracy_m=None)
    ).rowcount


def select_claims() -> Select[Any]:
    """All claims with their devices' names."""
    return (
        select(schema.claim, schema.tenant.c.code, schema.device.c.name)
        .join(schema.device, schema.device.c.id == _W.device_id)
        .join(schema.tenant, schema.tenant.c.id == schema.device.c.tenant_id)
    )


def claim_of(row: Any) -> Claim:  # noqa: ANN401 - a row of select_claims()
    """A row as a value."""
    return Claim(
        row.id,
        DeviceId(row.code, row.name),
        row.asset_id,
        row.key_pin,
        ActorKind(row.opened_by_kind),
        row.opened_by,
        row.opened_at_us,
        row.expires_at_us,
        None if row.longitude is None else Position(row.longitude, row.latitude, row.accuracy_m),
        row.wrong_keys,
        row.closed_at_us,
        None if row.closed_as is None else ClaimState(row.closed_as),
        None if row.serial is None else int(row.serial, 16),
    )
