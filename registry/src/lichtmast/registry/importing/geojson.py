"""Lampposts from a GeoJSON FeatureCollection of points (RFC 7946), as cities publish them.

Read token by token: memory stays the same for any number of features. Field names are matched by `fields`; an older
`crs` member may say RD New. Will not read other geometries, nor guess a crs.
"""

import io
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO, Final, cast

import ijson  # type: ignore[import-untyped]  # it ships no type information

from lichtmast.registry.importing.fields import build_asset, clean, meanings
from lichtmast.registry.importing.report import Problem, Reason, error, example, warning
from lichtmast.registry.importing.source import CRS84, RD_NEW, IncomingAsset, Progress
from lichtmast.registry.importing.text_encoding import inspect_file, open_source
from lichtmast.registry.limits import (
    IMPORT_COLUMNS_MAX,
    IMPORT_FEATURE_EVENTS_MAX,
    IMPORT_FIELD_CHARACTERS_MAX,
    IMPORT_JSON_CHUNK_CHARACTERS,
    IMPORT_JSON_DEPTH_MAX,
)

_CRS_NAMES: Final = {"28992": RD_NEW, "CRS84": CRS84, "4326": CRS84, "4258": CRS84}
"""Last part of a crs name. GeoJSON's order is longitude, latitude, whatever the crs registry says of its axes."""

Json = dict[str, "Json"] | list["Json"] | str | int | Decimal | bool | None


class _ShapeError(Exception):
    """The JSON is sound, but not what a feature collection may hold."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class GeojsonSource:
    """A GeoJSON file with one point feature for each lamppost."""

    kind = "geojson"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.detected: dict[str, str] = {}
        self.sha256 = ""
        self._crs = CRS84
        self._rows = 0

    def read(self, progress: Progress) -> Iterator[IncomingAsset | Problem]:
        """Feature after feature. Raises SourceUnreadableError."""
        inspection = inspect_file(self.path)
        self.sha256 = inspection.sha256
        self._crs, self._rows = CRS84, 0
        if inspection.problem is not None:
            yield inspection.problem
        if inspection.encoding is None:
            return
        self.detected = {"format": "GeoJSON", "encoding": inspection.encoding.removesuffix("-sig"), "crs": CRS84}
        with open_source(self.path) as file:
            utf8 = _Utf8Reader(file, inspection.encoding, lambda: progress(file.tell(), inspection.size_bytes))
            try:
                yield from self._features(_Tokens(utf8))
            except _ShapeError as cause:
                yield error(self._rows + 1, cause.reason, str(cause))
            except (ijson.JSONError, UnicodeError):
                yield self._unreadable(stopped=utf8.ended)

    def _unreadable(self, *, stopped: bool) -> Problem:
        """What the parser refused: the end of the file where it came too early, otherwise a mistake in it."""
        if stopped:
            message = f"the file stops in the middle, in or after feature {self._rows}; copy it again"
            return error(self._rows + 1, Reason.TRUNCATED, message)
        message = f"no well-formed JSON, in or after feature {self._rows}; export the file again"
        return error(self._rows + 1, Reason.MALFORMED, message)

    def _features(self, tokens: "_Tokens") -> Iterator[IncomingAsset | Problem]:
        if tokens.next() != ("start_map", None):
            raise _ShapeError(Reason.WRONG_KIND, "the file holds no JSON object; choose a GeoJSON FeatureCollection")
        kind: Json = None
        seen_features = False
        for key in tokens.members():
            tokens.begin_item()
            if key != "features":
                value = tokens.value()
                kind = value if key == "type" else kind
                if key == "crs":
                    self._set_crs(value, late=seen_features)
                continue
            seen_features = True
            if tokens.next() != ("start_array", None):
                raise _ShapeError(Reason.WRONG_KIND, "member features is no list; choose a GeoJSON FeatureCollection")
            while True:
                tokens.begin_item()
                event, value = tokens.next()
                if event == "end_array":
                    break
                feature = tokens.value_of(event, value)
                self._rows += 1
                yield from self._asset(feature)
        tokens.finish()
        if kind != "FeatureCollection" or not seen_features:
            yield error(
                None, Reason.WRONG_KIND, f"type is {example(kind)}; choose a GeoJSON FeatureCollection of points"
            )
        elif self._rows == 0:
            yield warning(None, Reason.NO_LAMPPOSTS, "the feature collection is empty; is this the right file?")

    def _set_crs(self, value: Json, *, late: bool) -> None:
        name: Json = value
        for key in ("properties", "name"):
            name = name.get(key) if isinstance(name, dict) else None
        text = name if isinstance(name, str) else ""
        crs = _CRS_NAMES.get(text.replace("/", ":").rpartition(":")[2])
        if crs is None or (late and crs != self._crs):
            where = " after the features" if late else ""
            message = f"crs {example(text)}{where} cannot be used; save the file in CRS84, or in RD New with crs first"
            raise _ShapeError(Reason.UNKNOWN_CRS, message)
        self._crs = crs
        self.detected["crs"] = crs

    def _asset(self, feature: Json) -> Iterator[IncomingAsset | Problem]:
        row = self._rows
        if not isinstance(feature, dict) or feature.get("type") != "Feature":
            yield error(row, Reason.WRONG_KIND, f"item {row} of features is no Feature; remove it")
            return
        geometry, properties = feature.get("geometry"), feature.get("properties")
        position = _position(geometry)
        if position is None:
            kind = geometry.get("type") if isinstance(geometry, dict) else geometry
            yield error(
                row, Reason.NOT_A_POINT, f"geometry {example(kind)} is no Point with two numbers; export points"
            )
            return
        texts = (
            {name: clean(_text(value)) for name, value in properties.items()} if isinstance(properties, dict) else {}
        )
        if "id" not in {name.lower() for name in texts} and isinstance(feature.get("id"), str | int):
            texts["id"] = clean(str(feature["id"]))
        known = meanings(texts)
        if not self.detected.get("columns"):
            self.detected["columns"] = ", ".join(f"{name} = {meaning}" for name, meaning in known.items())
        fields = {meaning: texts[name] for name, meaning in known.items()}
        rest = {name: text for name, text in texts.items() if name not in known and text}
        asset, problems = build_asset(row, self._crs, position, fields, rest)
        yield from problems
        if asset is not None:
            yield asset


def _position(geometry: Json) -> tuple[str, str] | None:
    if not isinstance(geometry, dict) or geometry.get("type") != "Point":
        return None
    coordinates = geometry.get("coordinates")
    if not isinstance(coordinates, list) or len(coordinates) not in (2, 3):
        return None
    x, y = coordinates[0], coordinates[1]
    if any(isinstance(number, bool) or not isinstance(number, int | Decimal) for number in (x, y)):
        return None
    return str(x), str(y)


def _text(value: Json) -> str:
    """A property as text; nested values are not ours to read."""
    if value is None or isinstance(value, dict | list):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Tokens:
    """JSON tokens, built into values with limits on what one item may hold."""

    def __init__(self, file: "_Utf8Reader") -> None:
        self._events = cast(
            "Iterator[tuple[str, Json]]", ijson.basic_parse(file, buf_size=IMPORT_JSON_CHUNK_CHARACTERS)
        )
        self._left = IMPORT_FEATURE_EVENTS_MAX

    def begin_item(self) -> None:
        """Give the next item its allowance of tokens."""
        self._left = IMPORT_FEATURE_EVENTS_MAX

    def next(self) -> tuple[str, Json]:
        """The next token, within the item's allowance."""
        self._left -= 1
        if self._left < 0:
            message = f"one item has more than {IMPORT_FEATURE_EVENTS_MAX} values; lampposts are points, choose those"
            raise _ShapeError(Reason.TOO_LARGE, message)
        token = next(self._events, None)
        if token is None:
            raise _ShapeError(Reason.TRUNCATED, "the file stops in the middle; copy it again")
        if isinstance(token[1], str) and len(token[1]) > IMPORT_FIELD_CHARACTERS_MAX:
            raise _ShapeError(Reason.TOO_LARGE, f"a text is longer than {IMPORT_FIELD_CHARACTERS_MAX} characters")
        return token

    def finish(self) -> None:
        """Read to the end of the file, where nothing but blanks may follow."""
        for _ in self._events:
            raise _ShapeError(Reason.MALFORMED, "more follows behind the feature collection; export the file again")

    def members(self) -> Iterator[str]:
        """The keys of the object that was begun, each followed by its value, until the object ends."""
        while True:
            event, key = self.next()
            if event == "end_map":
                return
            yield str(key)

    def value(self) -> Json:
        """The next value, whole."""
        return self.value_of(*self.next())

    def value_of(self, event: str, value: Json, depth: int = 1) -> Json:
        """The whole value that begins with this token."""
        if depth > IMPORT_JSON_DEPTH_MAX:
            raise _ShapeError(Reason.TOO_LARGE, f"values are nested deeper than {IMPORT_JSON_DEPTH_MAX}")
        if event == "start_map":
            members: dict[str, Json] = {}
            for key in self.members():
                if key in members or len(members) >= IMPORT_COLUMNS_MAX:
                    raise _ShapeError(Reason.MALFORMED, f"key {example(key)} appears twice, or there are too many keys")
                members[key] = self.value_of(*self.next(), depth + 1)
            return members
        if event == "start_array":
            items: list[Json] = []
            while (token := self.next())[0] != "end_array":
                items.append(self.value_of(*token, depth + 1))
            return items
        return value


class _Utf8Reader:
    """Gives the parser UTF-8 without a byte order mark, whatever the file is written in."""

    def __init__(self, file: BinaryIO, encoding: str, on_read: Callable[[], None]) -> None:
        self._text = io.TextIOWrapper(file, encoding=encoding, errors="strict", newline="")
        self._on_read = on_read
        self.ended = False

    def read(self, size: int = -1) -> bytes:
        self._on_read()
        text = self._text.read(size)
        self.ended = self.ended or (size != 0 and not text)
        return text.encode()
