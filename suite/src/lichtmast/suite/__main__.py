"""The `lichtmast` command.

Expected failures are one line on stderr and exit code 1; anything else is a bug and shows its trace.
"""

import logging
import os
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Annotated, Final, NoReturn

import typer
from rich.text import Text

from lichtmast.suite.commands.offered import LazyGroup
from lichtmast.suite.commands.output import messages
from lichtmast.suite.errors import SuiteError

FAULTS: Final = "LICHTMAST_FAULTS"
"""Faultpoints to arm, for laboratories: docs/reference/running.md."""
_ROOTS: Final = (
    ("lichtmast.api.errors", "ServerError"),
    ("lichtmast.ingest.errors", "IngestError"),
    ("lichtmast.registry.errors", "RegistryError"),
    ("lichtmast.store.errors", "StoreError"),
)
"""The root of each room's errors: where it is defined, and its name."""

app = typer.Typer(
    name="lichtmast",
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Smart public space on IPv6: every reading that was sent can be accounted for.",
)


def _tell_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"lichtmast {version('lichtmast')}")
        raise typer.Exit


@app.callback()
def lichtmast(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Smart public space on IPv6: every reading that was sent can be accounted for."""


def expected() -> tuple[type[Exception], ...]:
    """The errors that are told in one line: those of the rooms that are loaded, for no other can have raised one."""
    roots = [getattr(sys.modules[module], name) for module, name in _ROOTS if module in sys.modules]
    return (SuiteError, OSError, ValueError, *roots)


def main() -> NoReturn:
    """Run the command line, and end with its exit code."""
    code = 0
    try:
        _arm(os.environ.get(FAULTS, ""))
        app()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except ExceptionGroup as group:
        told, unexpected = group.split(expected())
        if unexpected is not None:
            raise
        code = _tell(list(_leaves(told)))
    except Exception as error:
        if not isinstance(error, expected()):
            raise
        code = _tell([error])
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # All is closed and written. The interpreter's own end would make DuckDB's binding print a page about its leaks.
    os._exit(code)


def _arm(faults: str) -> None:
    """Arm what the environment says. Raises FaultpointError."""
    if not faults:
        return
    from lichtmast.wire.faultpoint import arm, parse_faults  # noqa: PLC0415 - only laboratories wait for it

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
