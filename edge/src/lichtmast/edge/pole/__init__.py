"""The local CoAP server for the engineer at the pole: what the device is, measures, keeps and finds wrong with itself.

`open_pole` makes it; only then aiocoap is imported, because an agent without it should not pay for it. `inspection`,
`addresses` and `representation` are pure; `resources` and `server` are the shell around aiocoap.

Will not: change anything but start a self-test, listen on a global address, or answer anyone who is not on the link.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lichtmast.edge.pole.errors import PoleError
from lichtmast.edge.pole.view import PoleView

if TYPE_CHECKING:
    from lichtmast.edge.pole.server import PoleServer

__all__ = ["PoleError", "PoleView", "open_pole"]


def open_pole(view: PoleView, *, interfaces: Sequence[str], port: int, seed: int = 0) -> "PoleServer":
    """A server for these interfaces and ::1; `seed` spreads its answers to groups. It works while its `run` does."""
    from lichtmast.edge.pole.server import PoleServer  # noqa: PLC0415 - aiocoap costs memory that most agents can save

    return PoleServer(view, interfaces=interfaces, port=port, seed=seed)
