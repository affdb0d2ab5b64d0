"""The two ways to read what is stored that everybody has: an export of the store, and SensorThings over HTTP.

They share no code of the server's: the file is read as text, the pages page by page as any program of others would.
"""

import csv
import json
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from lichtmast.firmware_sim.checker.evidence import Row

PAGE_ROWS: Final = 10_000
TIMEOUT_S: Final = 60.0
_1970: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = timedelta(microseconds=1)
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class SourceError(Exception):
    """The server's answer or file is not what it should be; the message says where."""


def read_export(path: Path) -> list[Row]:
    """The rows of a file that `lichtmast export FILE.csv` wrote. Raises SourceError."""
    with path.open(newline="", encoding="utf-8") as file:
        try:
            return [_exported(one) for one in csv.DictReader(file)]
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(f"{path} is no CSV export of Lichtmast") from error


def _exported(one: dict[str, str]) -> Row:
    value = float(one["result"]) if one["result"] else one["result_text"].removeprefix("'")
    return Row(int(one["datastream_id"]), moment_us(one["phenomenon_time"]), value)


def read_sensorthings(url: str) -> list[Row]:
    """Every Observation that `URL/v1.1` shows, following its pages to the end. Raises SourceError or OSError."""
    return [_observed(one) for one in _pages(f"{url.rstrip('/')}/v1.1/Observations?$top={PAGE_ROWS}")]


def _pages(page: str | None) -> Iterator[dict[str, Any]]:
    while page is not None:
        if not page.startswith(("http://", "https://")):
            raise SourceError(f"{page[:100]} is no address of HTTP")
        with _DIRECT.open(page, timeout=TIMEOUT_S) as answer:
            told = json.load(answer)
        try:
            yield from told["value"]
        except (KeyError, TypeError) as error:
            raise SourceError(f"{page} is no page of SensorThings") from error
        page = told.get("@iot.nextLink")


def _observed(one: dict[str, Any]) -> Row:
    try:
        datastream = int(str(one["@iot.id"]).partition("-")[0])
        return Row(datastream, moment_us(one["phenomenonTime"]), one["result"])
    except (KeyError, ValueError) as error:
        raise SourceError(f"an Observation without id, time or result: {str(one)[:200]}") from error


def moment_us(text: str) -> int:
    """Microseconds since 1970 of an ISO 8601 time with zone. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone")
    return (moment - _1970) // _US
