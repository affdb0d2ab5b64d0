"""What wakes people: the alert engine behind the OBSERVATIONS log, and the notifications that leave by the register.

One alert's way: the pipeline publishes a batch; the engine finds a transition and saves it, and with it the episode and
its notice, in one transaction of the register; the notifier makes deliveries of the notice and sends them.
"""

from dataclasses import dataclass

from lichtmast.ingest.alerting.runner import Runner
from lichtmast.ingest.broker import Broker
from lichtmast.ingest.broker_settings import OWN_HOST
from lichtmast.ingest.notifying import BrokerLine, Notifier, notifying
from lichtmast.registry import Registry
from lichtmast.registry.people import Seal
from lichtmast.suite.clock import now_us
from lichtmast.suite.folder import Folder
from lichtmast.suite.notifications_file import read_notifications
from lichtmast.suite.unlock import unlock_secret


@dataclass(frozen=True, slots=True)
class Alarms:
    """The engine and the notifier, both to be run, and what the secrets of channels are sealed with."""

    runner: Runner
    notifier: Notifier
    seal: Seal


def make_notifier(folder: Folder, registry: Registry, broker: Broker, page_url: str) -> tuple[Notifier, Seal]:
    """The outbox's worker. Raises SuiteError where notifications.toml is wrong, or what unlocks secrets is missing."""
    line = BrokerLine(OWN_HOST, broker.client_port, broker.user, broker.password)
    settings = read_notifications(folder.path, page_url)
    seal = Seal.from_secret(unlock_secret(folder))
    return notifying(registry.notifying, seal, line, settings, now_us), seal
