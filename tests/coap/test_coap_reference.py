"""docs/reference/coap.md says what the code does: settings with their defaults, counters, limits, links."""

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

from lichtmast.ingest import coap
from lichtmast.ingest.coap import CoapSettings, CoapStatistics
from lichtmast.ingest.coap import limits as coap_limits
from lichtmast.ingest.coap.discovery import CORE_LINKS
from lichtmast.ingest.coap.message import Malformed
from lichtmast.wire import limits as wire_limits
from lichtmast.wire.refusal import ANSWERS

REFERENCE = (Path(__file__).parents[2] / "docs" / "reference" / "coap.md").read_text()
SOURCES = sorted(Path(coap.__file__).parent.glob("*.py"))
TEXTS = [
    node.value for path in SOURCES for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)
]
MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize("field", fields(CoapSettings), ids=lambda field: field.name)
def test_every_setting_is_documented_with_its_default(field: object) -> None:
    name, default = field.name, field.default  # type: ignore[attr-defined]  # dataclasses.Field is generic
    row = re.search(rf"^\| `{name}` \| (.+?) \|", REFERENCE, re.MULTILINE)
    assert row is not None, f"{name} is missing"
    spelled = {f"`{default}`", str(default).lower(), f"{default:g}" if isinstance(default, float) else ""}
    if type(default) is int:
        spelled |= {f"{default:,}", f"{default // MEBIBYTE} MiB" if default % MEBIBYTE == 0 else ""}
    assert row.group(1) in spelled


@pytest.mark.parametrize("field", fields(CoapStatistics), ids=lambda field: field.name)
def test_every_statistic_is_documented(field: object) -> None:
    assert f"`{field.name}`" in REFERENCE  # type: ignore[attr-defined]  # dataclasses.Field is generic


def test_every_event_is_documented() -> None:
    named = {text for text in TEXTS if isinstance(text, str) and re.fullmatch(r"(ignored|reset)_[a-z_]+[a-z]", text)}
    assert {"ignored_unexpected", "reset_ping"} <= named
    for malformed in Malformed:
        named.add("ignored_" + malformed.value)
        if malformed not in {Malformed.SHORT, Malformed.VERSION}:
            named.add("reset_" + malformed.value)
    named |= {"duplicate", "conflict", "separate", "given_up", "bodies_dropped", "unsent", "unread", "fault"}
    assert named == set(re.findall(r"`([a-z_]+)`", REFERENCE)) & (named | _documented_events())


def _documented_events() -> set[str]:
    table = REFERENCE.partition("| event |")[2].partition("\n\n")[0]
    return set(re.findall(r"`([a-z_]+)`", table))


def test_every_log_line_is_documented() -> None:
    lines = {text for text in TEXTS if isinstance(text, str) and re.fullmatch(r"coap_[a-z_]+", text)}
    assert lines == set(re.findall(r"`(coap_[a-z_]+)`", REFERENCE))


def test_every_answer_is_documented() -> None:
    codes = {text for text in TEXTS if isinstance(text, str) and re.fullmatch(r"[245]\.\d\d", text)}
    codes |= {f"{major}.{minor:02}" for major, minor in (answer.coap for answer in ANSWERS.values())}
    assert codes == set(re.findall(r"^\| ([245]\.\d\d) \|", REFERENCE, re.MULTILINE))


def test_the_numbers_in_the_text_are_the_limits_in_the_code() -> None:
    assert CORE_LINKS.decode() in REFERENCE
    assert f"{wire_limits.PACK_BYTES_MAX // 1024} KiB" in REFERENCE
    assert f"{wire_limits.PACK_RECORDS_MAX:,} records" in REFERENCE
    assert f"{coap_limits.DATAGRAM_BYTES_MAX:,} bytes" in REFERENCE
    assert f"At most {coap_limits.SEPARATE_MAX:,}" in REFERENCE
    assert {f"{coap_limits.EXCHANGE_LIFETIME_S:.0f} s"} == set(re.findall(r"\b2\d\d s\b", REFERENCE))
    in_a_lifetime = CoapSettings().peer_requests_per_s * coap_limits.EXCHANGE_LIFETIME_S
    assert f"{in_a_lifetime + CoapSettings().peer_burst_requests:,.0f} answers" in REFERENCE
