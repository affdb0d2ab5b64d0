"""Reading a document field by field, so that every mistake in it is told with the path of the field. Pure."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from math import isfinite
from typing import Any, Final, TypeVar

from lichtmast.registry.alerts import limits
from lichtmast.registry.alerts.errors import AlertRuleError

_Choice = TypeVar("_Choice", bound=StrEnum)
_Item = TypeVar("_Item", int, str)


class _Missing:
    """What stands for a field that is not there."""


_MISSING: Final = _Missing()


class Fields:
    """A table that is read field by field; what was never asked for is an error in the end."""

    def __init__(self, table: object, prefix: str) -> None:
        if not isinstance(table, Mapping):
            raise AlertRuleError(prefix.rstrip(".") or "rule", "must be a table")
        self._table = table
        self._prefix = prefix
        self._asked: set[str] = set()

    def finish(self) -> None:
        """Raise for a field that nobody knows."""
        for name in self._table:
            if name not in self._asked:
                known = ", ".join(sorted(self._asked))
                raise AlertRuleError(f"{self._prefix}{str(name)[:40]}", f"nobody knows this; known are {known}")

    def table(self, name: str, *, usual: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """A table; `usual` where it is missing, if there is such a thing."""
        value = self._take(name, _MISSING if usual is None else usual)
        if not isinstance(value, Mapping):
            raise self._wrong(name, "must be a table")
        return value

    def text(self, name: str, characters_max: int) -> str:
        """A text of one line."""
        value = self._take(name, _MISSING)
        if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > characters_max:
            raise self._wrong(name, f"must be 1 to {characters_max} characters that print")
        return value

    def text_if_any(self, name: str, characters_max: int) -> str | None:
        """The same, or None where it is missing."""
        return None if self._take(name, None) is None else self.text(name, characters_max)

    def flag(self, name: str, *, usual: bool) -> bool:
        """Yes or no."""
        value = self._take(name, usual)
        if not isinstance(value, bool):
            raise self._wrong(name, "must be true or false")
        return value

    def number(
        self, name: str, least: float | None = None, most: float | None = None, *, usual: float | None = None
    ) -> float:
        """A finite number within bounds."""
        value = self._take(name, _MISSING if usual is None else usual)
        if not _is_number(value):
            raise self._wrong(name, "must be a finite number")
        found = float(value)  # type: ignore[arg-type]  # its type was just asked
        if least is not None and most is not None and not least <= found <= most:
            raise self._wrong(name, f"must be from {least:g} to {most:g}")
        return found

    def number_if_any(self, name: str, least: float | None = None, most: float | None = None) -> float | None:
        """The same, or None where it is missing."""
        return None if self._take(name, None) is None else self.number(name, least, most)

    def whole(self, name: str, least: int, most: int, *, usual: int) -> int:
        """A whole number within bounds."""
        value = self._take(name, usual)
        if type(value) is not int or not least <= value <= most:
            raise self._wrong(name, f"must be a whole number from {least} to {most}")
        return value

    def numbers(self, name: str) -> list[float] | None:
        """A list of finite numbers, or None where it is missing."""
        value = self._take(name, None)
        if value is None:
            return None
        if not isinstance(value, Sequence) or not all(_is_number(one) for one in value):
            raise self._wrong(name, "must be a list of numbers")
        return [float(one) for one in value]

    def items(self, name: str, kind: type[_Item], accepts: Callable[[_Item], bool], what: str) -> tuple[_Item, ...]:
        """A list of items of one kind, doubles left out; empty where it is missing."""
        value = self._take(name, ())
        if (
            isinstance(value, str)
            or not isinstance(value, Sequence)
            or len(value) > limits.SCOPE_ITEMS_MAX
            or not all(type(one) is kind and accepts(one) for one in value)
        ):
            raise self._wrong(name, f"must be a list of at most {limits.SCOPE_ITEMS_MAX} {what}")
        return tuple(dict.fromkeys(value))

    def choice(self, name: str, choices: type[_Choice]) -> _Choice:
        """One of a few words."""
        value = self._take(name, _MISSING)
        for one in choices:
            if one.value == value:
                return one
        raise self._wrong(name, f"must be one of {', '.join(choices)}")

    def delays(self) -> tuple[float, float]:
        """`for_s` and `clear_for_s`, which several conditions have."""
        most = limits.DELAY_S_MAX
        return self.number("for_s", 0, most, usual=0.0), self.number("clear_for_s", 0, most, usual=0.0)

    def _take(self, name: str, usual: object) -> object:
        self._asked.add(name)
        value = self._table.get(name, usual)
        if value is _MISSING:
            raise self._wrong(name, "is missing")
        return value

    def _wrong(self, name: str, problem: str) -> AlertRuleError:
        return AlertRuleError(f"{self._prefix}{name}", problem)


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    except OverflowError:  # a whole number larger than any float
        return False
