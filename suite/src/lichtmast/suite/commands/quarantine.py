"""`lichtmast quarantine`: what was refused and why, and what becomes of it: replay after mending, or discard.

`list` and `show` work on a stopped Lichtmast too; replay and discard go through the log of a running one.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from lichtmast.store import DuckStore
from lichtmast.store.port import Selection
from lichtmast.suite.clock import now_us
from lichtmast.suite.commands.data_folder import used_folder
from lichtmast.suite.commands.output import DataOption, JsonOption, console, messages, print_json
from lichtmast.suite.errors import OperatorError
from lichtmast.suite.operator_actor import operator_actor
from lichtmast.suite.quarantine_told import ENTRIES_MAX, entries_told, entry_told, groups_told
from lichtmast.suite.remote import Remote
from lichtmast.wire import DeviceId, Refusal

app = typer.Typer(
    name="quarantine", no_args_is_help=True, help="What was refused: list, show, replay after mending, discard."
)

SHOWN_MAX: Final = 40
_1970: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MOMENTS: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
_Told = TypeVar("_Told")


class By(StrEnum):
    """How groups are told."""

    REASON = "reason"
    DEVICE = "device"


EntriesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[LOG_SEQ/PART]...", help="Entries, as `list --entries` names them.", show_default=False),
]
EntryArgument = Annotated[str, typer.Argument(metavar="LOG_SEQ/PART", help="As `list --entries` names it: 1234/0.")]
ReasonOption = Annotated[
    str | None, typer.Option(help="Those refused for this reason, such as wrong_unit.", show_default=False)
]
DeviceOption = Annotated[str | None, typer.Option(help="Those of this device, TENANT/DEVICE.", show_default=False)]
SinceOption = Annotated[
    datetime | None, typer.Option(formats=_MOMENTS, help="Those received from then on, UTC.", show_default=False)
]
AllOption = Annotated[bool, typer.Option("--all", help="All there are; needed where nothing else narrows it.")]


@app.command("list")
def list_groups(
    *,
    by: Annotated[By | None, typer.Option(help="Fold the lines: by reason, or by device.", show_default=False)] = None,
    by_entry: Annotated[
        bool, typer.Option("--entries", help="The packs one by one instead, each with its name, oldest first.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, max=ENTRIES_MAX, help="With --entries: at most so many.", show_default=str(SHOWN_MAX)),
    ] = None,
    reason: ReasonOption = None,
    device: DeviceOption = None,
    since: SinceOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """How many packs lie in quarantine, by reason and device, with what was said of the last of them."""
    chosen = _chosen(None, reason, device, since)
    if (by is not None) if by_entry else (limit is not None):
        raise typer.BadParameter("--by does not go with --entries, and --limit goes with nothing else")
    if by_entry:
        _list_entries(data, chosen, limit or SHOWN_MAX, as_json=as_json)
        return
    told = _ask(
        data,
        lambda remote: remote.post("/quarantine/groups", chosen),
        lambda store: groups_told(store, _selection(chosen)),
    )
    if by is not None:
        told["groups"] = _folded(told["groups"], by)
    if as_json:
        print_json(told)
        return
    console.print(f"{told['packs']} packs are in quarantine")
    _show_groups(told["groups"])
    if told["groups"]:
        hint = "each by the name that show, replay and discard take: lichtmast quarantine list --entries"
        console.print(hint, soft_wrap=True)


def _list_entries(data: Path | None, chosen: dict[str, Any], limit: int, *, as_json: bool) -> None:
    told = _ask(
        data,
        lambda remote: remote.post("/quarantine/entries", {"chosen": chosen, "limit": limit}),
        lambda store: entries_told(store, _selection(chosen), limit),
    )
    if as_json:
        print_json(told)
        return
    for one in told["entries"]:
        who = one["device"] or "nobody known"
        line = f"{one['entry']}  {one['received']}  {one['reason']}  {who}: {one['detail']}"
        console.print(_printable(line), markup=False, highlight=False, soft_wrap=True)
    if not told["entries"]:
        console.print("No such pack is in quarantine")
    elif not told["is_whole"]:
        console.print(f"and later ones: --limit up to {ENTRIES_MAX}, or --since")


@app.command()
def show(entry: EntryArgument, *, data: DataOption = None, as_json: JsonOption = False) -> None:
    """One pack: why it was refused, its bytes, and what would become of it now. Exit code 1 where it is not there."""
    log_seq, part = _entry(entry)
    chosen = {"entries": [[log_seq, part]]}

    def from_running(remote: Remote) -> dict[str, Any]:
        told = remote.get(f"/quarantine/entries/{log_seq}/{part}")
        if told["state"] == "open":
            told["now"] = _round(remote, "replays", chosen, None, dry_run=True)
        return told

    def from_folder(store: DuckStore) -> dict[str, Any]:
        told = entry_told(store, log_seq, part)
        if told is None:
            raise OperatorError(f"{entry} is not in the quarantine and never was, or past its term")
        return told

    told = _ask(data, from_running, from_folder)
    if as_json:
        print_json(told)
        return
    for name in ("entry", "state", "device", "received", "closed", "transport", "reason", "detail", "bytes"):
        if name in told:
            console.print(f"{name} {_printable(str(told[name]))}", markup=False, soft_wrap=True)
    if "payload" in told:
        console.print(told["text"] or f"base64 {told['payload']}", markup=False, soft_wrap=True)
    if "now" in told:
        why = told["now"]["still_refused"]
        now = f"still {why[0]['reason']}: {why[0]['detail']}" if why else "it would pass: lichtmast quarantine replay"
        console.print(f"now {_printable(now)}", markup=False, soft_wrap=True)


@app.command()
def replay(
    entries: EntriesArgument = None,
    *,
    reason: ReasonOption = None,
    device: DeviceOption = None,
    since: SinceOption = None,
    everything: AllOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would pass, and what stands against it.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge packs anew by today's register, and store what passes, with its own time. Exit code 1 where some stay."""
    chosen = _required(_chosen(entries, reason, device, since), everything)
    told = {"examined": 0, "replayed": 0, "duplicates": 0, "kept": 0, "dry_run": dry_run}
    still: dict[tuple[str, str], dict[str, Any]] = {}
    for one in _rounds(data, "replays", chosen, "Judging" if dry_run else "Replaying", dry_run=dry_run):
        for name in ("examined", "replayed", "duplicates", "kept"):
            told[name] += one[name]
        for group in one["still_refused"]:
            held = still.setdefault((group["reason"], group["device"]), group | {"packs": 0})
            held["packs"] += group["packs"]
    groups = sorted(still.values(), key=lambda one: -one["packs"])
    if as_json:
        print_json(told | {"still_refused": groups})
    else:
        would = "would be " if dry_run else ""
        console.print(
            f"{told['examined']} looked at: {would}stored {told['replayed']}, {would}dropped as stored already "
            f"{told['duplicates']}, still refused {told['kept']}"
        )
        _show_groups(groups)
    raise typer.Exit(1 if told["kept"] else 0)


@app.command()
def discard(  # noqa: PLR0913 - one parameter an option
    entries: EntriesArgument = None,
    *,
    because: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the log of changes.")],
    reason: ReasonOption = None,
    device: DeviceOption = None,
    since: SinceOption = None,
    everything: AllOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase the bytes of packs for good. Their lines in the ledger stay, so the books still balance."""
    chosen = _required(_chosen(entries, reason, device, since), everything)
    examined = discarded = 0
    more = {"because": because}
    for one in _rounds(data, "discards", chosen, "Counting" if dry_run else "Discarding", dry_run=dry_run, more=more):
        examined += one["examined"]
        discarded += one["discarded"]
    if as_json:
        print_json({"examined": examined, "discarded": discarded, "dry_run": dry_run})
    else:
        console.print(f"{discarded} packs {'would be ' if dry_run else ''}discarded: {escape(because)}")


def _rounds(
    data: Path | None,
    what: str,
    chosen: dict[str, Any],
    doing: str,
    *,
    dry_run: bool,
    more: dict[str, Any] | None = None,
) -> Iterable[dict[str, Any]]:
    """One answer a round, until all that was chosen at the beginning has been looked at."""
    folder = used_folder(data)
    remote = Remote.find(folder)
    if remote is None:
        raise OperatorError(
            f"no Lichtmast runs on {folder.path}, and only its pipeline stores; lichtmast up --data {folder.path}"
        )
    remote.get("/devices")  # doors and pipeline judge by the register as it is now
    # What is refused while this goes on is not ours: without an end, a device that is refused all the time is one.
    total = remote.post("/quarantine/groups", chosen)["packs"]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    after, examined = None, 0
    with Progress(*columns, console=messages, transient=True) as progress:
        task = progress.add_task(doing, total=total)
        while True:
            told = _round(remote, what, chosen, after, dry_run=dry_run, more=more)
            yield told
            examined += told["examined"]
            progress.update(task, completed=examined)
            after = told["next"]
            if after is None or examined >= total:
                return


def _round(
    remote: Remote,
    what: str,
    chosen: dict[str, Any],
    after: list[int] | None,
    *,
    dry_run: bool,
    more: dict[str, Any] | None = None,
) -> dict[str, Any]:
    order = {"chosen": chosen, "after": after, "by": operator_actor().name, "dry_run": dry_run}
    return remote.post(f"/quarantine/{what}", order | (more or {}))


def _chosen(
    entries: Sequence[str] | None, reason: str | None, device: str | None, since: datetime | None
) -> dict[str, Any]:
    """As the operator endpoint takes it."""
    if reason is not None and reason not in {one.value for one in Refusal}:
        raise typer.BadParameter(f"there is no reason {reason}; see: lichtmast quarantine list --by reason")
    return {
        "reason": reason,
        "device": None if device is None else str(DeviceId.parse(device)),
        "since_us": None if since is None else (since.replace(tzinfo=UTC) - _1970) // timedelta(microseconds=1),
        "entries": [_entry(one) for one in entries] if entries else None,
    }


def _selection(chosen: dict[str, Any]) -> Selection:
    return Selection(reason=chosen["reason"], device=chosen["device"], since_us=chosen["since_us"])


def _required(chosen: dict[str, Any], everything: bool) -> dict[str, Any]:  # noqa: FBT001 - an option's value
    is_narrowed = any(value is not None for value in chosen.values())
    if is_narrowed == everything:
        raise typer.BadParameter(
            "--all goes with nothing else" if everything else "name entries, --reason, --device or --since; or --all"
        )
    return chosen


def _entry(text: str) -> tuple[int, int]:
    log_seq, slash, part = text.partition("/")
    if not (slash and log_seq.isdecimal() and part.isdecimal() and len(text) <= 30):  # noqa: PLR2004 - of two numbers
        raise typer.BadParameter(f"{text[:40]!r} is no entry; they look like 1234/0")
    return int(log_seq), int(part)


def _ask(data: Path | None, running: Callable[[Remote], _Told], stopped: Callable[[DuckStore], _Told]) -> _Told:
    """The Lichtmast that runs on the folder, or the folder itself."""
    folder = used_folder(data)
    remote = Remote.find(folder)
    if remote is not None:
        return running(remote)
    store = DuckStore.open(folder.store, clock_us=now_us)
    try:
        return stopped(store)
    finally:
        store.close()


def _folded(groups: Iterable[dict[str, Any]], by: By) -> list[dict[str, Any]]:
    """One line a reason, or a device; the largest first."""
    other = By.DEVICE if by is By.REASON else By.REASON
    folded: dict[str, dict[str, Any]] = {}
    for one in groups:
        held = folded.setdefault(one[by], {by.value: one[by], f"{other}s": 0, **one, "packs": 0})
        held.pop(other.value, None)
        held[f"{other}s"] += 1
        held["packs"] += one["packs"]
        held["first"] = min(held["first"], one["first"])
        if one["last"] >= held["last"]:
            held["last"], held["detail"] = one["last"], one["detail"]
    return sorted(folded.values(), key=lambda one: -one["packs"])


def _show_groups(groups: Sequence[dict[str, Any]]) -> None:
    """A table of who and why, then what was said."""
    if not groups:
        return
    names = [name for name in ("packs", "reason", "device", "reasons", "devices", "entry", "last") if name in groups[0]]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in names:
        table.add_column(name, justify="right" if name == "packs" else "left", overflow="fold")
    for one in groups[:SHOWN_MAX]:
        table.add_row(*(Text(str(one[name]) or "nobody known") for name in names))
    console.print(table)
    for one in groups[:SHOWN_MAX]:
        who = ", ".join(str(one[name]) for name in ("reason", "device") if one.get(name))
        if one["detail"]:
            console.print(f"{who}: {_printable(one['detail'])}", markup=False, soft_wrap=True)
    if len(groups) > SHOWN_MAX:
        console.print(f"and {len(groups) - SHOWN_MAX} more such lines, in --json")


def _printable(text: str) -> str:
    """What a device sent cannot move the cursor."""
    return "".join(char if char.isprintable() else " " for char in text)
