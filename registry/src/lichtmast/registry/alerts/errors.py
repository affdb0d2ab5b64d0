"""What can go wrong with alerts, as part of the register's tree.

RegistryError
└── AlertRuleError     a rule or a window that cannot be; the text names the field

An action that the state of an alert forbids is no exception: it is a `Refused`.
"""

from lichtmast.registry.errors import RegistryError


class AlertRuleError(RegistryError):
    """A rule or a maintenance window that cannot be; nothing has changed. `field` is its path, as in scope.area."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
