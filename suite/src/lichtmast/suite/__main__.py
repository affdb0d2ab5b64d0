"""The `lichtmast` command.

Expected failures are one line on stderr and exit code 1; anything else is a bug and shows its trace.
"""

import logging
import os
import sys
import time
from collections.abc import Iterator
from typing import Final, NoReturn

import typer
from rich.text import Text

from lichtmast.api import ServerError
from lichtmast.ingest.errors import IngestError
from lichtmast.registry import RegistryError
from lichtmast.store import StoreError
from lichtmast.suite.commands.audit import audit
from lichtmast.suite.commands.ca import app as ca
from lichtmast.suite.commands.demo import demo
from lichtmast.suite.commands.device import app as device
from lichtmast.suite.commands.export import export
from lichtmast.suite.commands.importing import import_assets
from lichtmast.suite.commands.output import messages
from lichtmast.suite.commands.sim import sim
from lichtmast.suite.commands.up import up
from lichtmast.suite.commands.user import app as user
from lichtmast.suite.errors import SuiteError
from lichtmast.wire.faultpoint import arm, parse_faults

FAULTS: Final = "LICHTMAST_FAULTS"
"""Faultpoints to arm, for laboratories: docs/reference/running.md."""

EXPECTED = (SuiteError, StoreError, RegistryError, IngestError, ServerError, OSError, ValueError)

app = typer.Typer(
    name="lichtmast",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Smart public space on IPv6: every reading that was sent can be accounted for.",
)
app.command()(up)
app.command()(demo)
app.command(name="import")(import_assets)
app.command()(audit)
app.command()(export)
app.add_typer(device)
app.add_typer(ca)
app.add_typer(user)
app.add_typer(sim)


def main() -> NoReturn:
    """Run the command line, and end with its exit code."""
    code = 0
    try:
        _arm(os.environ.get(FAULTS, ""))
        app()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except EXPECTED as error:
        code = _tell([error])
    except ExceptionGroup as group:
        expected, unexpected = group.split(EXPECTED)
        if unexpected is not None:
            raise
        code = _tell(list(_leaves(expected)))
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # All is closed and written. The interpreter's own end would make DuckDB's binding print a page about its leaks.
    os._exit(code)


def _arm(faults: str) -> None:
    """Arm what the environment says. Raises FaultpointError."""
    actions = parse_faults(faults)
    if actions:
        arm(actions, leave=os._exit, sleep=time.sleep)
        told = f"FAULTS ARMED by {FAULTS}, this process will fail on purpose: {faults}"
        messages.print(Text(told, style="bold white on red"))


def _tell(errors: list[Exception]) -> int:
    """Say each once; the exit code."""
    for text in dict.fromkeys(str(error) or repr(error) for error in errors):
        messages.print(Text.assemble(("lichtmast: ", "bold red"), text))
    return 1


def _leaves(group: BaseException | None) -> Iterator[Exception]:
    """The errors in a group of groups."""
    if isinstance(group, ExceptionGroup):
        for one in group.exceptions:
            yield from _leaves(one)
    elif isinstance(group, Exception):
        yield group


if __name__ == "__main__":
    main()
