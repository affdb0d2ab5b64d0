"""What goes wrong with drivers: one class; its message says what happened, where, and the next step."""

from lichtmast.edge.errors import EdgeError


class DriverError(EdgeError):
    """A driver, or one of its channels, gave no value now. Drivers raise it; the worker counts, reports and retries."""
