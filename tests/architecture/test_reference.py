"""What the code can answer stands in the reference."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from lichtmast.api import ApiSettings
from lichtmast.ingest.broker import BrokerSettings
from lichtmast.ingest.coap import CoapSettings
from lichtmast.ingest.log import LogSettings
from lichtmast.suite.settings import Settings
from lichtmast.wire import Quality
from lichtmast.wire.quality import DOUBTFUL
from lichtmast.wire.refusal import ANSWERS, Refusal

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def rows(text: str) -> dict[str, list[str]]:
    """Lines of the tables whose first or second cell is a name in backticks, by that name."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for cell in cells[:2]:
            if re.fullmatch(r"`\w+`", cell):
                found[cell.strip("`")] = cells
    return found


def test_every_refusal_stands_in_the_reference_with_its_answer() -> None:
    told = rows((REFERENCE / "mqtt.md").read_text())
    for refusal in Refusal:
        answer = ANSWERS[refusal]
        assert told[refusal.value][1:3] == ["yes" if answer.retry else "no", "{}.{:02}".format(*answer.coap)], refusal


def test_every_quality_flag_stands_in_the_reference_with_its_bit() -> None:
    told = rows((REFERENCE / "quality.md").read_text())
    for flag in Quality:
        assert told[str(flag.name)][:3:2] == [str(flag.value), "yes" if flag & DOUBTFUL else "no"], flag


@pytest.mark.parametrize(
    ("settings", "page"),
    [
        (BrokerSettings, "running.md"),
        (LogSettings, "running.md"),
        (Settings, "running.md"),
        (CoapSettings, "coap.md"),
        (ApiSettings, "api.md"),
    ],
    ids=lambda one: getattr(one, "__name__", one),
)
def test_every_setting_stands_in_the_reference(settings: type, page: str) -> None:
    text = (REFERENCE / page).read_text()
    assert [field.name for field in fields(settings) if f"`{field.name}`" not in text] == []
