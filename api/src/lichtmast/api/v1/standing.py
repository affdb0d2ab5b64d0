"""How a device is doing, for whoever looks after it: who may see it, where it hangs, when it spoke."""

from lichtmast.api.access import Caller
from lichtmast.registry import Registry
from lichtmast.registry.identity import Claim
from lichtmast.registry.people import Role
from lichtmast.store.port import ObservationStore
from lichtmast.wire.identity import DeviceId

_END_OF_TIME_US = 2**62


def require_in_tenant(caller: Caller, roles: tuple[Role, ...], tenant: str) -> None:
    """One of the roles somewhere in the tenant. Raises a Problem: 404 for another's, 403 for one's own."""
    if not caller.may_somewhere(roles, tenant):
        caller.require(roles, tenant)


def first_reading_us(registry: Registry, store: ObservationStore, claim: Claim) -> int | None:
    """When the first reading came in after the device had its certificate; None until then.

    Readings that it took before that and kept count too, once they are in.
    """
    if claim.serial is None or claim.closed_at_us is None:
        return None
    series = _series(registry, claim.device, claim.asset_id)
    newest = _column(store, series, "result_time")
    came = [one for one in newest if one >= claim.closed_at_us]
    if not came:
        return None
    since: list[int] = (
        store.range(series, claim.closed_at_us, _END_OF_TIME_US, limit=1).column("result_time").to_pylist()
    )
    return min([*since, *came])


def last_reading_us(registry: Registry, store: ObservationStore, device: DeviceId, asset_id: int | None) -> int | None:
    """When the device measured last; None where it hangs nowhere or never spoke."""
    if asset_id is None:
        return None
    return max(_column(store, _series(registry, device, asset_id), "phenomenon_time"), default=None)


def _series(registry: Registry, device: DeviceId, asset_id: int) -> list[int]:
    """What the device feeds on the asset."""
    return [one.id for one in registry.datastreams_of(asset_id) if one.device_name == device.device]


def _column(store: ObservationStore, series: list[int], name: str) -> list[int]:
    values: list[int] = store.latest(series).column(name).to_pylist() if series else []
    return values
