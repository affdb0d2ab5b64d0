"""What the commands share that work on the register itself, beside a running Lichtmast or a stopped one."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from lichtmast.registry import Registry
from lichtmast.suite.commands.data_folder import used_folder
from lichtmast.suite.commands.output import console
from lichtmast.suite.errors import DeviceOrderError, SuiteError

TenantOption = Annotated[
    str | None, typer.Option("--tenant", help="One municipality, such as gm0402. Default: all.", show_default=False)
]


@contextmanager
def open_register(data: Path | None) -> Iterator[Registry]:
    """The register of the data folder. Raises SuiteError where there is none: a wrong folder gets no empty one."""
    folder = used_folder(data)
    if not folder.registry.is_file():
        raise SuiteError(f"there is no register in {folder.path}; name the data folder with --data")
    with Registry.open(folder.registry) as registry:
        yield registry


def lamppost(registry: Registry, tenant: str, source_id: str) -> int:
    """The id of the asset that hangs at this source id. Raises DeviceOrderError."""
    thing = registry.thing_by_source_id(tenant, source_id)
    if thing is not None:
        return thing.id
    # What a file calls an id of its own is id:… in the register.
    near = registry.thing_by_source_id(tenant, f"id:{source_id}")
    step = "import it first, or look its id up" if near is None else f"did you mean id:{source_id}?"
    raise DeviceOrderError(f"{tenant} has no lamppost {source_id}; {step}")


def parse_moment(text: str) -> datetime:
    """A moment of an option, in UTC and without its zone, as Typer gives them; words instead of three formats."""
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"):
        try:
            return datetime.strptime(text.removesuffix("Z"), form)  # noqa: DTZ007 - the caller puts UTC there
        except ValueError:
            continue
    raise typer.BadParameter(f"{text!r} is no moment; they are in UTC and look like 2026-12-01T07:00 or 2026-12-01")


def moment(at_us: int | None) -> str | None:
    """An instant for people and programs, in UTC; None stays None."""
    return None if at_us is None else f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%dT%H:%M:%SZ}"


def print_line(text: str) -> None:
    """One line as it is, however narrow the terminal; what others wrote cannot move the cursor."""
    shown = "".join(one if one.isprintable() else " " for one in text)
    console.print(shown, markup=False, highlight=False, soft_wrap=True)
