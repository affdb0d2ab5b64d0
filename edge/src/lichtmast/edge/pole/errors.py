"""What goes wrong with the server at the pole."""

from lichtmast.edge.errors import EdgeError


class PoleError(EdgeError):
    """An address cannot be served; the message says which, and what to do."""
