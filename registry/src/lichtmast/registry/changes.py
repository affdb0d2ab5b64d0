"""What the log of changes says of devices that were registered and of files that were imported."""

from collections.abc import Sequence

from lichtmast.registry.auditing import Action, Actor, Event
from lichtmast.registry.devices import NewDevice
from lichtmast.registry.importing.report import ImportReport
from lichtmast.registry.importing.staging import ImportOrder
from lichtmast.registry.records import RegisteredDevice


def registered(wanted: Sequence[NewDevice], answers: Sequence[RegisteredDevice], by: Actor, at_us: int) -> list[Event]:
    """One event a device, however many: what happened to a device is then one question to the log."""
    return [
        Event(
            Action.DEVICE_REGISTERED,
            "device",
            str(one.device),
            by,
            at_us,
            one.device.tenant,
            after={"profile": one.profile, "asset": one.asset_id, "status": one.status.value},
        )
        for one, answer in zip(wanted, answers, strict=True)
        if answer.created
    ]


def imported(order: ImportOrder, report: ImportReport, by: Actor) -> Event:
    """One event an import; the file's digest says which."""
    tenant, source = order.tenant_code, order.source
    counts = {"added": report.added, "updated": report.updated, "unchanged": report.unchanged}
    after = {"source": source.kind, "file": source.path.name, "sha256": source.sha256} | counts
    return Event(Action.ASSETS_IMPORTED, "tenant", tenant, by, order.started_at_us, tenant, after=after)
