"""Reading one table of the settings file: each key once, with its type and bounds, and nothing left over.

Will not know any setting: `settings.py` and the drivers do.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from lichtmast.edge.errors import SettingsError


class Table:
    """One table, by its name in the file. Getters raise SettingsError; `done` refuses keys that nobody asked for."""

    def __init__(self, fields: object, path: str = "", heading: str | None = None) -> None:
        """`path` names it in errors; `heading` is how the file writes it, where that is not the same."""
        self._path = path
        self._heading = path if heading is None else heading
        self._where = f"[{path}]" if path else "the file"
        if not isinstance(fields, Mapping):
            raise SettingsError(f"{path} is not a table; write [{self._heading}]")
        self._fields: Mapping[str, Any] = fields
        self._asked: set[str] = set()

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        self._asked.add(key)
        return key in self._fields

    def text(self, key: str, default: str | None = None) -> str:
        """A text that is not empty."""
        value = self._get(key, default)
        if not isinstance(value, str) or not value:
            raise self._wrong(key, "is not a text")
        return value

    def choice(self, key: str, choices: Sequence[str], default: str | None = None) -> str:
        """One of a few words."""
        value = self.text(key, default)
        if value not in choices:
            raise self._wrong(key, f"is {value!r}; choose {' or '.join(choices)}")
        return value

    def choices(self, key: str, choices: Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
        """Some of a few words, each at most once, in an order that means something."""
        values = self.texts(key, default)
        for value in values:
            if value not in choices:
                raise self._wrong(key, f"holds {value!r}; choose of {', '.join(choices)}")
        if len(set(values)) < len(values):
            raise self._wrong(key, "holds a word twice")
        return values

    def texts(self, key: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        """A list of texts."""
        values = self._get(key, list(default))
        if not isinstance(values, list) or not all(isinstance(one, str) and one for one in values):
            raise self._wrong(key, "is not a list of texts")
        return tuple(values)

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, "is neither true nor false")
        return value

    def whole(self, key: str, least: int, most: int, default: int | None = None) -> int:
        """A whole number within bounds."""
        value = self._get(key, default)
        if type(value) is not int or not least <= value <= most:
            raise self._wrong(key, f"is not a whole number from {least:,} to {most:,}")
        return value

    def number(self, key: str, least: float, most: float, default: float | None = None) -> float:
        """A number within bounds."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise self._wrong(key, "is not a number")
        if not least <= value <= most:
            raise self._wrong(key, f"is {value}; give {least} to {most}")
        return float(value)

    def table(self, key: str) -> "Table":
        """A table inside this one; an empty one where it is not there."""
        path = f"{self._path}.{key}" if self._path else key
        return Table(self._get(key, {}), path, self._headed(key))

    def rows(self, key: str) -> Sequence[Mapping[str, Any]]:
        """A list of tables, as [[key]] writes it; whoever takes them names them in his errors."""
        value = self._get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
            raise self._wrong(key, f"is not a list of tables; write [[{self._headed(key)}]]")
        return value

    def done(self) -> None:
        """Refuse keys that were not asked for: a misspelled setting must not be one that does nothing."""
        unknown = sorted(set(self._fields) - self._asked)
        if unknown:
            known = ", ".join(sorted(self._asked))
            raise SettingsError(f"{self._named(unknown[0])} is not a setting; {self._where} takes {known}")

    def _get(self, key: str, default: Any) -> Any:  # noqa: ANN401 - the getters check
        self._asked.add(key)
        value = self._fields.get(key, default)
        if value is None:
            raise SettingsError(f"{self._named(key)} is missing")
        return value

    def _wrong(self, key: str, what: str) -> SettingsError:
        return SettingsError(f"{self._named(key)} {what}")

    def _headed(self, key: str) -> str:
        return f"{self._heading}.{key}" if self._heading else key

    def _named(self, key: str) -> str:
        return f"{self._where} {key}" if self._path else key
