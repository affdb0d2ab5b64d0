"""The last 24 hours of one datastream as a drawing: the band between lowest and highest, the mean, and gaps as gaps."""

from dataclasses import dataclass
from typing import Final

from lichtmast.store.port import ObservationStore

HOUR_US: Final = 3_600_000_000
BUCKET_US: Final = HOUR_US // 4
WIDTH: Final = 480
HEIGHT: Final = 96
_MARGIN: Final = 6


@dataclass(frozen=True, slots=True)
class Chart:
    """SVG paths in a box of WIDTH x HEIGHT."""

    band: str
    line: str
    width: int = WIDTH
    height: int = HEIGHT


def chart_of(store: ObservationStore, datastream_id: int, start_us: int, end_us: int) -> Chart | None:
    """Draw quarters of an hour; None where no number has come in."""
    table = store.aggregate(datastream_id, start_us, end_us + 1, BUCKET_US)
    columns = (table.column(name).to_pylist() for name in ("bucket", "mean", "minimum", "maximum"))
    buckets = [one for one in zip(*columns, strict=True) if one[1] is not None]
    if not buckets:
        return None
    low: float = min(one[2] for one in buckets)
    high: float = max(one[3] for one in buckets)
    span = (high - low) or 1.0
    middle = high == low

    def x(bucket: int) -> float:
        return round((bucket + BUCKET_US / 2 - start_us) / (end_us - start_us) * WIDTH, 1)

    def y(value: float) -> float:
        if middle:
            return HEIGHT / 2
        return round(HEIGHT - _MARGIN - (value - low) / span * (HEIGHT - 2 * _MARGIN), 1)

    bands: list[str] = []
    lines: list[str] = []
    for group in _without_gaps(buckets):
        points = [(x(one[0]), y(one[1]), y(one[2]), y(one[3])) for one in group]
        if len(points) == 1:
            # A lone quarter is a short dash, not nothing.
            across, mean, lowest, highest = points[0]
            points = [(across - 2, mean, lowest, highest), (across + 2, mean, lowest, highest)]
        upper = [f"{across} {highest}" for across, _, _, highest in points]
        lower = [f"{across} {lowest}" for across, _, lowest, _ in reversed(points)]
        bands.append(f"M{'L'.join(upper + lower)}Z")
        lines.append(f"M{'L'.join(f'{across} {mean}' for across, mean, _, _ in points)}")
    return Chart("".join(bands), "".join(lines))


def _without_gaps(buckets: list[tuple[int, float, float, float]]) -> list[list[tuple[int, float, float, float]]]:
    groups: list[list[tuple[int, float, float, float]]] = []
    for bucket in buckets:
        if groups and bucket[0] - groups[-1][-1][0] <= BUCKET_US:
            groups[-1].append(bucket)
        else:
            groups.append([bucket])
    return groups
