"""Query options (18-088 section 9.3): text to one checked value. Which make sense is decided where they are used."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from lichtmast.api import limits
from lichtmast.api.problem import malformed, unsupported
from lichtmast.api.sta.expression import Node, parse_expression
from lichtmast.api.sta.model import TYPES, EntityType

_NAME: Final = re.compile(r"@?[A-Za-z][\w.]{0,60}(?:/[\w.-]{1,60}){0,3}", re.ASCII)
_COUNT: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_TOKEN: Final = re.compile(r"(-?[0-9]{1,18})_([0-9]{1,10})", re.ASCII)
_KNOWN: Final = ("$filter", "$count", "$orderby", "$skip", "$top", "$select", "$expand", "$skiptoken")
_SAFE: Final = "$(),;=':/*-._~@"


@dataclass(frozen=True, slots=True)
class Order:
    """One key of $orderby; `path` is a property or `id`."""

    path: tuple[str, ...]
    descending: bool


@dataclass(frozen=True, slots=True)
class Continuation:
    """Where the page before ended, for Observations: after this time and, at this time, after this datastream."""

    time_us: int
    datastream_id: int


@dataclass(frozen=True, slots=True)
class Options:
    """What the client asked of one set or entity. `pairs` are the options as they came, to write links with."""

    filter: Node | None = None
    count: bool = False
    order: tuple[Order, ...] = ()
    skip: int = 0
    top: int | None = None
    select: tuple[str, ...] | None = None
    expand: tuple["Expand", ...] = ()
    continuation: Continuation | None = None
    pairs: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def selects(self, name: str) -> bool:
        """Whether a property or relation is wanted."""
        return self.select is None or name in self.select

    def next_query(self, **changed: str) -> str:
        """The same question for the next page: skip and continuation replaced by the ones given."""
        kept = [pair for pair in self.pairs if pair[0] not in {"$skip", "$skiptoken"}]
        kept += [(f"${name}", value) for name, value in changed.items()]
        return "&".join(f"{name}={quote(value, safe=_SAFE)}" for name, value in kept)


@dataclass(frozen=True, slots=True)
class Expand:
    """One relation to be written inside its entity."""

    navigation: str
    options: Options


def parse_query(query: str, entity: EntityType) -> Options:
    """Read the query string of a request. Raises a Problem: 400 where it is broken, 501 where it asks for too much."""
    pairs: list[tuple[str, str]] = []
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name:
            pairs.append((_decoded(name), _decoded(value)))
    # Names without a dollar sign are not ours to judge (OData 4.0 part 2, section 5.2: custom query options).
    return _options([pair for pair in pairs if pair[0].startswith("$")], entity, depth=0)


def _decoded(text: str) -> str:
    try:
        decoded = unquote_to_bytes(text.replace("+", " ")).decode("utf-8")
    except UnicodeDecodeError as error:
        raise malformed("The query is not UTF-8.") from error
    if any(character < " " or character == "\x7f" for character in decoded):
        raise malformed("The query holds control characters.")
    return decoded


def _options(pairs: Sequence[tuple[str, str]], entity: EntityType, *, depth: int) -> Options:
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in _KNOWN:
            raise unsupported(f"The option {name[:40]} is not supported; {', '.join(_KNOWN[:-1])} are.")
        if name in given:
            raise malformed(f"The option {name} is there twice.")
        given[name] = value
    count = given.get("$count", "false")
    if count not in {"true", "false"}:
        raise malformed("$count is true or false.")
    return Options(
        filter=parse_expression(given["$filter"]) if "$filter" in given else None,
        count=count == "true",
        order=tuple(_orders(given["$orderby"], entity)) if "$orderby" in given else (),
        skip=_number(given, "$skip", 0),
        top=_number(given, "$top", 0) if "$top" in given else None,
        select=_select(given["$select"], entity) if "$select" in given else None,
        expand=_expand(given["$expand"], entity, depth=depth + 1) if "$expand" in given else (),
        continuation=_continuation(given.get("$skiptoken")),
        pairs=tuple(pairs),
    )


def _number(given: dict[str, str], name: str, default: int) -> int:
    if name not in given:
        return default
    if not _COUNT.fullmatch(given[name]):
        raise malformed(f"{name} is a whole number from 0, not {given[name][:40]!r}.")
    return int(given[name])


def _continuation(text: str | None) -> Continuation | None:
    if text is None:
        return None
    match = _TOKEN.fullmatch(text)
    if match is None:
        raise malformed("$skiptoken is not one that a @iot.nextLink gave.")
    return Continuation(int(match[1]), int(match[2]))


def _orders(text: str, entity: EntityType) -> Iterator[Order]:
    for part in text.split(","):
        words = part.split()
        if len(words) not in {1, 2} or not _NAME.fullmatch(words[0]) or words[1:] not in ([], ["asc"], ["desc"]):
            raise malformed(f"$orderby: {part.strip()[:60]!r} is not of the form property asc or property desc.")
        path = _path(words[0])
        if path[0] != "id" and path[0] not in entity.properties:
            if path[0] in entity.navigations:
                raise unsupported(f"$orderby by a relation ({words[0]}) is not supported.")
            raise malformed(f"$orderby: a {entity.name} has no {path[0]}.")
        yield Order(path, words[1:] == ["desc"])


def _path(text: str) -> tuple[str, ...]:
    return ("id",) if text == "@iot.id" else tuple(text.split("/"))


def _select(text: str, entity: EntityType) -> tuple[str, ...]:
    names = tuple("id" if one.strip() == "@iot.id" else one.strip() for one in text.split(","))
    for name in names:
        if "/" in name:
            raise unsupported(f"$select inside a property ({name[:60]}) is not supported.")
        if name not in {"id", *entity.properties, *entity.navigations}:
            raise malformed(f"$select: a {entity.name} has no {name[:60]!r}.")
    return names


def _expand(text: str, entity: EntityType, *, depth: int) -> tuple[Expand, ...]:
    if depth > limits.EXPAND_DEPTH_MAX:
        raise unsupported(f"$expand deeper than {limits.EXPAND_DEPTH_MAX} levels is not supported.")
    expansions: list[Expand] = []
    for part in _split(text, ","):
        path, opening, rest = part.strip().partition("(")
        if opening and not rest.endswith(")"):
            raise malformed(f"$expand: a parenthesis is missing in {part[:60]!r}.")
        navigation, slash, below = path.partition("/")
        target = entity.leads_to(navigation)
        if target is None:
            raise malformed(f"$expand: a {entity.name} has no relation {navigation[:60]!r}.")
        if any(one.navigation == navigation for one in expansions):
            raise malformed(f"$expand names {navigation} twice; put all it needs in one pair of parentheses.")
        nested = f"$expand={below}{opening}{rest}" if slash else rest[:-1] if opening else ""
        pairs = [tuple(one.strip().partition("=")[::2]) for one in _split(nested, ";")] if nested else []
        options = _options([(name, value) for name, value in pairs], TYPES[target], depth=depth)
        if options.continuation is not None:
            raise malformed("$skiptoken has no place in $expand.")
        expansions.append(Expand(navigation, options))
    return tuple(expansions)


def _split(text: str, mark: str) -> Iterator[str]:
    """Cut at a mark, except inside parentheses and quoted text."""
    depth = 0
    quoted = False
    start = 0
    for at, character in enumerate(text):
        if character == "'":
            quoted = not quoted
        elif quoted:
            continue
        elif character in "()":
            depth += 1 if character == "(" else -1
            if depth < 0:
                raise malformed(f"A parenthesis closes that never opened: {text[max(0, at - 20) : at + 1]!r}.")
        elif character == mark and depth == 0:
            yield text[start:at]
            start = at + 1
    if depth or quoted:
        raise malformed(f"A parenthesis or quote is missing in {text[:60]!r}.")
    yield text[start:]
