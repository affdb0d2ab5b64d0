"""Which commands there are, where each lives, and the group that imports one when it is called and not before.

Importing every room takes seconds; `lichtmast --help` and commands that need one room do not wait for the others.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group


class Offered(NamedTuple):
    """A command: its module here, the function or the `typer.Typer` in that, and the first sentence of its help."""

    module: str
    name: str
    summary: str


OFFERED: Final[Mapping[str, Offered]] = {
    "up": Offered("up", "up", "Run Lichtmast: broker, CoAP door, pipeline, store, register and pages, over IPv6."),
    "demo": Offered(
        "demo", "demo", "Run everything with a simulated town in a temporary folder, then draw up the account."
    ),
    "import": Offered(
        "importing",
        "import_assets",
        "Import lampposts: all of the file or, when a row is wrong, nothing; each problem is named by its row.",
    ),
    "audit": Offered(
        "audit",
        "audit",
        "Prove sent = stored + quarantined + duplicate + dropped, and name every missing pack.",
    ),
    "export": Offered("export", "export", "Write observations to Parquet or CSV, in (datastream, time) order."),
    "device": Offered("device", "app", "Register, claim, configure, command and see a device."),
    "ca": Offered("ca", "app", "The authority that certifies devices and servers."),
    "user": Offered("user", "app", "People: invite, list, grant, revoke, reset, tokens."),
    "validation": Offered("validation", "app", "Rules of what is believable: show, set, try, history."),
    "quarantine": Offered("quarantine", "app", "What was refused: list, show, replay after mending, discard."),
    "alert": Offered("alert", "app", "Alerts: list, show, acknowledge, shelve, comment, clear."),
    "rule": Offered("rule", "app", "Rules of alerts: list, show, add, try, on, off, remove."),
    "channel": Offered("channel", "app", "Channels of notifications: list, add, test, remove."),
    "sim": Offered("sim", "sim", "Virtual towns and floods, to try and to test with."),
}


class LazyGroup(TyperGroup):
    """The commands of OFFERED: listing them shows their summaries, calling one imports its module."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - Typer's, handed on
        super().__init__(**settings)
        self.commands = {name: TyperCommand(name, help=one.summary) for name, one in OFFERED.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - types of Typer's insides
        """Import what is called."""
        if args and args[0] in OFFERED:
            self.commands[args[0]] = loaded(args[0])
        return super().resolve_command(ctx, args)


def loaded(name: str) -> Any:  # noqa: ANN401 - as above
    """A command of OFFERED, imported and ready to run."""
    offered = OFFERED[name]
    module = import_module(f"lichtmast.suite.commands.{offered.module}")
    found: typer.Typer | Callable[..., None] = getattr(module, offered.name)
    if isinstance(found, typer.Typer):
        group = get_group(found)
        group.name = name
        return group
    alone = typer.Typer(add_completion=False)
    alone.command(name=name)(found)
    return get_command(alone)
