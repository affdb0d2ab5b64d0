"""Rules as documents: read strictly, written back the same, told as a sentence."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lichtmast.registry.alerts import AlertRuleError, Facts, document_of, parse_rule, sentence
from lichtmast.registry.alerts.groups import cell_of, feeder_of

WHOLE: dict[str, Any] = {
    "name": "lamp too hot",
    "tenant": "gm0402",
    "severity": "warning",
    "scope": {"profile": "lamp-controller", "area": [5.15, 52.2, 5.2, 52.25]},
    "condition": {"kind": "threshold", "above": 80, "clear": 70, "for_s": 300, "clear_for_s": 60},
}


def _with(path: str, value: object) -> dict[str, Any]:
    """The whole document, with one field changed; `...` takes it out."""
    document = {key: dict(one) if isinstance(one, dict) else one for key, one in WHOLE.items()}
    *above, name = path.split(".")
    table = document[above[0]] if above else document
    table.pop(name, None)
    if value is not ...:
        table[name] = value
    return document


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", ...),
        ("name", " "),
        ("name", "x" * 101),
        ("name", "two\nlines"),
        ("tenant", "Hilversum"),
        ("severity", "bad"),
        ("enabled", "yes"),
        ("fold_s", -1),
        ("fold_s", True),
        ("sevrity", "warning"),
        ("scope", []),
        ("scope.profil", "noise"),
        ("scope.area", [5.2, 52.2, 5.1, 52.3]),
        ("scope.area", [1, 2, 3]),
        ("scope.area", [5, 52, float("nan"), 53]),
        ("scope.datastreams", [0]),
        ("scope.datastreams", [True]),
        ("scope.datastreams", [1.0]),
        ("scope.assets", list(range(1, 1002))),
        ("scope.devices", ["lm-1"]),
        ("scope.devices", "gm0402/lm-1"),
        ("scope.devices", ["gm0344/lm-1"]),
        ("condition", ...),
        ("condition.kind", "treshold"),
        ("condition.above", ...),
        ("condition.above", 10**400),
        ("condition.above", float("inf")),
        ("condition.below", 3),
        ("condition.clear", 81),
        ("condition.for_s", -1),
        ("condition.for", 300),
        ("condition.for_s", 31 * 24 * 3600),
    ],
)
def test_a_mistake_is_told_with_the_path_of_its_field(path: str, value: object) -> None:
    with pytest.raises(AlertRuleError) as told:
        parse_rule(_with(path, value))
    allowed = {path, "condition.above"} if path == "condition.below" else {path}
    assert told.value.field in allowed


@pytest.mark.parametrize(
    "condition",
    [
        {"kind": "threshold", "below": 3, "clear": 2},
        {"kind": "rate", "above_per_s": 0, "over_s": 60},
        {"kind": "rate", "above_per_s": 1},
        {"kind": "absence", "after_s": 0},
        {"kind": "quality", "flags": [], "within_s": 60},
        {"kind": "quality", "flags": ["GOOD"], "within_s": 60},
        {"kind": "quality", "flags": ["WRONG"], "within_s": 60},
        {"kind": "quality", "flags": ["OUT_OF_RANGE"], "count": 0, "within_s": 60},
        {"kind": "fleet", "rule": "lamp too hot", "share": 0.5, "of": "feeder"},
        {"kind": "fleet", "rule": "x", "share": 50, "of": "feeder"},
        {"kind": "fleet", "rule": "x", "share": 0.5, "of": "gateway"},
        {"kind": "baseline", "sigma": 0.5},
    ],
    ids=str,
)
def test_a_condition_that_cannot_be_is_refused(condition: dict[str, Any]) -> None:
    with pytest.raises(AlertRuleError, match=r"^condition\."):
        parse_rule(_with("condition", condition))


CONDITIONS = [
    (
        {"kind": "threshold", "above": 80, "clear": 70, "for_s": 300},
        "is above 80 for 5 minutes; it ends at or below 70.",
    ),
    ({"kind": "threshold", "below": 3, "clear_for_s": 90}, "is below 3; it ends after 90 seconds without."),
    ({"kind": "rate", "above_per_s": 0.5, "over_s": 3600}, "changes by more than 0.5 a second over 1 hour."),
    ({"kind": "absence"}, "sends nothing for three of its usual intervals."),
    ({"kind": "absence", "after_s": 7200}, "sends nothing for 2 hours."),
    (
        {"kind": "quality", "flags": ["OUT_OF_RANGE", "TIME_IN_FUTURE"], "count": 3, "within_s": 86_400},
        "within 1 day carry OUT_OF_RANGE or TIME_IN_FUTURE.",
    ),
    (
        {"kind": "fleet", "rule": "silence", "share": 0.2, "of": "feeder", "at_least": 5},
        "more than 20 % of the members on one feeder, and at least 5, have an open alert of 'silence'",
    ),
    ({"kind": "baseline", "sigma": 6, "weekly": True}, "6 deviations from what is usual at this hour of the week."),
]


@pytest.mark.parametrize(
    ("condition", "words"), CONDITIONS, ids=lambda one: one if isinstance(one, str) else one["kind"]
)
def test_a_rule_is_written_back_the_same_and_told_as_a_sentence(condition: dict[str, Any], words: str) -> None:
    rule = parse_rule(_with("condition", condition), rule_id=3, version=2)
    assert parse_rule(document_of(rule), rule_id=3, version=2) == rule
    assert words in sentence(rule)
    assert "lamp-controller between 5.15, 52.2 and 5.2, 52.25 in gm0402" in sentence(rule)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@given(
    st.dictionaries(st.sampled_from([*WHOLE, "enabled", "fold_s"]), _JSON),
    st.dictionaries(st.sampled_from(["kind", "above", "flags", "rule", "share", "of", "sigma", "for_s"]), _JSON),
)
def test_no_document_does_anything_but_be_a_rule_or_be_refused(outer: dict[str, Any], inner: dict[str, Any]) -> None:
    try:
        rule = parse_rule(WHOLE | outer | ({"condition": inner} if inner else {}))
    except AlertRuleError:
        return
    assert parse_rule(document_of(rule)) == rule


def test_every_narrowing_of_a_scope_narrows() -> None:
    facts = Facts("datastream/17", "gm0402", 17, "gm0402/lm-1", 4, "noise", "level", 5.17, 52.22)
    narrowings = {
        "datastreams": ([17], [18]),
        "devices": (["gm0402/lm-1"], ["gm0402/lm-2"]),
        "assets": ([4], [5]),
        "profile": ("noise", "parking"),
        "capability": ("level", "battery"),
        "area": ([5.1, 52.2, 5.2, 52.3], [5.1, 52.23, 5.2, 52.3]),
    }
    for name, (inside, outside) in narrowings.items():
        assert parse_rule(_with("scope", {name: inside})).scope.covers(facts), name
        assert not parse_rule(_with("scope", {name: outside})).scope.covers(facts), name
    everything = {name: inside for name, (inside, _) in narrowings.items()}
    assert parse_rule(_with("scope", everything)).scope.covers(facts)


@pytest.mark.parametrize("name", ["Voedingskast", "OVL_kast", "feeder id", "KASTNR"])
def test_a_feeder_is_found_by_whatever_its_source_calls_it(name: str) -> None:
    assert feeder_of({"source": {name: " F  12 ", "other": "x"}}) == "F 12"
    assert feeder_of({"source": {name: ""}, "straat": "Kerkstraat"}) is None


def test_neighbourhoods_are_squares_of_500_metres() -> None:
    metre_east = 1 / (111_320 * 0.6129)
    cells = {cell_of(5.17 + metres * metre_east, 52.22) for metres in range(0, 2000, 10)}
    assert len(cells) in {4, 5}
    assert cell_of(5.17, 52.22) == cell_of(5.17 + metre_east, 52.22)
