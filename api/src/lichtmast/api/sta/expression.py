"""$filter expressions (18-088 section 9.3.3.5): text to tree, and the truth of a tree for one entity.

Will not do arithmetic, dates in parts, geometry or relations: these are read and refused with 501. Null follows the
standard: a comparison with an absent value is null, and an entity whose expression is null is not selected.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lichtmast.api import limits
from lichtmast.api.problem import malformed, unsupported
from lichtmast.api.times import instant_us

_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<text>'(?:[^']|'')*')
    | (?P<time>\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:?\d\d)?(?:/\S*)?)
    | (?P<number>-?\d{1,30}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,3})?)(?![\w.])
    | (?P<name>@?[A-Za-z_][\w.]*(?:/@?[A-Za-z_][\w.]*)*)
    | (?P<mark>[(),])
    )""",
    re.VERBOSE | re.ASCII,
)
_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_ARITHMETIC: Final = frozenset({"add", "sub", "mul", "div", "mod"})
_FUNCTIONS: Final[Mapping[str, tuple[tuple[type, ...], Callable[..., Any]]]] = {
    "startswith": ((str, str), str.startswith),
    "endswith": ((str, str), str.endswith),
    "substringof": ((str, str), lambda part, whole: part in whole),
    "tolower": ((str,), str.lower),
    "toupper": ((str,), str.upper),
    "trim": ((str,), str.strip),
    "length": ((str,), len),
    "indexof": ((str, str), str.find),
    "concat": ((str, str), operator.add),
}


@dataclass(frozen=True, slots=True)
class Instant:
    """A time literal, in microseconds since 1970 UTC."""

    us: int


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, text, truth value, instant or null."""

    value: float | str | bool | Instant | None


@dataclass(frozen=True, slots=True)
class Name:
    """A property, perhaps inside another: `properties/height`."""

    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function and what it is given."""

    function: str
    arguments: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """Two operands and a comparison."""

    comparison: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Junction:
    """`and` or `or` of several."""

    word: str
    nodes: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """`not`."""

    node: "Node"


Node = Literal | Name | Call | Compare | Junction | Negation


def parse_expression(text: str) -> Node:
    """Read a $filter. Raises a Problem: 400 where it is broken, 501 where it asks for more than is served."""
    reader = _Reader(text)
    node = reader.junction("or", 0)
    reader.expect_end()
    return node


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise malformed(f"$filter cannot be read at {text[at : at + 20]!r}.")
        yield match.lastgroup, match[match.lastgroup]
        at = match.end()


class _Reader:
    """Recursive descent over the tokens; depth and length are limited."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        if not self._tokens:
            raise malformed("$filter is empty.")
        if len(self._tokens) > limits.FILTER_TOKENS_MAX:
            raise malformed(f"$filter has more than {limits.FILTER_TOKENS_MAX} words.")

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _take(self) -> tuple[str, str]:
        token = self._peek()
        self._at += 1
        return token

    def expect_end(self) -> None:
        """Everything has been read."""
        kind, text = self._peek()
        if text in _ARITHMETIC:
            raise unsupported(f"$filter: arithmetic ({text}) is not supported.")
        if kind != "end":
            raise malformed(f"$filter: {text[:40]!r} is not expected there.")

    def _expect(self, mark: str) -> None:
        _, text = self._take()
        if text in _ARITHMETIC:
            raise unsupported(f"$filter: arithmetic ({text}) is not supported.")
        if text != mark:
            raise malformed(f"$filter: {mark!r} is missing before {text[:40]!r}.")

    def junction(self, word: str, depth: int) -> Node:
        """A row of operands between `or`, each a row between `and`."""
        if depth > limits.FILTER_DEPTH_MAX:
            raise malformed(f"$filter is nested deeper than {limits.FILTER_DEPTH_MAX}.")
        nodes = [self._operand_of(word, depth)]
        while self._peek() == ("name", word):
            self._take()
            nodes.append(self._operand_of(word, depth))
        return nodes[0] if len(nodes) == 1 else Junction(word, tuple(nodes))

    def _operand_of(self, word: str, depth: int) -> Node:
        return self.junction("and", depth) if word == "or" else self._negation(depth)

    def _negation(self, depth: int) -> Node:
        if self._peek() == ("name", "not"):
            self._take()
            if depth > limits.FILTER_DEPTH_MAX:
                raise malformed(f"$filter is nested deeper than {limits.FILTER_DEPTH_MAX}.")
            return Negation(self._negation(depth + 1))
        left = self._operand(depth)
        kind, word = self._peek()
        if kind == "name" and word in _COMPARISONS:
            self._take()
            return Compare(word, left, self._operand(depth))
        return left

    def _operand(self, depth: int) -> Node:
        kind, text = self._take()
        match kind:
            case "text":
                return Literal(text[1:-1].replace("''", "'"))
            case "number":
                return Literal(float(text) if set(text) & set(".eE") else int(text))
            case "time":
                return Literal(_instant(text))
            case "mark" if text == "(":
                node = self.junction("or", depth + 1)
                self._expect(")")
                return node
            case "name" if self._peek() == ("mark", "("):
                return self._call(text, depth)
            case "name":
                constants: dict[str, bool | None] = {"true": True, "false": False, "null": None}
                return Literal(constants[text]) if text in constants else Name(tuple(text.split("/")))
        raise malformed(f"$filter: a value is missing before {text[:40]!r}." if text else "$filter ends too early.")

    def _call(self, function: str, depth: int) -> Node:
        if function not in _FUNCTIONS:
            raise unsupported(f"$filter: {function[:40]}() is not supported; {', '.join(_FUNCTIONS)} are.")
        self._expect("(")
        arguments = [self.junction("or", depth + 1)]
        while self._peek() == ("mark", ","):
            self._take()
            arguments.append(self.junction("or", depth + 1))
        self._expect(")")
        takes = len(_FUNCTIONS[function][0])
        if len(arguments) != takes:
            raise malformed(f"$filter: {function} takes {takes} arguments, not {len(arguments)}.")
        return Call(function, tuple(arguments))


def _instant(text: str) -> Instant:
    if "/" in text:
        raise unsupported("$filter: time intervals are not supported; compare with an instant.")
    try:
        return Instant(instant_us(text))
    except (ValueError, OverflowError) as error:
        raise malformed(f"$filter: {text[:60]!r} is no instant with an offset, as in 2026-11-21T20:30:00Z.") from error


def truth(node: Node, value_of: Callable[[tuple[str, ...]], Any]) -> bool:
    """Whether the entity whose values `value_of` gives is selected."""
    return _value(node, value_of) is True


def _value(node: Node, value_of: Callable[[tuple[str, ...]], Any]) -> Any:  # noqa: ANN401 - a value of the expression
    match node:
        case Literal(value):
            return value
        case Name(parts):
            return value_of(parts)
        case Call(function, arguments):
            takes, apply = _FUNCTIONS[function]
            values = [_value(one, value_of) for one in arguments]
            sound = all(isinstance(one, kind) for one, kind in zip(values, takes, strict=True))
            return apply(*values) if sound else None
        case Compare(comparison, left, right):
            return _compare(comparison, _value(left, value_of), _value(right, value_of))
        case Negation(inner):
            found = _value(inner, value_of)
            return None if not isinstance(found, bool) else not found
        case Junction(word, nodes):
            found = [_value(one, value_of) for one in nodes]
            decisive = word == "or"
            if any(one is decisive for one in found):
                return decisive
            return (not decisive) if all(isinstance(one, bool) for one in found) else None


def _compare(comparison: str, left: object, right: object) -> bool | None:
    if isinstance(left, Instant) or isinstance(right, Instant):
        left, right = _instant_of(left), _instant_of(right)
    if left is None or right is None:
        return None
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    if isinstance(left, bool) is not isinstance(right, bool) or not (numbers or type(left) is type(right)):
        return None
    if isinstance(left, dict | list):
        return None
    return bool(_COMPARISONS[comparison](left, right))


def _instant_of(value: object) -> int | None:
    if isinstance(value, Instant):
        return value.us
    try:
        return instant_us(value) if isinstance(value, str) else None
    except ValueError:
        return None
