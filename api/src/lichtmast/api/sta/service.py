"""One SensorThings question from path and query to bytes. Blocks: call it in a thread."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import pairwise
from typing import Any, Final

from lichtmast.api import limits
from lichtmast.api.catalogue import Catalogue
from lichtmast.api.problem import absent, malformed, unsupported
from lichtmast.api.sta.expression import truth
from lichtmast.api.sta.graph import Graph
from lichtmast.api.sta.model import CONFORMANCE, DATASTREAMS, OBSERVATIONS, TYPES, EntityType
from lichtmast.api.sta.observations import Observation, ObservationReader, window_of
from lichtmast.api.sta.options import Expand, Options, Order, parse_query
from lichtmast.api.sta.path import Key, ResourcePath, Step, parse_path
from lichtmast.store.port import ObservationStore

_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"
_NO_OPTIONS: Final = Options()
_LATEST: Final = (Order(("phenomenonTime",), descending=True),)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client gets."""

    status: int
    body: bytes
    media_type: str


class SensorThings:
    """Answers for one catalogue and store; `root` is the address of `/v1.1`, without a slash at its end."""

    def __init__(self, catalogue: Catalogue, store: ObservationStore, root: str) -> None:
        self._graph = Graph(catalogue)
        self._reader = ObservationReader(store, catalogue.truths)
        self._catalogue = catalogue
        self._root = root

    def landing_page(self) -> Answer:
        """The entity sets, and what this server conforms to."""
        sets = [{"name": name, "url": f"{self._root}/{name}"} for name in TYPES]
        return _json({"value": sets, "serverSettings": {"conformance": CONFORMANCE}})

    def answer(self, path: str, query: str) -> Answer:
        """Read what `path` (behind `/v1.1/`) and `query` name. Raises a Problem where there is no answer."""
        resource = parse_path(path)
        last = resource.steps[-1]
        options = parse_query(query, last.type)
        owner = self._walk(resource.steps)
        url = f"{self._root}/{path}"
        if last.is_set:
            if resource.property is not None:
                raise absent(f"{last.type.plural} is a set; {resource.property} belongs to one of it.")
            return self._set(last.type, owner, options, url, references=resource.references)
        entity = self._one(last, owner)
        if resource.property is not None:
            return self._property(resource, entity)
        _only_for_one(options)
        written = self._written(last.type, [entity], options)
        self._expand(last.type, [entity], written, options.expand)
        return _json(written[0])

    # The way along the path.

    def _walk(self, steps: Sequence[Step]) -> tuple[EntityType, Key, str] | None:
        """The entity before the last step and the relation followed from it; every step on the way must exist."""
        owner: tuple[EntityType, Key, str] | None = None
        for step, following in pairwise(steps):
            entity = self._one(step, owner)
            owner = (step.type, entity.id if isinstance(entity, Observation) else entity, following.navigation)
        return owner

    def _one(self, step: Step, owner: tuple[EntityType, Key, str] | None) -> "int | Observation":
        if step.type is OBSERVATIONS:
            observation = self._reader.one(step.key)
            known = observation is not None and self._graph.contains(DATASTREAMS, observation.datastream_id)
            if observation is None or not known or observation.datastream_id not in self._series(owner):
                raise absent(f"There is no Observation {step.key!r} here.")
            return observation
        if owner is None:
            key = step.key
        else:
            related = self._related(owner)
            key = next(iter(related), None) if step.key is None else step.key if step.key in related else None
        if not isinstance(key, int) or not self._graph.contains(step.type, key):
            raise absent(f"There is no {step.type.name} {'' if step.key is None else step.key} here.")
        return key

    def _related(self, owner: tuple[EntityType, Key, str]) -> Collection[int]:
        entity, key, navigation = owner
        if entity is OBSERVATIONS:
            datastream_id = int(str(key).partition("-")[0])
            if navigation == "Datastream":
                return [datastream_id]
            return self._graph.related(DATASTREAMS, datastream_id, "Thing")  # a FeatureOfInterest has its Thing's id.
        return self._graph.related(entity, int(key), navigation)

    def _series(self, owner: tuple[EntityType, Key, str] | None) -> Collection[int]:
        if owner is None:
            return self._graph.ids(DATASTREAMS)
        entity, key, _ = owner
        return self._graph.series(entity, int(key))

    # Sets.

    def _set(
        self,
        entity: EntityType,
        owner: tuple[EntityType, Key, str] | None,
        options: Options,
        url: str,
        *,
        references: bool,
    ) -> Answer:
        found: Sequence[int | Observation]
        if entity is OBSERVATIONS:
            default, most = limits.OBSERVATIONS_DEFAULT, limits.OBSERVATIONS_MAX
            found, body = self._observations(sorted(self._series(owner)), options, url, default=default, most=most)
        else:
            ids = self._graph.ids(entity) if owner is None else self._related(owner)
            found, body = self._entities(entity, ids, options, url)
        written = self._written(entity, found, options)
        if references:
            written = [{"@iot.selfLink": self._address(entity, _key(one))} for one in found]
        else:
            self._expand(entity, found, written, options.expand)
        body["value"] = written
        return _json(body)

    def _entities(
        self, entity: EntityType, ids: Collection[int], options: Options, url: str
    ) -> tuple[list[int], dict[str, Any]]:
        """One page of ids, and the count and link that go with it."""
        if options.continuation is not None:
            raise malformed(f"$skiptoken continues Observations, not {entity.plural}; use $skip.")
        wanted = list(ids)
        if options.filter is not None:
            node = options.filter
            wanted = [key for key in wanted if truth(node, _Values(entity, key, self._graph).at)]
        for order in reversed(options.order):
            keyed = {key: _sort_key(_Values(entity, key, self._graph).at(order.path)) for key in wanted}
            wanted.sort(key=keyed.__getitem__, reverse=order.descending)
        body: dict[str, Any] = {"@iot.count": len(wanted)} if options.count else {}
        top = min(limits.ENTITIES_DEFAULT if options.top is None else options.top, limits.ENTITIES_MAX)
        end = options.skip + top
        if end < len(wanted) and top:
            body["@iot.nextLink"] = f"{url}?{options.next_query(skip=str(end))}"
        return wanted[options.skip : end], body

    def _observations(
        self, series: Sequence[int], options: Options, url: str, *, default: int, most: int
    ) -> tuple[list[Observation], dict[str, Any]]:
        window = window_of(options)
        top = min(default if options.top is None else options.top, most)
        body: dict[str, Any] = {"@iot.count": self._reader.count(series, window)} if options.count else {}
        if not top:
            return [], body
        if len(series) <= limits.ORDERED_SERIES_MAX:
            found, more = self._reader.page(series, window, skip=options.skip, top=top, after=options.continuation)
        elif options.order or options.filter is not None or options.skip:
            raise unsupported(
                f"$orderby, $filter and $skip over Observations of more than {limits.ORDERED_SERIES_MAX} datastreams "
                "are not supported; ask Datastreams(id)/Observations or FeaturesOfInterest(id)/Observations."
            )
        else:
            found, more = self._reader.page_by_series(series, top=top, after=options.continuation)
        if more:
            token = f"{found[-1].time_us}_{found[-1].datastream_id}"
            body["@iot.nextLink"] = f"{url}?{options.next_query(skiptoken=token)}"
        return found, body

    def _property(self, resource: ResourcePath, entity: "int | Observation") -> Answer:
        name = str(resource.property)
        value = self._values(resource.steps[-1].type, entity)[name]
        if value is None:
            return Answer(HTTPStatus.NO_CONTENT, b"", _JSON)
        if not resource.raw_value:
            return _json({name: value})
        if isinstance(value, str):
            return Answer(HTTPStatus.OK, value.encode("utf-8", "replace"), _TEXT)
        return Answer(HTTPStatus.OK, _dumps(value), _JSON if isinstance(value, dict | list) else _TEXT)

    # Writing.

    def _values(self, entity: EntityType, one: "int | Observation") -> dict[str, Any]:
        return one.values() if isinstance(one, Observation) else self._graph.values(entity, one)

    def _address(self, entity: EntityType, key: Key) -> str:
        return f"{self._root}/{entity.plural}({_quoted(key)})"

    def _written(
        self, entity: EntityType, found: Sequence["int | Observation"], options: Options
    ) -> list[dict[str, Any]]:
        written: list[dict[str, Any]] = []
        for one in found:
            key = _key(one)
            address = self._address(entity, key)
            fields: dict[str, Any] = {}
            if options.selects("id"):
                fields["@iot.id"] = key
            if options.select is None:
                fields["@iot.selfLink"] = address
            values = self._values(entity, one)
            # An absent resultQuality is left out; resultTime and the others that may be null are written (2e.6).
            fields |= {
                name: value
                for name, value in values.items()
                if options.selects(name) and not (name == "resultQuality" and value is None)
            }
            for navigation in entity.navigations:
                if options.selects(navigation):
                    fields[f"{navigation}@iot.navigationLink"] = f"{address}/{navigation}"
            written.append(fields)
        return written

    def _expand(
        self,
        entity: EntityType,
        found: Sequence["int | Observation"],
        written: Sequence[dict[str, Any]],
        expansions: Sequence[Expand],
    ) -> None:
        """Write related entities into those found: one level for all of them at once, then the next level below."""
        for expansion in expansions:
            target = TYPES[entity.leads_to(expansion.navigation) or ""]
            if target is OBSERVATIONS:
                self._expand_observations(entity, found, written, expansion)
                continue
            options = expansion.options
            below: list[int] = []
            parts: list[tuple[dict[str, Any], int]] = []
            for one, fields in zip(found, written, strict=True):
                address = f"{self._address(entity, _key(one))}/{expansion.navigation}"
                related = self._related((entity, _key(one), expansion.navigation))
                if expansion.navigation in entity.to_one:
                    _only_for_one(options)
                    page, extra = list(related)[:1], dict[str, Any]()
                else:
                    page, extra = self._entities(target, related, options, address)
                fields |= {f"{expansion.navigation}{name}": value for name, value in extra.items()}
                below += page
                parts.append((fields, len(page)))
                if len(below) > limits.EXPANDED_ENTITIES_MAX:
                    raise malformed(f"$expand writes more than {limits.EXPANDED_ENTITIES_MAX} entities; lower $top.")
            inside = self._written(target, below, options)
            self._expand(target, below, inside, options.expand)
            remaining = iter(inside)
            for fields, length in parts:
                group = [next(remaining) for _ in range(length)]
                single = expansion.navigation in entity.to_one
                fields[expansion.navigation] = (group[0] if group else None) if single else group

    def _expand_observations(
        self,
        entity: EntityType,
        found: Sequence["int | Observation"],
        written: Sequence[dict[str, Any]],
        expansion: Expand,
    ) -> None:
        options = expansion.options
        navigation = expansion.navigation
        keys = [int(one) for one in found if not isinstance(one, Observation)]
        if entity is DATASTREAMS and _asks_for_latest(options):
            # What dashboards ask: the last value of many series. One read for all.
            latest = self._reader.latest(keys)
            pages = [[latest[key]] if key in latest else [] for key in keys]
            links = [
                _link_behind(page, f"{self._address(entity, key)}/{navigation}", options)
                for key, page in zip(keys, pages, strict=True)
            ]
        else:
            series = [self._graph.series(entity, key) for key in keys]
            if sum(len(one) for one in series) > limits.EXPANDED_SERIES_MAX:
                raise malformed(
                    f"$expand=Observations reads more than {limits.EXPANDED_SERIES_MAX} datastreams one by one; "
                    "lower $top, or ask for the latest with ($orderby=phenomenonTime desc;$top=1), which has no limit."
                )
            default, most = limits.EXPANDED_OBSERVATIONS_DEFAULT, limits.OBSERVATIONS_DEFAULT
            pages, links = [], []
            for key, of_key in zip(keys, series, strict=True):
                address = f"{self._address(entity, key)}/{navigation}"
                page, extra = self._observations(of_key, options, address, default=default, most=most)
                pages.append(page)
                links.append(extra)
        for fields, page, extra in zip(written, pages, links, strict=True):
            fields |= {f"{navigation}{name}": value for name, value in extra.items()}
            inside = self._written(OBSERVATIONS, page, options)
            self._expand(OBSERVATIONS, page, inside, options.expand)
            fields[navigation] = inside


class _Values:
    """The values of one entity for $filter and $orderby, made when first asked for."""

    __slots__ = ("_entity", "_graph", "_key", "_values")

    def __init__(self, entity: EntityType, key: int, graph: Graph) -> None:
        self._entity = entity
        self._key = key
        self._graph = graph
        self._values: dict[str, Any] | None = None

    def at(self, path: tuple[str, ...]) -> Any:  # noqa: ANN401 - a value of the entity
        """The value of a property or of a member inside it; None where it is absent."""
        if path in {("id",), ("@iot.id",)}:
            return self._key
        if path[0] in self._entity.navigations:
            raise unsupported(f"$filter and $orderby over a relation ({path[0]}) are not supported.")
        if path[0] not in self._entity.properties:
            raise malformed(f"A {self._entity.name} has no {path[0][:60]!r}.")
        if self._values is None:
            self._values = self._graph.values(self._entity, self._key)
        value: Any = self._values.get(path[0])
        for part in path[1:]:
            value = value.get(part) if isinstance(value, dict) else None
        return value


def _link_behind(page: Sequence[Observation], address: str, options: Options) -> dict[str, Any]:
    """The link to what came before the latest. Not looked up for each series: it may lead to an empty page."""
    if not page:
        return {}
    token = f"{page[-1].time_us}_{page[-1].datastream_id}"
    return {"@iot.nextLink": f"{address}?{options.next_query(skiptoken=token)}"}


def _asks_for_latest(options: Options) -> bool:
    plain = options.filter is None and not options.count and not options.skip
    return plain and options.top == 1 and options.order == _LATEST


def _only_for_one(options: Options) -> None:
    if options.filter is not None or options.order or options.skip or options.top is not None or options.count:
        raise malformed("$filter, $orderby, $top, $skip and $count are for sets; this is one entity.")


def _key(one: "int | Observation") -> Key:
    return one.id if isinstance(one, Observation) else one


def _quoted(key: Key) -> str:
    return f"'{key}'" if isinstance(key, str) else str(key)


def _sort_key(value: object) -> tuple[int, Any]:
    """Null first, then truth values and numbers, then text by code point, then what is inside as JSON text (2e.8)."""
    if value is None:
        return (0, 0)
    if isinstance(value, int | float):
        return (1, value)
    return (2, value) if isinstance(value, str) else (3, json.dumps(value, sort_keys=True))


def _dumps(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")


def _json(value: object) -> Answer:
    return Answer(HTTPStatus.OK, _dumps(value), _JSON)
