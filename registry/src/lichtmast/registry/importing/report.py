"""What an import found: problems by row, and the counts.

A problem is a value, not an exception: an import reads on, so that one run names everything that is to be mended.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum, unique

from lichtmast.registry.limits import EXAMPLE_CHARACTERS_MAX, REPORT_PROBLEMS_MAX


@unique
class Severity(Enum):
    """A warning is told; an error also stops the whole import from being committed."""

    WARNING = "warning"
    ERROR = "error"


@unique
class Reason(StrEnum):
    """Why a row or a file is wrong or doubtful; explained in docs/reference/import.md."""

    # The file as a whole.
    EMPTY_FILE = "empty_file"
    NOT_TEXT = "not_text"
    NUL_BYTE = "nul_byte"
    UNDECODABLE = "undecodable"
    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    FORBIDDEN_XML = "forbidden_xml"
    WRONG_KIND = "wrong_kind"
    TOO_LARGE = "too_large"
    UNKNOWN_CRS = "unknown_crs"
    MISSING_COLUMN = "missing_column"
    DOUBLE_COLUMN = "double_column"
    UNBALANCED_QUOTE = "unbalanced_quote"
    # One row.
    WRONG_COLUMN_COUNT = "wrong_column_count"
    MISSING_VALUE = "missing_value"
    BAD_TEXT = "bad_text"
    BAD_DATE = "bad_date"
    BAD_COORDINATE = "bad_coordinate"
    ZERO_COORDINATE = "zero_coordinate"
    SWAPPED_AXES = "swapped_axes"
    OUTSIDE_NETHERLANDS = "outside_netherlands"
    NOT_A_POINT = "not_a_point"
    DUPLICATE_ID = "duplicate_id"
    # Warnings.
    ENCODING_ASSUMED = "encoding_assumed"
    UNKNOWN_LENGTH = "unknown_length"
    NOT_A_LAMPPOST = "not_a_lamppost"
    NO_LAMPPOSTS = "no_lampposts"
    DUPLICATE_RECORD = "duplicate_record"
    OLDER_DELIVERY = "older_delivery"
    OTHER_MUNICIPALITY = "other_municipality"
    ENDED_WITH_DEVICE = "ended_with_device"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `row` is the line in a CSV, the feature in a GeoJSON, the record in a GML; None: the file."""

    severity: Severity
    row: int | None
    reason: Reason
    message: str

    def as_json(self) -> dict[str, object]:
        """For machines."""
        return {"row": self.row, "reason": self.reason.value, "message": self.message}


def error(row: int | None, reason: Reason, message: str) -> Problem:
    """A problem that stops the commit."""
    return Problem(Severity.ERROR, row, reason, message)


def warning(row: int | None, reason: Reason, message: str) -> Problem:
    """A problem that is only told."""
    return Problem(Severity.WARNING, row, reason, message)


def example(value: object) -> str:
    """A wrong value as a message repeats it: escaped and short."""
    return repr(str(value)[:EXAMPLE_CHARACTERS_MAX])


class ProblemLog:
    """Collects problems: all are counted, the first REPORT_PROBLEMS_MAX of each reason are kept."""

    def __init__(self) -> None:
        self._kept: dict[Severity, list[Problem]] = {severity: [] for severity in Severity}
        self._counts: dict[Severity, Counter[Reason]] = {severity: Counter() for severity in Severity}

    def add(self, problem: Problem) -> None:
        """Count it, and keep it while there are few of its reason."""
        counts = self._counts[problem.severity]
        counts[problem.reason] += 1
        if counts[problem.reason] <= REPORT_PROBLEMS_MAX:
            self._kept[problem.severity].append(problem)

    def kept(self, severity: Severity) -> tuple[Problem, ...]:
        """The kept ones by row, those of the whole file first."""
        return tuple(sorted(self._kept[severity], key=lambda problem: (problem.row or 0, problem.reason)))

    def counts(self, severity: Severity) -> dict[str, int]:
        """How many there were of each reason."""
        return {reason.value: count for reason, count in sorted(self._counts[severity].items())}


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, or would have done.

    `assets` = added + updated + unchanged are the lampposts in the file that are sound; `active` and `ended` of them.
    `committed` is True where the register now says what the file says (also where that changed nothing).
    """

    tenant: str
    source: str
    file_name: str
    dry_run: bool
    committed: bool
    records: int
    assets: int
    added: int
    active: int
    ended: int
    updated: int
    unchanged: int
    warnings: tuple[Problem, ...]
    errors: tuple[Problem, ...]
    warning_counts: Mapping[str, int]
    error_counts: Mapping[str, int]
    detected: Mapping[str, str] = field(default_factory=dict)
    """What the file turned out to be: encoding, delimiter, crs, columns."""

    @property
    def sound(self) -> bool:
        """Whether nothing stands in the way of a commit."""
        return not self.error_counts

    def as_json(self) -> dict[str, object]:
        """For machines; the first seven keys are what `lichtmast import --json` promises."""
        return {
            "assets": self.assets,
            "active": self.active,
            "ended": self.ended,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "warnings": [problem.as_json() for problem in self.warnings],
            "errors": [problem.as_json() for problem in self.errors],
            "added": self.added,
            "records": self.records,
            "warning_counts": dict(self.warning_counts),
            "error_counts": dict(self.error_counts),
            "detected": dict(self.detected),
            "dry_run": self.dry_run,
            "committed": self.committed,
            "tenant": self.tenant,
            "source": self.source,
            "file": self.file_name,
        }
