"""Reading one table of a scenario file: each key once, with its type and bounds, and nothing left over.

Will not know any key: `reading` does.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite


class ScenarioError(ValueError):
    """A scenario file is wrong; the message names the table and the key, and says what would be right."""


class Table:
    """One table, by its name in the file. Getters raise ScenarioError; `done` refuses keys that nobody asked for."""

    def __init__(self, fields: object, where: str) -> None:
        if not isinstance(fields, Mapping):
            raise ScenarioError(f"{where} is not a table")
        self.where = where
        self._fields: Mapping[str, object] = fields
        self._asked: set[str] = set()

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        self._asked.add(key)
        return key in self._fields

    def rows(self, key: str) -> "list[Table]":
        """An array of tables, `[[key]]`."""
        value = self._get(key, [])
        if not isinstance(value, list):
            raise ScenarioError(f"{key} is not a list of tables; write [[{key}]]")
        return [Table(one, f"[[{key}]] number {number}") for number, one in enumerate(value, 1)]

    def table(self, key: str) -> "Table":
        """A table of its own, empty where it is missing."""
        return Table(self._get(key, {}), f"[{key}]")

    def text(self, key: str, default: str | None = None) -> str:
        """A text that is not empty."""
        value = self._get(key, default)
        if not isinstance(value, str) or not value:
            raise self.wrong(key, "is not a text")
        return value

    def choice(self, key: str, choices: Sequence[str], default: str | None = None) -> str:
        """One of a few words."""
        value = self.text(key, default)
        if value not in choices:
            raise self.wrong(key, f"is {value!r}; choose {', '.join(choices)}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty where it is missing."""
        value = self._get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self.wrong(key, 'is not a list of texts, such as ["one", "two"]')
        return tuple(value)

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        """A number within bounds."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise self.wrong(key, "is not a number")
        if not low <= value <= high:
            raise self.wrong(key, f"is {value}; give {low:g} to {high:g}")
        return value

    def whole(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number within bounds."""
        value = self._get(key, default)
        if type(value) is not int or not low <= value <= high:
            raise self.wrong(key, f"is {value}; give a whole number from {low} to {high}")
        return value

    def position(self, key: str) -> tuple[float, float]:
        """[longitude, latitude] in degrees."""
        value = self._get(key, None)
        if isinstance(value, list) and len(value) == 2 and all(type(one) in (int, float) for one in value):  # noqa: PLR2004
            longitude, latitude = value
            if -180 <= longitude <= 180 and -90 <= latitude <= 90:  # noqa: PLR2004 - the whole Earth
                return longitude, latitude
        raise self.wrong(key, "is not [longitude, latitude] in degrees, such as [5.17, 52.22]")

    def moment(self, key: str) -> float:
        """A date-time with its offset, as seconds since 1970."""
        value = self._get(key, None)
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise self.wrong(key, "is not a date-time with its offset, such as 2026-06-20T06:00:00Z")
        return value.astimezone(UTC).timestamp()

    def done(self) -> None:
        """Refuse what nobody asked for."""
        unknown = sorted(set(self._fields) - self._asked)
        if unknown:
            known = ", ".join(sorted(self._asked))
            raise ScenarioError(f"{self.where}: {unknown[0]} is not known here; known are {known}")

    def wrong(self, key: str, why: str) -> ScenarioError:
        """The error for a key."""
        return ScenarioError(f"{self.where}: {key} {why}")

    def _get(self, key: str, default: object) -> object:
        self._asked.add(key)
        value = self._fields.get(key, default)
        if value is None:
            raise self.wrong(key, "is missing")
        return value
