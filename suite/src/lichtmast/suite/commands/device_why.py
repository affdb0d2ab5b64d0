"""`lichtmast device why`: down the ladder of reasons for which a device may be quiet, to one sentence."""

from enum import StrEnum
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from lichtmast.suite.commands.output import DataOption, JsonOption, console, print_json
from lichtmast.suite.errors import OperatorError
from lichtmast.suite.folder import Folder
from lichtmast.suite.remote import Remote
from lichtmast.wire import DeviceId

_STYLES = {"ok": "green", "bad": "bold red", "unknown": "dim"}


class Language(StrEnum):
    """In which language it is told."""

    EN = "en"
    NL = "nl"


def why(
    device: Annotated[str, typer.Argument(metavar="TENANT/DEVICE", help="As in gm0402/lm-0001.")],
    data: DataOption = None,
    *,
    language: Annotated[Language, typer.Option(help="In which language.")] = Language.EN,
    as_json: JsonOption = False,
) -> None:
    """Tell why a device is quiet, and what to do next. Exit code 1 where it is quiet or something is wrong."""
    folder, wanted = Folder.choose(data), DeviceId.parse(device)
    remote = Remote.find(folder)
    if remote is None:
        raise OperatorError(
            f"no Lichtmast runs on {folder.path}, so every device is quiet; start it: lichtmast up --data {folder.path}"
        )
    told = remote.get(f"/silence/{wanted}")
    if as_json:
        print_json(told)
    else:
        ladder = Table.grid(padding=(0, 2))
        for one in told["ladder"]:
            state = Text(one["state"], _STYLES[one["state"]])
            ladder.add_row(one["rung"], state, Text(one["text"][language]))
        console.print(ladder)
        if told["contact"] is not None:
            contact = told["contact"]
            heard = f"{contact['heard']} from {contact['address']} over {contact['transport']}"
            console.print(f"last heard {heard}", markup=False, soft_wrap=True)
        console.print(Text(told["sentence"][language], "bold"), soft_wrap=True)
        console.print(told["next"][language], markup=False, soft_wrap=True)
    raise typer.Exit(1 if told["quiet"] or told["rung"] is not None else 0)
