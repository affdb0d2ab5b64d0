"""The independent checker: holds what devices swear to against what the server shows, and names every difference.

    books = read_books([Path("run.jsonl")])
    report = check(books, Evidence({"export": read_export(Path("all.csv"))}))
    print(report.text())

It sees the server from outside only: rows by an export and by SensorThings, what `lichtmast audit --json` says, and
whatever a test hands it. It has no part in what it judges but the wire's decoder.
"""

from lichtmast.firmware_sim.checker.books import Account, Books, BooksError, Mark, PackKey, read_books
from lichtmast.firmware_sim.checker.evidence import Arrival, Evidence, Fate, Row
from lichtmast.firmware_sim.checker.judge import check
from lichtmast.firmware_sim.checker.report import Counts, Fault, Recovery, Report
from lichtmast.firmware_sim.checker.rollups import Rollup, check_rollups
from lichtmast.firmware_sim.checker.sealing import Sealed, sealed_value
from lichtmast.firmware_sim.checker.sources import SourceError, read_export, read_sensorthings
from lichtmast.firmware_sim.checker.watching import Watcher

__all__ = [
    "Account",
    "Arrival",
    "Books",
    "BooksError",
    "Counts",
    "Evidence",
    "Fate",
    "Fault",
    "Mark",
    "PackKey",
    "Recovery",
    "Report",
    "Rollup",
    "Row",
    "Sealed",
    "SourceError",
    "Watcher",
    "check",
    "check_rollups",
    "read_books",
    "read_export",
    "read_sensorthings",
    "sealed_value",
]
