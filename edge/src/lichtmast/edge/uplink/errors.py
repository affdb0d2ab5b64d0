"""What goes wrong on the way up.

EdgeError
└── UplinkError             the link cannot be opened, or broke; the message says which, and what was being done
    ├── LinkRefusedError    for the sake of identity: the server refuses us, or we refuse the server
    └── RenewedError        not wrong at all: the link is opened anew, with another certificate
"""

from lichtmast.edge.errors import EdgeError
from lichtmast.edge.identity.refusals import MEANINGS, Refusal


class UplinkError(EdgeError):
    """The link cannot be opened, or broke. Nothing is lost by it: what was on its way is sent again."""


class LinkRefusedError(UplinkError):
    """The link was refused for the sake of identity; `refusal` says by whom and why."""

    def __init__(self, where: str, refusal: Refusal) -> None:
        super().__init__(f"{where}: {MEANINGS[refusal].told}")
        self.refusal = refusal


class RenewedError(UplinkError):
    """The certificate is another. The connection made with the one before has ended, with nothing on its way."""
