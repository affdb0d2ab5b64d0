"""`lichtmast audit`: draw up the books and say whether they balance; with --log, whether the log of changes is."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from lichtmast.store import DuckStore
from lichtmast.suite.audit import audit as draw_up
from lichtmast.suite.clock import now_us
from lichtmast.suite.commands.audit_log import MOMENTS, audit_log
from lichtmast.suite.commands.data_folder import used_folder
from lichtmast.suite.commands.output import DataOption, JsonOption, console, print_json
from lichtmast.suite.refused import refused_line
from lichtmast.suite.remote import Remote

SHOWN_MAX: Final = 40
DEVICE_WIDTH_MIN: Final = 32
"""Of the column, where a name is that long: with the figures it fits 80 columns."""
_FIGURES: Final = ("stored", "quarantined", "duplicates", "dropped", "missing")


def audit(
    data: DataOption = None,
    *,
    log: Annotated[bool, typer.Option("--log", help="Verify the log of changes instead, and show it.")] = False,
    since: Annotated[
        datetime | None, typer.Option(formats=MOMENTS, help="With --log: show events from then on, UTC.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="With --log: write all events to this file.", dir_okay=False)
    ] = None,
    expect: Annotated[
        str | None, typer.Option(metavar="HASH", help="With --log: a head that was kept elsewhere must be in it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Prove sent = stored + quarantined + duplicate + dropped, and name every missing pack.

    What was discarded from the quarantine on purpose is a sum of its own. Works on a running Lichtmast (which first
    stores what its log still holds) and on a stopped one. Exit code 1 when the books do not balance, or when the log of
    changes is not whole.
    """
    if log:
        raise typer.Exit(0 if audit_log(used_folder(data), since, export, expect, as_json=as_json) else 1)
    if since is not None or export is not None or expect is not None:
        raise typer.BadParameter("--since, --export and --expect belong to --log")
    folder = used_folder(data)
    remote = Remote.find(folder)
    if remote is not None:
        told = remote.get("/audit")
    else:
        store = DuckStore.open(folder.store, clock_us=now_us)
        try:
            told = draw_up(store, None).as_json()
        finally:
            store.close()
    if as_json:
        print_json(told)
    else:
        _show(told)
    raise typer.Exit(0 if told["balanced"] else 1)


def _show(told: dict[str, Any]) -> None:
    discarded = f"+ discarded {told['discarded']} " if told["discarded"] else ""
    console.print(
        f"sent {told['sent']} = stored {told['stored']} + quarantined {told['quarantined']} "
        f"+ duplicates {told['duplicates']} {discarded}+ dropped {told['dropped']} + missing {told['missing']}",
        soft_wrap=True,
    )
    _show_devices(_concerned(told))
    _show_lines(
        f"missing: {one['device']} epoch {one['epoch']} seq {one['first']}..{one['last']}"
        for one in told["missing_packs"]
    )
    _show_lines(f"{one['device']}: {refused_line(one)}" for one in told["quarantined_by_reason"])
    if told["waiting"] is None:
        console.print(
            "The log was not asked, as Lichtmast is not running: it may hold messages that are not stored yet."
        )
    elif told["waiting"]:
        console.print(f"{told['waiting']} messages of the log are still to be stored")
    for fault in told["faults"]:
        console.print(f"[bold red]fault[/]: {fault}")
    console.print("The books balance." if told["balanced"] else "The books do not balance.")


def _concerned(told: dict[str, Any]) -> dict[str, dict[str, int]]:
    """The figures of each device with packs in quarantine, dropped or missing."""
    devices: dict[str, dict[str, int]] = {}

    def add(device: str, name: str, count: int) -> None:
        devices.setdefault(device, dict.fromkeys(_FIGURES, 0))[name] += count

    for account in told["accounts"]:
        for name in ("stored", "quarantined", "duplicates"):
            add(account["device"], name, account[name])
    for device, count in told["dropped_by_device"].items():
        add(device, "dropped", count)
    for one in told["missing_packs"]:
        add(one["device"], "missing", one["last"] - one["first"] + 1)
    return {
        device: figures
        for device, figures in sorted(devices.items())
        if figures["quarantined"] or figures["dropped"] or figures["missing"]
    }


def _show_devices(devices: dict[str, dict[str, int]]) -> None:
    """A table that fits 80 columns."""
    if not devices:
        return
    shown = dict(list(devices.items())[:SHOWN_MAX])
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("device", no_wrap=True, min_width=min(max(map(len, shown)), DEVICE_WIDTH_MIN))
    for name in _FIGURES:
        table.add_column(name, justify="right", no_wrap=True)
    for device, figures in shown.items():
        table.add_row(Text(device), *(str(figures[name]) for name in _FIGURES))
    console.print(table)
    if len(devices) > SHOWN_MAX:
        console.print(f"{SHOWN_MAX} of {len(devices)} such devices; all are in --json")


def _show_lines(lines: Iterable[str]) -> None:
    """The first of them, one line each however narrow the terminal is."""
    told = list(lines)
    for line in told[:SHOWN_MAX]:
        console.print(line, markup=False, soft_wrap=True)
    if len(told) > SHOWN_MAX:
        console.print(f"and {len(told) - SHOWN_MAX} more such lines, in --json")
