"""Plans as the register is now: made anew when rules, devices or groups changed, and only then."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from lichtmast.ingest.alerting.groups import grouping
from lichtmast.ingest.alerting.layout import Layout
from lichtmast.ingest.alerting.plan import Plan, make_plan
from lichtmast.registry.alerts.groups import Membership
from lichtmast.registry.alerts.rules import AlertRule
from lichtmast.registry.alerts.steps import EngineMemory, Step
from lichtmast.registry.directory import Directory
from lichtmast.wire.profile import load_profiles


class Book(Protocol):
    """What is asked of the register's book of alerts."""

    def rules(self) -> Sequence[AlertRule]:
        """Every rule, switched on or not."""

    def groups(self) -> Mapping[int, Membership]:
        """Feeder and neighbourhood of every asset."""

    def load(self) -> EngineMemory:
        """Where the evaluation goes on."""

    def save(self, step: Step) -> None:
        """Take a step over, in one transaction."""


class Register(Protocol):
    """What is asked of the register."""

    def revision(self) -> int:
        """A number that moves with every change."""

    def directory(self) -> Directory:
        """All devices."""


class Rulebook:
    """Reads the register. Blocks: for a thread."""

    def __init__(self, register: Register, book: Book) -> None:
        self._register = register
        self._book = book
        self._revision = -1
        self._rules: Sequence[AlertRule] = ()
        self._groups: Mapping[int, Membership] = {}
        self._layout: Layout | None = None

    def read(self) -> Plan | None:
        """A plan of the register as it is; None where nothing that concerns rules has changed since the last one."""
        revision = self._register.revision()
        if revision == self._revision:
            return None
        rules, groups, entries = self._book.rules(), self._book.groups(), self._register.directory().entries
        self._revision = revision
        layout = self._layout
        if layout is None or layout.entries != entries:
            layout = Layout(entries, load_profiles())
        if layout is self._layout and (rules, groups) == (self._rules, self._groups):
            return None
        self._rules, self._groups, self._layout = rules, groups, layout
        return make_plan(rules, layout, grouping(groups))
