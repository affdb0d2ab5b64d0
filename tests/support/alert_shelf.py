"""Alerts put into a register by hand, beside whatever evaluates there: for tests of what people do with them."""

from typing import Any, Final

from sqlalchemy import Connection, insert

from lichtmast.registry import AssetRecord, Registry
from lichtmast.registry.alerts import AlertRule, Facts, Transition, TransitionKind, life_cycle
from lichtmast.registry.alerts.episode import Around
from lichtmast.registry.alerts.ledger import Ledger
from lichtmast.registry.auditing import Actor, ActorKind
from lichtmast.registry.database import writing
from lichtmast.registry.notification_schema import notification_delivery
from lichtmast.registry.notifying import Notice

MAKER: Final = Actor(ActorKind.COMMAND, "maker")
NUMBERS_FROM: Final = 900_000
"""Datastreams that no town has: nothing raises or clears these alerts by itself."""
RULE: Final[dict[str, Any]] = {
    "name": "x-hot",
    "severity": "warning",
    "scope": {"datastreams": [NUMBERS_FROM]},
    "condition": {"kind": "threshold", "above": 1e9, "for_s": 300},
}


def begin_alert(registry: Registry, tenant: str, place: AssetRecord | None, number: int, now_us: int) -> int:
    """An open alert about something that hangs at this place; its id."""
    watching = registry.alerts.put_rule(RULE | {"tenant": tenant}, by=MAKER, at_us=now_us)
    with writing(registry._engine) as connection:
        return _begin(connection, watching, _facts(tenant, place, NUMBERS_FROM + number), now_us)


def failed_delivery(registry: Registry, tenant: str, place: AssetRecord, channel_id: int, now_us: int) -> int:
    """A message about an alert that was given up; its id."""
    alert = begin_alert(registry, tenant, place, 99, now_us)
    notice = Notice(
        NUMBERS_FROM, alert, "raised", now_us, tenant, "x-hot", "warning", "datastream/900099", "pole", "1e9 > 1"
    )
    row = {
        "notice_id": notice.id,
        "episode_id": alert,
        "channel_id": channel_id,
        "facts": notice.facts(),
        "state": "failed",
        "due_at_us": now_us,
        "message": f"{alert:032x}",
        "attempts": 9,
        "answer": "nobody there",
        "ended_at_us": now_us,
    }
    delivery = notification_delivery
    with writing(registry._engine) as connection:
        return int(connection.execute(insert(delivery).values(row).returning(delivery.c.id)).scalar_one())


def _begin(connection: Connection, rule: AlertRule, facts: Facts, now_us: int) -> int:
    ledger = Ledger(connection)
    raised = Transition(rule.id, rule.version, facts.subject, TransitionKind.RAISED, now_us, 2e9, "2e9 is above 1e9")
    number = ledger.new_id()
    ledger.apply(life_cycle.begin(number, rule, facts, raised, Around(), now_us))
    ledger.write()
    return number


def _facts(tenant: str, place: AssetRecord | None, number: int) -> Facts:
    if place is None:
        return Facts(f"group/feeder/F{number}", tenant, name=f"F{number}")
    return Facts(
        f"datastream/{number}",
        tenant,
        number,
        asset_id=place.id,
        longitude=place.longitude,
        latitude=place.latitude,
        name=place.name or "",
    )
