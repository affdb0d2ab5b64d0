"""What the commands share that work on the register itself, beside a running Lichtmast or a stopped one."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from lichtmast.registry import Registry
from lichtmast.suite.commands.output import console
from lichtmast.suite.errors import SuiteError
from lichtmast.suite.folder import Folder

TenantOption = Annotated[
    str | None, typer.Option("--tenant", help="One municipality, such as gm0402. Default: all.", show_default=False)
]


@contextmanager
def open_register(data: Path | None) -> Iterator[Registry]:
    """The register of the data folder. Raises SuiteError where there is none: a wrong folder gets no empty one."""
    folder = Folder.choose(data)
    if not folder.registry.is_file():
        raise SuiteError(f"there is no register in {folder.path}; name the data folder with --data")
    with Registry.open(folder.registry) as registry:
        yield registry


def moment(at_us: int | None) -> str | None:
    """An instant for people and programs, in UTC; None stays None."""
    return None if at_us is None else f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%dT%H:%M:%SZ}"


def print_line(text: str) -> None:
    """One line as it is, however narrow the terminal; what others wrote cannot move the cursor."""
    shown = "".join(one if one.isprintable() else " " for one in text)
    console.print(shown, markup=False, highlight=False, soft_wrap=True)
