"""`python -m lichtmast.firmware_sim.checker HISTORY...`: judge a run from its files and a server's public pages.

Exit code 0: sound. 1: something is wrong, named on standard output. 2: the words are wrong, or nothing could be read.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from lichtmast.firmware_sim.checker.books import BooksError, read_books
from lichtmast.firmware_sim.checker.evidence import Evidence, Row
from lichtmast.firmware_sim.checker.judge import check
from lichtmast.firmware_sim.checker.report import Report
from lichtmast.firmware_sim.checker.sources import SourceError, read_export, read_sensorthings


def check_files(
    histories: Sequence[Path],
    *,
    export: Path | None = None,
    server: str | None = None,
    audit: Path | None = None,
    drained: bool = True,
    closed: bool = True,
    keep: Path | None = None,
) -> Report:
    """Judge from files. Raises BooksError, SourceError or OSError where something cannot be read.

    `export` is a CSV that `lichtmast export` wrote, `server` the address of the pages, `audit` what `lichtmast audit
    --json` printed. A failing run's files are put into the folder `keep`.
    """
    books = read_books(histories)
    paths: dict[str, list[Row]] = {}
    if export is not None:
        paths["export"] = read_export(export)
    if server is not None:
        paths["sensorthings"] = read_sensorthings(server)
    try:
        told = None if audit is None else json.loads(audit.read_text())
    except ValueError as error:
        raise SourceError(f"{audit} is not what lichtmast audit --json prints") from error
    partial = ("sensorthings",) if export is not None else ()
    report = check(books, Evidence(paths, partial, audit=told), drained=drained, closed=closed)
    if keep is not None and not report.sound:
        report.keep(keep, histories)
    return report


def main() -> NoReturn:
    """Run the command line, and end with its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m lichtmast.firmware_sim.checker",
        description="Hold the histories of devices against what a Lichtmast shows.",
        epilog="Give --export, --server or both; with both, the two are also held against each other.",
    )
    parser.add_argument("history", nargs="+", type=Path, help="what the devices wrote, see docs/reference/history.md")
    parser.add_argument("--export", type=Path, metavar="FILE.csv", help="rows, as lichtmast export wrote them")
    parser.add_argument("--server", metavar="URL", help="address of the pages: rows by SensorThings")
    parser.add_argument("--audit", type=Path, metavar="FILE", help="what lichtmast audit --json printed")
    parser.add_argument("--undrained", action="store_true", help="packs without an answer may still be on their way")
    parser.add_argument("--others", action="store_true", help="other devices have spoken to this server too")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where a failing run's files are put aside")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    words = parser.parse_args()
    if words.export is None and words.server is None:
        parser.error("nothing to hold the histories against; give --export FILE.csv, --server URL or both")
    try:
        report = check_files(
            words.history,
            export=words.export,
            server=words.server,
            audit=words.audit,
            drained=not words.undrained,
            closed=not words.others,
            keep=words.keep,
        )
    except (BooksError, SourceError, OSError) as error:
        parser.error(str(error))
    print(json.dumps(report.as_json(), ensure_ascii=False) if words.json else report.text())  # noqa: T201 - it is the result
    sys.exit(0 if report.sound else 1)


if __name__ == "__main__":
    main()
