"""A register with alerts to tell about, channels, and a clock that one turns."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from sqlalchemy import insert, select, update

from lichtmast.registry import Registry, schema
from lichtmast.registry.alert_schema import alert_episode, alert_notice, alert_rule
from lichtmast.registry.auditing import LOCAL_COMMAND
from lichtmast.registry.database import open_engine, writing
from lichtmast.registry.notifying import Channel, NotificationBook, parse_channel
from lichtmast.registry.people import Seal

NOON_US: Final = 1_795_345_200_000_000  # 2026-11-22T11:00:00Z, noon in Amsterdam
MINUTE_US: Final = 60_000_000
HOUR_US: Final = 60 * MINUTE_US
HERE: Final = "gm0402"
SEAL: Final = Seal.from_secret(b"a secret for tests, of forty-two bytes 12345")


class NotificationTown:
    """The book, and a hand to write what the alert engine would."""

    def __init__(self, registry: Registry, path: Path) -> None:
        self.registry = registry
        self.book: NotificationBook = registry.notifying
        self.now_us = NOON_US
        self.engine = open_engine(path)
        self._numbers = count(1)
        registry.ensure_tenant(HERE)

    def channel(self, name: str = "on-call", kind: str = "email", **fields: object) -> Channel:
        """A channel that takes all, unless it is said otherwise."""
        target = "" if kind == "mqtt" else "lamps@example.nl"
        document = {"name": name, "kind": kind, "severity": "info", "target": target} | fields
        draft = parse_channel(HERE, document)
        return self.book.put(draft, SEAL, by=LOCAL_COMMAND, at_us=self.now_us)[0]

    def episode(self, **fields: object) -> int:
        """An open alert."""
        number = next(self._numbers)
        rule = fields.get("rule_name", f"Lamp uit {number}")
        with writing(self.engine) as connection:
            tenant = connection.execute(select(schema.tenant.c.id).where(schema.tenant.c.code == HERE)).scalar_one()
            kept = insert(alert_rule).values(tenant_id=tenant, name=f"rule {number}", version=1, enabled=True)
            rule_id = connection.execute(kept).inserted_primary_key[0]  # type: ignore[index]
            values: dict[str, object] = {
                "rule_id": rule_id,
                "rule_version": 1,
                "rule_name": rule,
                "severity": "warning",
                "tenant": HERE,
                "subject": f"datastream/{number}",
                "subject_name": f"Kerkstraat {number}",
                "state": "new",
                "reopens_as": "new",
                "raised_at_us": self.now_us,
                "last_raised_at_us": self.now_us,
                "count": 1,
                "because": "0 W for 30 minutes, and it is dark",
                "in_maintenance": False,
                "told": True,
                "version": 1,
            }
            # What of an episode notifications do not look at: nothing of its kind.
            usual = {
                column.name: column.type.python_type()
                for column in alert_episode.columns
                if not column.nullable and not column.primary_key
            }
            made = connection.execute(insert(alert_episode).values(usual | values | fields))
            return int(made.inserted_primary_key[0])  # type: ignore[index]

    def change(self, episode: int, **fields: object) -> None:
        """What people or the engine did to it."""
        with writing(self.engine) as connection:
            connection.execute(update(alert_episode).where(alert_episode.c.id == episode).values(fields))

    def notice(self, episode: int | None = None, event: str = "raised", due_us: int | None = None) -> int:
        """Something to tell, due now."""
        values = {
            "episode_id": self.episode() if episode is None else episode,
            "event": event,
            "at_us": self.now_us,
            "due_us": self.now_us if due_us is None else due_us,
        }
        with writing(self.engine) as connection:
            return int(connection.execute(insert(alert_notice).values(values)).inserted_primary_key[0])  # type: ignore[index]


@contextmanager
def notification_town(path: Path) -> Iterator[NotificationTown]:
    """One on a register's file; closed at the end."""
    with Registry.open(path) as registry:
        town = NotificationTown(registry, path)
        yield town
        town.engine.dispose()
