"""What goes wrong with the twin's own files and with starting anew."""

from lichtmast.edge.errors import EdgeError


class KeepError(EdgeError):
    """A configuration or the memory of commands could not be written; what was there before still is."""


class RebootAskedError(EdgeError):
    """A reboot was commanded and remembered: end the process with REBOOT_EXIT_CODE and let the supervisor start it."""


class RebootFailedError(EdgeError):
    """The settings' reboot_command did not work; the message tells how it ended."""
