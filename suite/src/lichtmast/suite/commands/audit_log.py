"""`lichtmast audit --log`: verify the log of changes, show it, and write it out."""

import re
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import typer

from lichtmast.registry import Registry
from lichtmast.registry.auditing import AuditVerdict, LoggedEvent
from lichtmast.suite.commands.output import console, print_json
from lichtmast.suite.errors import SuiteError
from lichtmast.suite.folder import Folder

MOMENTS: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]
SHOWN: Final = 20
"""Events that are shown where --since says nothing."""
READ_MAX: Final = 10_000
"""Events that are shown at most; an export has all."""
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


def audit_log(
    folder: Folder, since: datetime | None, export: Path | None, expect: str | None, *, as_json: bool
) -> bool:
    """Say whether the log is whole, and show what was asked for; the answer is whether it is."""
    kept = None if expect is None else expect.strip().lower()
    if kept is not None and not _HASH.fullmatch(kept):
        raise typer.BadParameter("--expect is the head that this command printed: 64 characters of 0-9 and a-f")
    if not folder.registry.is_file():
        raise SuiteError(f"there is no register in {folder.path}; name the data folder with --data")
    with Registry.open(folder.registry) as registry:
        if export is not None:
            registry.audit_log.export(export)
        verdict = registry.audit_log.verify(kept)
        if since is None:
            events = registry.audit_log.read(limit=SHOWN, newest_first=True)[::-1]
        else:
            since_us = int(since.replace(tzinfo=UTC).timestamp() * 1_000_000)
            events = registry.audit_log.read(limit=READ_MAX, since_us=since_us)
    if as_json:
        told = asdict(verdict) | {"whole": verdict.is_whole, "shown": [asdict(one) for one in events]}
        print_json(told)
    else:
        _show(events, verdict)
    return verdict.is_whole


def _show(events: list[LoggedEvent], verdict: AuditVerdict) -> None:
    for one in events:
        moment = datetime.fromtimestamp(one.at_us / 1e6, UTC)
        line = f"{one.seq} {moment:%Y-%m-%dT%H:%M:%SZ} {one.actor_kind} {one.actor} {one.source}: {one.action}"
        change = f" {one.before or '-'} -> {one.after or '-'}" if one.before or one.after else ""
        console.print(f"{line} {one.subject}{change}", markup=False, highlight=False, soft_wrap=True)
    if len(events) == READ_MAX:
        console.print(f"The first {READ_MAX} are shown; --export writes all.")
    if verdict.first_bad is None:
        console.print(f"The log is whole: {verdict.events} events. Keep its head elsewhere, for --expect:")
    else:
        console.print(f"[bold red]The log is broken[/] at event {verdict.first_bad.seq}: {verdict.first_bad.fault}.")
    console.print(verdict.head.hash, markup=False, highlight=False, soft_wrap=True)
