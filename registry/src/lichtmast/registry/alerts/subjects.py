"""What the register knows of the subjects of alerts, many at a time. Functions on one open transaction."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Select, func, select, tuple_

from lichtmast.registry import schema
from lichtmast.registry.alerts.groups import Membership, membership
from lichtmast.registry.alerts.scope import Facts
from lichtmast.registry.limits import LOOKUP_IDS_MAX

_Item = TypeVar("_Item")
_A, _D, _P, _S = schema.asset.c, schema.device.c, schema.deployment.c, schema.datastream.c
_T, _C, _M = schema.tenant.c, schema.capability.c, schema.sensor.c
_PLACE: Final = (_A.name.label("asset_name"), _A.longitude, _A.latitude, _A.properties)


def chunks(items: Iterable[_Item], size: int = LOOKUP_IDS_MAX) -> Iterator[list[_Item]]:
    """Lists short enough for one query."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def facts_of(connection: Connection, subjects: Iterable[str], tenant: str) -> dict[str, Facts]:
    """What is known of each subject, of a rule of this tenant. One that the register does not know keeps its name."""
    found: dict[str, Facts] = {}
    datastreams: dict[int, str] = {}
    devices: dict[tuple[str, str], str] = {}
    for subject in subjects:
        kind, _, rest = subject.partition("/")
        owner, slash, name = rest.partition("/")
        found[subject] = Facts(subject, tenant, device=rest if kind == "device" else None, name=rest)
        if kind == "datastream" and rest.isdecimal():
            datastreams[int(rest)] = subject
        elif kind == "device" and slash:
            devices[owner, name] = subject
    _fill(connection, datastreams, _datastreams, _of_datastream, found)
    _fill(connection, devices, _devices, _of_device, found)
    return found


def memberships(connection: Connection) -> dict[int, Membership]:
    """The groups of every asset that stands, by id."""
    rows = connection.execute(select(_A.id, _A.longitude, _A.latitude, _A.properties).where(_A.valid_to.is_(None)))
    return {id_: membership(properties, longitude, latitude) for id_, longitude, latitude, properties in rows}


def _fill(
    connection: Connection,
    wanted: Mapping[Any, str],
    query: Callable[[Sequence[Any]], Select[Any]],
    read: Callable[[Any], tuple[Any, Facts]],
    found: dict[str, Facts],
) -> None:
    for keys in chunks(wanted):
        for row in connection.execute(query(keys)):
            key, facts = read(row)
            found[wanted[key]] = facts


def _devices(keys: Sequence[tuple[str, str]]) -> Select[Any]:
    return (
        select(_T.code, _D.name, _M.profile, _P.asset_id, *_PLACE)
        .join(schema.tenant, _T.id == _D.tenant_id)
        .join(schema.sensor, _M.id == _D.sensor_id)
        .outerjoin(schema.deployment, (_P.device_id == _D.id) & _P.to_us.is_(None))
        .outerjoin(schema.asset, _A.id == _P.asset_id)
        .where(tuple_(_T.code, _D.name).in_(keys))
    )


def _of_device(row: Any) -> tuple[tuple[str, str], Facts]:  # noqa: ANN401 - a row of _devices()
    device = f"{row.code}/{row.name}"
    return (row.code, row.name), _facts(row, f"device/{device}", row.code, device, row.asset_id)


def _datastreams(keys: Sequence[int]) -> Select[Any]:
    """With the device that feeds each now: its own, or the one that hangs on its asset in its place."""
    owner = schema.tenant.alias()
    device = schema.device.alias()
    return (
        select(
            _S.id,
            _S.asset_id,
            _M.profile,
            _C.key.label("capability"),
            device.c.name,
            _T.code,
            owner.c.code.label("device_tenant"),
            *_PLACE,
        )
        .join(schema.capability, _C.id == _S.capability_id)
        .join(schema.sensor, _M.id == _C.sensor_id)
        .outerjoin(schema.asset, _A.id == _S.asset_id)
        .outerjoin(
            schema.deployment,
            (_P.asset_id == _S.asset_id)
            & (_P.sensor_id == _C.sensor_id)
            & (_P.position == _S.position)
            & _P.to_us.is_(None),
        )
        .outerjoin(device, device.c.id == func.coalesce(_S.device_id, _P.device_id))
        .outerjoin(owner, owner.c.id == device.c.tenant_id)
        .outerjoin(schema.tenant, _T.id == _A.tenant_id)
        .where(_S.id.in_(keys))
    )


def _of_datastream(row: Any) -> tuple[int, Facts]:  # noqa: ANN401 - a row of _datastreams()
    device = None if row.name is None else f"{row.device_tenant}/{row.name}"
    facts = _facts(row, f"datastream/{row.id}", row.code or row.device_tenant, device, row.asset_id)
    return row.id, facts


def _facts(row: Any, subject: str, tenant: str, device: str | None, asset_id: int | None) -> Facts:  # noqa: ANN401 - a row of either query
    groups = None if asset_id is None else membership(row.properties, row.longitude, row.latitude)
    return Facts(
        subject,
        tenant,
        row.id if subject.startswith("datastream/") else None,
        device,
        asset_id,
        row.profile,
        row.capability if subject.startswith("datastream/") else None,
        row.longitude,
        row.latitude,
        None if groups is None else groups.feeder,
        None if groups is None else groups.neighbourhood,
        row.asset_name or device or subject,
    )
