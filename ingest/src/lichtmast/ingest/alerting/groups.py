"""Which group a device is in for a fleet rule: by the asset that it hangs on, or the whole of the rule's scope."""

from collections.abc import Mapping

from lichtmast.ingest.alerting.plan import GroupOf
from lichtmast.registry.alerts.conditions import GroupKind
from lichtmast.registry.alerts.groups import Membership, group_subject
from lichtmast.registry.directory import DeviceEntry


def grouping(memberships: Mapping[int, Membership]) -> GroupOf:
    """By what the register says of assets."""

    def group_of(entry: DeviceEntry, kind: GroupKind) -> str | None:
        if kind is GroupKind.AREA:
            return group_subject(kind, entry.device.tenant)
        asset = None if entry.asset_id is None else memberships.get(entry.asset_id)
        if asset is None:
            return None
        key = asset.feeder if kind is GroupKind.FEEDER else asset.neighbourhood
        return None if key is None else group_subject(kind, key)

    return group_of
