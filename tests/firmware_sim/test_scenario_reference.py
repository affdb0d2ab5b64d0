"""The reference of scenarios is whole, and the example in the how-to is one."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from lichtmast.firmware_sim.happenings import Kind
from lichtmast.firmware_sim.instrument import Label
from lichtmast.firmware_sim.scenario import parse_scenario
from lichtmast.firmware_sim.scenario.parts import CLOCK_MODES, KNOBS, FaultKind
from lichtmast.firmware_sim.weather import SEASONS

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = (DOCS / "reference" / "scenario.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_fault_stands_in_the_reference_with_its_knobs_and_defaults(kind: FaultKind) -> None:
    rows = re.findall(rf"^\| `{kind.value}` \|(.*)$", REFERENCE, re.MULTILINE)
    assert rows, "an event may have the same name, and stands before it"
    row = rows[-1]
    for name, knob in KNOBS[kind].items():
        assert f"`{name}` ({knob.default:g})" in row


def test_every_word_that_can_be_chosen_stands_in_the_reference() -> None:
    words = {one.value for one in Kind} | set(SEASONS) | set(CLOCK_MODES)
    labels = {one.name for one in fields(Label)}
    assert [word for word in words | labels if f"`{word}`" not in REFERENCE and f'"{word}"' not in REFERENCE] == []


def test_the_example_of_the_how_to_is_a_scenario() -> None:
    text = (DOCS / "how-to" / "simulate-a-town.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"(?s)```toml\n(.*?)```", text)
    scenario = parse_scenario(tomllib.loads(example), Path())
    assert len(scenario.mix) == 3
    assert [one.kind for one in scenario.faults] == [FaultKind.DRIFT]
