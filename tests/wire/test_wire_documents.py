"""The reference pages tell what the code does: every name is there, and the examples run."""

import json
import re
from pathlib import Path
from typing import Final

import pytest

from lichtmast.wire import limits
from lichtmast.wire.profile import load_profiles
from lichtmast.wire.refusal import ANSWERS, Refusal
from lichtmast.wire.senml import decode
from lichtmast.wire.senml.strict_cbor import LABELS
from lichtmast.wire.units import UNITS

REFERENCE: Final = Path(__file__).parents[2] / "docs" / "reference"
SENML: Final = (REFERENCE / "senml.md").read_text()
PROFILES: Final = (REFERENCE / "profiles.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", SENML, flags=re.DOTALL)


def test_the_example_pack_is_one() -> None:
    raw, _ = blocks("json")
    pack = decode(raw.encode(), 110, 1_763_757_018_200_000)
    assert (str(pack.device), pack.epoch, pack.seq) == ("gm0402/lm-0001", 7, 41)
    profile = load_profiles()["lamp-controller"]
    assert [profile.uplinks[profile.index_of(pack.suffix_of(one))].unit for one in pack.records] == ["/", "W", None]
    assert json.loads(raw)[0]["bt"] == 1763757018.123456


def test_the_example_of_dropped_packs_declares_what_the_text_says() -> None:
    _, raw = blocks("json")
    pack = decode(raw.encode(), 110, 1_763_757_018_200_000)
    assert (pack.epoch, pack.seq, pack.dropped) == (7, 200, ((100, 180), (190, 190)))


def test_the_python_example_runs() -> None:
    (source,) = blocks("python")
    exec(compile(source, "docs/reference/senml.md", "exec"), {})  # noqa: S102 - our own documentation


@pytest.mark.parametrize("refusal", Refusal, ids=lambda refusal: refusal.value)
def test_every_refusal_is_documented_with_its_answers(refusal: Refusal) -> None:
    answer = ANSWERS[refusal]
    row = next(line for line in SENML.splitlines() if line.startswith(f"| `{refusal.value}` |"))
    told = [cell.strip() for cell in row.strip("|").split("|")]
    assert told[2:] == [f"{answer.coap[0]}.{answer.coap[1]:02}", f"0x{answer.mqtt:02X}", str(answer.http)]


def test_every_label_is_documented_with_its_number() -> None:
    told: dict[str, str] = {}
    for labels, numbers in re.findall(r"^\| ([^|]+) \| ([^|]+) \|", SENML, flags=re.MULTILINE):
        for label, number in zip(re.findall(r"`([^`]+)`", labels), numbers.split(","), strict=False):
            told.setdefault(label, number.strip())
    assert {told[label]: label for label in LABELS.values()} == {str(key): label for key, label in LABELS.items()}


def test_units_that_are_advised_against_are_documented() -> None:
    assert all(f"`{symbol}`" in SENML for symbol, unit in UNITS.items() if not unit.recommended)


def test_limits_are_documented() -> None:
    numbers = [limits.PACK_BYTES_MAX, limits.PACK_BYTES_MAX_COAP, limits.PACK_RECORDS_MAX, limits.PACK_DEPTH_MAX]
    numbers += [limits.DROPPED_RANGES_MAX, limits.DROPPED_NUMBERS_MAX]
    numbers += [limits.NUMBER_LENGTH_MAX, limits.NAME_LENGTH_MAX, limits.TEXT_VALUE_LENGTH_MAX]
    table = SENML.partition("## Limits")[2].partition("## Strictness")[0]
    assert all(re.search(rf"\b{number:,}\b", table) for number in numbers)


def test_every_capability_is_documented_with_unit_and_binding() -> None:
    for profile in load_profiles().values():
        section = PROFILES.partition(f"### {profile.key}\n")[2].partition("\n### ")[0]
        rows = [line for line in section.splitlines() if line.startswith("| `/")]
        assert len(rows) == len(profile.capabilities)
        for one, row in zip(profile.capabilities, rows, strict=True):
            unit = f"`{one.unit}`" if one.unit else one.kind.value
            assert row.startswith(f"| `{one.suffix}` | {one.quantity} | {unit} |")
            assert row.endswith(f"| {one.lwm2m or ''} | {one.direction.value} |")
