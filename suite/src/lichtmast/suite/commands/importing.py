"""`lichtmast import`: bring lampposts into the register from a file."""

import tempfile
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from lichtmast.registry import ImportReport, Registry, import_source
from lichtmast.suite.commands.output import DataOption, JsonOption, console, messages, print_json
from lichtmast.suite.folder import Folder

SHOWN_MAX = 20


class SourceKind(StrEnum):
    """Kinds of files."""

    BGT = "bgt"
    GEOJSON = "geojson"
    CSV = "csv"


def import_assets(
    kind: Annotated[SourceKind, typer.Argument(help="bgt: CityGML with Paal objects; geojson: points; csv: a table.")],
    file: Annotated[Path, typer.Argument(help="The file to read.", exists=True, dir_okay=False, readable=True)],
    tenant: Annotated[str, typer.Option(help="Municipality: gm and its CBS code, as in gm0402.")],
    data: DataOption = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do and report everything, but change nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Import lampposts: all of the file or, when a row is wrong, nothing; each problem is named by its row.

    Importing the same file twice changes nothing. Works beside a running Lichtmast. Exit code 1 when there are errors.
    """
    with ExitStack() as stack:
        registry = stack.enter_context(Registry.open(Folder.choose(data).registry))
        if not dry_run:
            registry.ensure_tenant(tenant)
        elif all(one.code != tenant for one in registry.tenants()):
            # A dry run adds no tenant: what the file would do to a new one, it does to an empty register elsewhere.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="lichtmast-import-"))
            registry = stack.enter_context(Registry.open(Path(folder) / "registry.sqlite"))
            registry.ensure_tenant(tenant)
        columns = (TextColumn("Reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        bar = stack.enter_context(Progress(*columns, console=messages, transient=True))
        task = bar.add_task("read", total=None)

        def progress(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        source = import_source(kind.value, file, tenant=tenant)
        report = registry.import_assets(tenant, source, dry_run=dry_run, progress=progress)
    if as_json:
        print_json(report.as_json())
    else:
        _show(report)
    raise typer.Exit(0 if report.sound else 1)


def _show(report: ImportReport) -> None:
    for name in ("assets", "active", "ended", "updated", "unchanged"):
        console.print(f"{name:10} {getattr(report, name)}")
    for severity, problems, counts in (
        ("warning", report.warnings, report.warning_counts),
        ("error", report.errors, report.error_counts),
    ):
        for reason, count in counts.items():
            console.print(f"{count} {severity}{'s' if count > 1 else ''}: {reason}", markup=False)
        for problem in problems[:SHOWN_MAX]:
            where = "file" if problem.row is None else f"row {problem.row}"
            console.print(f"  {severity} in {where}: {problem.message}", markup=False)
        if len(problems) > SHOWN_MAX:
            console.print("  ... and more; see --json for the first of each kind")
    if report.dry_run:
        console.print("Nothing was changed: this was a dry run.")
    elif not report.committed:
        console.print("Nothing was changed: mend the errors and import again.")
