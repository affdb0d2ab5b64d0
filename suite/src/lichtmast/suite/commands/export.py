"""`lichtmast export`: write observations to a file that anyone can read."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from lichtmast.store import DuckStore
from lichtmast.suite.clock import now_us
from lichtmast.suite.commands.data_folder import used_folder
from lichtmast.suite.commands.output import DataOption, JsonOption, console, messages, print_json
from lichtmast.suite.remote import Remote

_1970: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FORMATS: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]


class Form(StrEnum):
    """Kinds of files."""

    PARQUET = "parquet"
    CSV = "csv"


def export(
    file: Annotated[Path, typer.Argument(help="File to write; must not exist.", dir_okay=False)],
    data: DataOption = None,
    *,
    form: Annotated[
        Form | None, typer.Option("--format", help="Default: by the file's name.", show_default=False)
    ] = None,
    start: Annotated[
        datetime | None, typer.Option("--from", formats=_FORMATS, help="First moment, UTC.", show_default="all")
    ] = None,
    end: Annotated[
        datetime | None,
        typer.Option("--to", formats=_FORMATS, help="First moment that is left out, UTC.", show_default="all"),
    ] = None,
    datastream: Annotated[
        list[int] | None, typer.Option(help="Datastream id; may be given more than once.", show_default="all")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write observations to Parquet or CSV, in (datastream, time) order."""
    path = file.absolute()
    if path.exists():
        raise typer.BadParameter(f"{file} exists; remove it or choose another name")
    chosen = form.value if form else path.suffix.lstrip(".").lower()
    if chosen not in list(Form):
        raise typer.BadParameter(f"{file} does not end in .parquet or .csv; say --format")
    start_us, end_us = _microseconds(start, 0), _microseconds(end, 2**62)
    if start_us >= end_us:
        raise typer.BadParameter("--from is not before --to")
    folder = used_folder(data)
    with messages.status("Writing"):
        remote = Remote.find(folder)
        if remote is not None:
            order = {
                "path": str(path),
                "form": chosen,
                "start_us": start_us,
                "end_us": end_us,
                "datastream_ids": datastream,
            }
            rows = remote.post("/export", order)["rows"]
        else:
            store = DuckStore.open(folder.store, clock_us=now_us)
            try:
                rows = store.export(path, form=chosen, start_us=start_us, end_us=end_us, datastream_ids=datastream)
            finally:
                store.close()
    if as_json:
        print_json({"file": str(path), "rows": rows})
    else:
        console.print(f"{rows} observations in {file}")


def _microseconds(moment: datetime | None, otherwise: int) -> int:
    return otherwise if moment is None else (moment.replace(tzinfo=UTC) - _1970) // timedelta(microseconds=1)
