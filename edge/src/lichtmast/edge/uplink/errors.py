"""What goes wrong on the way up.

EdgeError
└── UplinkError         the link cannot be opened, or broke; the message says which, and what was being done
"""

from lichtmast.edge.errors import EdgeError


class UplinkError(EdgeError):
    """The link cannot be opened, or broke. Nothing is lost by it: what was on its way is sent again."""
