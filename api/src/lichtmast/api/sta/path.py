"""Resource paths (18-088 section 9.2): `/Things(1)/Datastreams(5)/Observations`, properties, $value and $ref."""

import re
from dataclasses import dataclass
from typing import Final

from lichtmast.api import limits
from lichtmast.api.problem import absent, malformed, unsupported
from lichtmast.api.sta.model import TYPES, EntityType

Key = int | str
_SEGMENT: Final = re.compile(r"([A-Za-z]{1,40})(?:\((?:(-?[0-9]{1,40})|'((?:[^']|''){0,100})')\))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Step:
    """One entity set or relation, and the entity picked out of it."""

    type: EntityType
    navigation: str
    """The name as it stands in the path: `Datastreams`, or `Thing` where a relation leads to one."""
    key: Key | None

    @property
    def is_set(self) -> bool:
        """Whether this step names more than one entity."""
        return self.key is None and self.navigation == self.type.plural


@dataclass(frozen=True, slots=True)
class ResourcePath:
    """A path that the data model allows; whether the entities exist is not decided here."""

    steps: tuple[Step, ...]
    property: str | None
    raw_value: bool
    references: bool


def parse_path(path: str) -> ResourcePath:
    """Read what follows `/v1.1/`. Raises a Problem: 404 for names that do not exist, 400 for broken keys."""
    segments = path.split("/")
    if len(segments) > limits.PATH_SEGMENTS_MAX:
        raise malformed(f"The path has more than {limits.PATH_SEGMENTS_MAX} segments.")
    raw_value = segments[-1] == "$value"
    references = segments[-1] == "$ref"
    if raw_value or references:
        segments.pop()
    steps: list[Step] = []
    for index, segment in enumerate(segments):
        if segment.startswith("$"):
            raise unsupported(f"{segment[:40]} is not supported here.")
        step = _step(segment, steps[-1] if steps else None)
        if isinstance(step, Step):
            steps.append(step)
        elif index == len(segments) - 1 and not references:
            return ResourcePath(tuple(steps), step, raw_value, references=False)
        else:
            raise absent(f"Nothing lies below the property {step}.")
    if raw_value:
        raise malformed("$value follows a property, as in Things(1)/name/$value.")
    if not steps or (references and not steps[-1].is_set):
        raise malformed("$ref follows a set, as in Things(1)/Datastreams/$ref.")
    return ResourcePath(tuple(steps), None, raw_value=False, references=references)


def _step(segment: str, before: Step | None) -> Step | str:
    match = _SEGMENT.fullmatch(segment)
    if match is None:
        raise malformed(f"{segment[:60]!r} is no name with an id in parentheses, as in Things(1).")
    name, number, text = match.groups()
    key: Key | None = int(number) if number is not None else text.replace("''", "'") if text is not None else None
    if before is None:
        if name not in TYPES:
            raise absent(f"There is no entity set {name}; there are {', '.join(TYPES)}.")
        return Step(TYPES[name], name, key)
    if before.is_set:
        raise absent(f"{name} follows one entity, as in {before.type.plural}(1)/{name}.")
    leads_to = before.type.leads_to(name)
    if leads_to is not None:
        if key is not None and name != leads_to:
            raise malformed(f"{name} is one entity and takes no id.")
        return Step(TYPES[leads_to], name, key)
    if name in before.type.properties and key is None:
        return name
    raise absent(f"A {before.type.name} has no {name}.")
