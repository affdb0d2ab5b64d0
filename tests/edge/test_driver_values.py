"""What a driver hands over is checked by kind; a reason never repeats the value."""

import pickle
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lichtmast.edge.drivers import Channel, DriverError, Identifiers, limits
from lichtmast.edge.drivers.values import checked_channels, checked_values, reason_of

CHANNELS = (
    Channel("n", "number", "Cel"),
    Channel("c", "counter", "count"),
    Channel("b", "boolean"),
    Channel("t", "text"),
    Channel("i", "identifiers"),
)
ALL = frozenset(one.name for one in CHANNELS)


@pytest.mark.parametrize(
    ("channel", "value", "kept"),
    [
        ("n", 1, 1.0),
        ("n", -1.5, -1.5),
        ("n", limits.NUMBER_MAX, limits.NUMBER_MAX),
        ("c", 0, 0.0),
        ("b", False, False),
        ("t", "ok", "ok"),
        ("t", "x" * 1_024, "x" * 1_024),
    ],
)
def test_clean_values_go_on(channel: str, value: object, kept: object) -> None:
    good, refused = checked_values(CHANNELS, frozenset({channel}), {channel: value}, reason_of)
    assert (good, refused) == ({channel: kept}, {})
    assert type(good[channel]) is type(kept)


@pytest.mark.parametrize(
    ("channel", "value", "reason"),
    [
        ("n", True, "bool where a number belongs"),
        ("n", "20", "str where a number belongs"),
        ("n", None, "NoneType where a number belongs"),
        ("n", float("inf"), "not a finite number"),
        ("n", limits.NUMBER_MAX * 1.001, "beyond 1e+15"),
        ("n", 10**400, "beyond 1e+15"),
        ("b", 1, "int where true or false belongs"),
        ("t", b"x", "bytes where a text belongs"),
        ("t", "x" * 1_025, "a text of 1,025 characters; at most 1,024"),
        ("t", "a\x1b[31m", "a text with characters that cannot be printed"),
        ("i", ["a"], "list where Identifiers belong"),
        ("n", DriverError("unplugged"), "unplugged"),
    ],
)
def test_anything_else_is_refused_with_a_reason(channel: str, value: object, reason: str) -> None:
    assert checked_values(CHANNELS, frozenset({channel}), {channel: value}, reason_of) == ({}, {channel: reason})


def test_channels_that_nobody_wants_are_ignored_and_unknown_ones_are_told() -> None:
    good, refused = checked_values(CHANNELS, frozenset({"n", "b"}), {"n": 1, "t": 7, "x": 1, "y": 2}, reason_of)
    assert good == {"n": 1.0}
    assert refused == {"b": "no value", "": "read returned 2 values of channels that the driver does not have"}


@pytest.mark.slow
@given(st.one_of(st.none(), st.text(), st.lists(st.integers()), st.dictionaries(st.text(), st.floats() | st.text())))
def test_whatever_is_handed_over_ends_in_values_and_reasons(handed: object) -> None:
    good, refused = checked_values(CHANNELS, ALL, handed, reason_of)
    assert good.keys() <= ALL
    assert all(len(reason) <= limits.REASON_LENGTH_MAX + 100 and reason.isprintable() for reason in refused.values())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "colour"}, "channel n: kind is colour; choose"),
        ({"unit": "celsius"}, "channel n: celsius is not a primary SenML unit"),
        ({"name": ""}, "is not a text of 1 to"),
        ({"name": "n" * 41}, "is not a text of 1 to"),
    ],
)
def test_channels_that_cannot_be_are_refused_when_the_driver_is_made(change: dict[str, Any], reason: str) -> None:
    channel = SimpleNamespace(**{"name": "n", "kind": "number", "unit": "Cel", "writable": False} | change)
    with pytest.raises(DriverError, match=reason):
        checked_channels(SimpleNamespace(channels=(channel,)))


def test_a_driver_has_some_channels_and_each_once() -> None:
    for channels in ((), (CHANNELS[0], CHANNELS[0]), CHANNELS[:1] * (limits.CHANNELS_MAX + 1)):
        with pytest.raises(DriverError):
            checked_channels(SimpleNamespace(channels=channels))


def test_identifiers_show_only_how_many_they_are() -> None:
    seen = Identifiers([b"02:00:5e:00:53:01", b"02:00:5e:00:53:02"])
    assert (len(seen), repr(seen), str(seen)) == (2, "Identifiers(2 not shown)", "Identifiers(2 not shown)")
    assert f"{seen}{[seen]}".count("5e") == 0
    with pytest.raises(TypeError, match="do not leave"):
        pickle.dumps(seen)


def test_identifiers_are_bounded_in_number_and_length() -> None:
    Identifiers([b"x"] * limits.IDENTIFIERS_MAX)
    Identifiers([b"x" * limits.IDENTIFIER_BYTES_MAX])
    for wrong in ([b"x"] * (limits.IDENTIFIERS_MAX + 1), [b"x" * (limits.IDENTIFIER_BYTES_MAX + 1)], ["text"]):
        with pytest.raises(DriverError):
            Identifiers(wrong)  # type: ignore[arg-type] # that is the point


def test_a_reason_is_one_short_printable_line_whatever_raised_it() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert reason_of(ValueError("a\nb\x00c")) == "ValueError: a b c"
    assert reason_of(DriverError("unplugged")) == "unplugged"
    assert reason_of(MuteError()) == "MuteError: ?"
    assert len(reason_of("x" * 10_000)) == limits.REASON_LENGTH_MAX
