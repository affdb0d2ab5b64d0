"""`lichtmast audit`: draw up the books and say whether they balance."""

from typing import Any

import typer
from rich.table import Table

from lichtmast.store import DuckStore
from lichtmast.suite.audit import audit as draw_up
from lichtmast.suite.clock import now_us
from lichtmast.suite.commands.output import DataOption, JsonOption, console, print_json
from lichtmast.suite.folder import Folder
from lichtmast.suite.remote import Remote

SHOWN_MAX = 40


def audit(data: DataOption = None, *, as_json: JsonOption = False) -> None:
    """Prove sent = stored + quarantined + duplicate + dropped, and name every missing pack.

    Works on a running Lichtmast (which first stores what its log still holds) and on a stopped one. Exit code 1 when
    the books do not balance.
    """
    folder = Folder.choose(data)
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
    table = Table("device", "hour (UTC)", "sent", "stored", "quarantined", "duplicates", "readings")
    for account in told["accounts"][-SHOWN_MAX:]:
        sent = account["stored"] + account["quarantined"] + account["duplicates"]
        table.add_row(
            *(str(one) for one in (account["device"], account["hour"], sent, account["stored"])),
            *(str(account[name]) for name in ("quarantined", "duplicates", "readings")),
        )
    console.print(table)
    if len(told["accounts"]) > SHOWN_MAX:
        console.print(f"the last {SHOWN_MAX} of {len(told['accounts'])} lines; all are in --json")
    for one in told["missing_packs"][:SHOWN_MAX]:
        console.print(f"missing: {one['device']} epoch {one['epoch']} seq {one['first']}..{one['last']}")
    for device, count in list(told["dropped_by_device"].items())[:SHOWN_MAX]:
        console.print(f"dropped: {device} declares {count} packs that it had to drop")
    console.print(
        f"sent {told['sent']} = stored {told['stored']} + quarantined {told['quarantined']} "
        f"+ duplicates {told['duplicates']} + dropped {told['dropped']} + missing {told['missing']}"
    )
    if told["waiting"] is None:
        console.print(
            "The log was not asked, as Lichtmast is not running: it may hold messages that are not stored yet."
        )
    elif told["waiting"]:
        console.print(f"{told['waiting']} messages of the log are still to be stored")
    for fault in told["faults"]:
        console.print(f"[bold red]fault[/]: {fault}")
    console.print("The books balance." if told["balanced"] else "The books do not balance.")
