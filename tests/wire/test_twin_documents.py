"""The twin's documents: what is written is read back, and anything else is refused with a reason."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lichtmast.wire.twin import (
    TWIN_BYTES_MAX,
    Answer,
    AtDark,
    Command,
    Desired,
    Dim,
    Dimmed,
    DuskRule,
    Event,
    Identify,
    Level,
    Outcome,
    Reboot,
    SensorWish,
    State,
    ThresholdRule,
    TwinError,
    decode_command,
    decode_desired,
    decode_event,
    decode_state,
    limits,
    parse_rules,
)

PAGE: Final = (Path(__file__).parents[2] / "docs" / "reference" / "twin.md").read_text()
DECODERS: Final[dict[str, Callable[[bytes], Any]]] = {
    "cfg": decode_desired,
    "cmd": decode_command,
    "ev": decode_event,
    "state": decode_state,
}

levels: Final = st.floats(0, 1)
names: Final = st.from_regex(r"[a-z0-9_-]{1,40}", fullmatch=True)
suffixes: Final = st.from_regex(r"/[a-z0-9-]{1,10}/0/[a-z]{1,9}", fullmatch=True)
texts: Final = st.text(st.characters(categories=["L", "N", "P"]), max_size=40)
moments: Final = st.none() | st.floats(0, limits.UNIX_MAX_S)
scalars: Final = st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e12, 1e12) | texts
groups: Final = st.dictionaries(names, scalars, max_size=4)
minutes: Final = st.integers(0, 1439)
dusks: Final = st.builds(
    DuskRule,
    names,
    suffixes,
    st.floats(-90, 90),
    st.floats(-180, 180),
    sun_deg=st.floats(-18, 6),
    dusk_offset_s=st.floats(-7200, 7200),
    dimmed=st.lists(
        st.builds(Dimmed, minutes, minutes, levels).filter(lambda one: one.from_minute != one.upto_minute), max_size=3
    ).map(tuple),
    at_dark=st.none() | st.builds(AtDark, suffixes, st.floats(0, 10), st.floats(11, 100)),
    failsafe=levels,
)
thresholds: Final = st.builds(
    ThresholdRule, names, suffixes, suffixes, levels, above=st.floats(-1e12, 1e12), for_s=st.floats(0, 86_400)
)
rule_lists: Final = st.lists(
    dusks | thresholds, max_size=3, unique_by=(lambda one: one.name, lambda one: one.target)
).map(tuple)
wishes: Final = st.builds(SensorWish, st.none() | st.floats(0, 1e12), st.none() | st.floats(0.1, 86_400))
documents: Final = st.one_of(
    st.builds(
        Desired,
        st.integers(1, limits.VERSION_MAX),
        st.none() | st.floats(1, 86_400),
        st.dictionaries(suffixes, wishes, max_size=4),
        st.none() | rule_lists,
    ),
    st.builds(
        Command,
        st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
        st.one_of(
            st.builds(Dim, levels, st.floats(0, limits.UNIX_MAX_S), st.none() | suffixes),
            st.builds(Identify, st.floats(1, 300), st.none() | suffixes),
            st.just(Reboot()),
        ),
        st.floats(0, limits.UNIX_MAX_S),
    ),
    st.builds(Answer, st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True), st.sampled_from(Outcome), texts, moments),
    st.builds(Event, names, texts, moments, groups),
    st.builds(
        State,
        texts,
        texts,
        st.floats(0, 1e9),
        st.integers(0, limits.VERSION_MAX),
        st.floats(1, 86_400),
        moments,
        st.dictionaries(suffixes, st.builds(Level, levels, texts), max_size=3),
        st.dictionaries(names, groups, max_size=3),
    ),
)


def decoder_of(document: object) -> Callable[[bytes], Any]:
    kinds = {Desired: "cfg", Command: "cmd", Answer: "ev", Event: "ev", State: "state"}
    return DECODERS[kinds[type(document)]]


def examples(language: str) -> list[tuple[str, bytes]]:
    """The examples of the reference page: the topic in the line before the block, and its bytes."""
    found = re.findall(rf"On `(\w+)`[^\n]*:\n\n```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return [(topic, raw.encode()) for topic, raw in found]


@given(documents)
@settings(deadline=None)
def test_what_is_encoded_is_decoded(sent: Desired | Command | Answer | Event | State) -> None:
    assert decoder_of(sent)(sent.encode()) == sent


jsons: Final = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["version", "rules", "id", "name", "event", "answer", "state", "levels", "kind", "x"]),
            inner,
            max_size=4,
        )
    ),
)


@pytest.mark.parametrize("topic", DECODERS)
@given(raw=st.binary(max_size=60) | jsons.map(lambda one: json.dumps(one).encode()))
@settings(deadline=None)
def test_any_bytes_are_a_document_or_its_error(topic: str, raw: bytes) -> None:
    with suppress(TwinError):
        DECODERS[topic](raw)


def test_every_topic_has_an_example_that_its_decoder_reads_and_writes_again() -> None:
    read = [(topic, DECODERS[topic](raw), json.loads(raw)) for topic, raw in examples("json")]
    assert {topic for topic, _, _ in read} == set(DECODERS)
    for _, document, _ in read:
        assert decoder_of(document)(document.encode()) == document
    assert {type(document) for _, document, _ in read} == {Desired, Command, Answer, Event, State}


@pytest.mark.parametrize(
    ("topic", "raw", "told"),
    [
        ("cfg", "", "no JSON at character 0"),
        ("cfg", "[]", "the document: not an object"),
        ("cfg", "{}", "version: missing"),
        ("cfg", '{"version": 0}', "version: 0 is not a whole number from 1 to 9007199254740991"),
        ("cfg", '{"version": true}', "version: True is not"),
        ("cfg", '{"version": 1.0}', "version: 1.0 is not"),
        ("cfg", '{"version": 1, "version": 2}', "'version': appears twice"),
        ("cfg", '{"version": 1, "intervals": 5}', "intervals: unknown; known are interval_s, rules, sensors, version"),
        ("cfg", '{"version": 1, "interval_s": NaN}', "NaN is no JSON number"),
        ("cfg", '{"version": 1, "interval_s": 1e999}', "not a number that fits a double"),
        ("cfg", f'{{"version": {"9" * 5000}}}', "a number of 5000 characters, at most 64"),
        ("cfg", '{"version": 1, "interval_s": 0.05}', "interval_s: 0.05 is not a number from 0.1 to 86400"),
        ("cfg", '{"version": 1, "sensors": {"x": {}}}', "sensors: 'x' is not a suffix"),
        ("cfg", '{"version": 1, "sensors": {"/a/0/b": {"deadband": -1}}}', "sensors./a/0/b.deadband: -1 is not"),
        ("cfg", '{"version": 1, "sensors": {"/a/0/b": {"unit": "K"}}}', "sensors./a/0/b.unit: unknown"),
        ("cfg", '{"version": 1, "rules": {}}', "rules: not a list"),
        ("cfg", '{"version": 1, "rules": [{"kind": "dawn"}]}', "rules[0].kind: 'dawn' is not dusk or threshold"),
        ("cfg", '{"version": 1, "x": [[[[[[1]]]]]]}', "nested deeper than 6 levels"),
        ("cfg", "[" * 16_000, "nested deeper than 6 levels"),
        ("cfg", '{"version": 1}' + " " * TWIN_BYTES_MAX, "16398 bytes, at most 16384"),
        ("cmd", '{"id": "1", "name": "explode", "expires": 1}', "name: 'explode' is not dim, identify or reboot"),
        ("cmd", '{"id": "1", "name": "reboot"}', "expires: missing"),
        ("cmd", '{"id": "../x y", "name": "reboot", "expires": 1}', "id: '../x y' is not 1 to 64 of"),
        ("cmd", '{"id": "1", "name": "reboot", "expires": 1, "arguments": {"hard": 1}}', "arguments.hard: unknown"),
        (
            "cmd",
            '{"id": "1", "name": "dim", "expires": 1, "arguments": {"level": 1.01, "until": 1}}',
            "arguments.level: 1.01 is not a number from 0 to 1",
        ),
        ("cmd", '{"id": "1", "name": "identify", "expires": 1, "arguments": {"seconds": 301}}', "301 is not a number"),
        ("ev", '{"answer": "1", "state": "perhaps"}', "state: 'perhaps' is not one of done, refused, expired"),
        ("ev", '{"answer": "1", "state": []}', "state: [] is not one of"),
        ("ev", '{"event": "Big Bang"}', "event: 'Big Bang' is not 1 to 40 of a-z0-9_-"),
        ("ev", '{"event": "x", "reason": "a\\nb"}', "reason: not a text"),
        ("ev", '{"event": "x", "reason": "\\ud800"}', "reason: not a text"),
        ("ev", '{"event": "x", "details": {"a": null}}', "details.a: None is not a number"),
        ("state", '{"agent": "1"}', "boot: missing"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_anything_else_is_refused_with_its_place(topic: str, raw: str, told: str) -> None:
    with pytest.raises(TwinError) as caught:
        DECODERS[topic](raw.encode())
    assert told in str(caught.value)
    assert len(str(caught.value)) <= limits.TEXT_LENGTH_MAX


def dusk(**more: object) -> dict[str, Any]:
    place = {"latitude_deg": 52.4, "longitude_deg": 4.9}
    return {"kind": "dusk", "name": "night", "target": "/lamp/0/command", **place, **more}


def threshold(**more: object) -> dict[str, Any]:
    return {"kind": "threshold", "name": "loud", "target": "/lamp/0/command", "sensor": "/a/0/b", "level": 1, **more}


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ([dusk(), dusk()], "name night appears twice"),
        ([dusk(), threshold(above=1)], "loud can never act: night before it always decides"),
        ([threshold()], "rules[0]: needs either above or below"),
        ([threshold(above=1, below=0)], "needs either above or below"),
        ([threshold(above=1, hold_s=9)], "rules[0].hold_s: 9 is not a number from 10 to 86400"),
        ([dusk(dimmed=[{"from": "23:00", "upto": "23:00", "level": 0.5}])], "from and upto are the same"),
        ([dusk(dimmed=[{"from": "24:00", "upto": "05:00", "level": 0.5}])], "'24:00' is not a time such as 23:00"),
        ([dusk(at_dark={"sensor": "/a/0/b", "below": 20, "above": 20})], "above must be more than below"),
        ([dusk(timezone="../../etc/passwd")], "is not the name of a time zone"),
        ([{**dusk(), "latitude_deg": None}], "rules[0].latitude_deg: None is not a number from -90 to 90"),
        ([{"kind": "dusk", "name": "n", "target": "/a/0/b", "latitude_deg": 5}], "come both or not at all"),
        ([threshold(above=1, otherwise=0), threshold(above=2, name="louder")], "louder can never act: loud before it"),
        ([dusk(latitude_deg=91)], "rules[0].latitude_deg: 91 is not a number from -90 to 90"),
        ([dusk(failsafe=2)], "rules[0].failsafe: 2 is not a number from 0 to 1"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(rules: list[dict[str, Any]], told: str) -> None:
    with pytest.raises(TwinError) as caught:
        parse_rules(rules)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("most", "topic", "made"),
    [
        (
            limits.RULES_MAX,
            "cfg",
            lambda n: {"version": 1, "rules": [threshold(above=1, name=f"r{i}") for i in range(n)]},
        ),
        (limits.SENSORS_MAX, "cfg", lambda n: {"version": 1, "sensors": {f"/a/{i}/b": {} for i in range(n)}}),
        (
            limits.DIMMED_MAX,
            "cfg",
            lambda n: {"version": 1, "rules": [dusk(dimmed=[{"from": "01:00", "upto": "02:00", "level": 0}] * n)]},
        ),
        (limits.REPORT_FIELDS_MAX, "ev", lambda n: {"event": "x", "details": {f"f{i}": 1 for i in range(n)}}),
        (limits.TEXT_LENGTH_MAX, "ev", lambda n: {"event": "x", "reason": "x" * n}),
    ],
)
def test_what_can_be_many_is_limited(most: int, topic: str, made: Callable[[int], object]) -> None:
    DECODERS[topic](json.dumps(made(most)).encode())
    with pytest.raises(TwinError):
        DECODERS[topic](json.dumps(made(most + 1)).encode())


def test_a_long_reason_is_cut_and_loses_its_control_characters() -> None:
    told = decode_event(Event("fault", "a\nb" + "x" * 1_000).encode())
    assert told.reason == "a b" + "x" * (limits.TEXT_LENGTH_MAX - 3)


@pytest.mark.parametrize("at_s", [-1.0, limits.UNIX_MAX_S + 1.0, float("inf"), float("nan")])
def test_a_clock_out_of_all_bounds_is_not_told_and_silences_nothing(at_s: float) -> None:
    assert decode_event(Event("x", at_s=at_s).encode()) == Event("x")
    assert decode_event(Answer("a", Outcome.DONE, at_s=at_s).encode()) == Answer("a", Outcome.DONE)
    assert decode_state(State("1", "b", 1.0, 0, 60.0, at_s).encode()) == State("1", "b", 1.0, 0, 60.0)


def test_nothing_is_written_that_nobody_could_read() -> None:
    for document in (
        Desired(0),
        Desired(1, interval_s=float("nan")),
        Desired(1, rules=(DuskRule("a", "/a/0/b", 91, 0),)),
        Command("a b", Reboot(), 1),
        Event("x", details={f"f{index}": "x" * 500 for index in range(32)} | {"more": "y"}),
    ):
        with pytest.raises(TwinError):
            document.encode()


def test_dimmed_hours_go_past_midnight() -> None:
    night, noon = Dimmed(23 * 60, 5 * 60, 0.6), Dimmed(12 * 60, 13 * 60, 0.6)
    assert [night.covers(minute) for minute in (22 * 60 + 59, 23 * 60, 0, 299, 300)] == [False, True, True, True, False]
    assert [noon.covers(minute) for minute in (719, 720, 779, 780)] == [False, True, True, False]
