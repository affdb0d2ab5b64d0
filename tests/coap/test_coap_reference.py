"""docs/reference/coap.md says what the code does: settings with their defaults, counters, limits, links."""

import ast
import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from lichtmast.ingest import coap
from lichtmast.ingest.coap import CoapSettings, CoapStatistics, Dtls, DtlsStatistics
from lichtmast.ingest.coap import limits as coap_limits
from lichtmast.ingest.coap.discovery import CORE_LINKS
from lichtmast.ingest.coap.dtls import limits as dtls_limits
from lichtmast.ingest.coap.dtls.handshake import REASON_OF_ERROR, REASON_OF_TEXT
from lichtmast.ingest.coap.dtls.hello import HelloRefused
from lichtmast.ingest.coap.message import Malformed
from lichtmast.registry.identity import AdmissionReason
from lichtmast.wire import limits as wire_limits
from lichtmast.wire.refusal import ANSWERS, Refusal

REFERENCE = (Path(__file__).parents[2] / "docs" / "reference" / "coap.md").read_text()
SOURCES = sorted(Path(coap.__file__).parent.rglob("*.py"))
TEXTS = [
    node.value for path in SOURCES for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)
]
MEBIBYTE = 1024 * 1024
DEFAULTED = [*fields(CoapSettings), *(field for field in fields(Dtls) if field.default is not MISSING)]


@pytest.mark.parametrize("field", DEFAULTED, ids=lambda field: field.name)
def test_every_setting_is_documented_with_its_default(field: object) -> None:
    name, default = field.name, field.default  # type: ignore[attr-defined]  # dataclasses.Field is generic
    row = re.search(rf"^\| `{name}` \| (.+?) \|", REFERENCE, re.MULTILINE)
    assert row is not None, f"{name} is missing"
    spelled = {f"`{default}`", str(default).lower(), f"{default:g}" if isinstance(default, float) else ""}
    if type(default) is int:
        spelled |= {f"{default:,}", f"{default // MEBIBYTE} MiB" if default % MEBIBYTE == 0 else ""}
    assert row.group(1) in spelled


@pytest.mark.parametrize("field", [*fields(CoapStatistics), *fields(DtlsStatistics)], ids=lambda field: field.name)
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
    named.add(Refusal.IDENTITY_MISMATCH.value)
    assert named == set(re.findall(r"`([a-z_]+)`", REFERENCE)) & (named | _documented_events())


def test_every_file_that_dtls_needs_and_every_reason_for_refusing_is_documented() -> None:
    for field in fields(Dtls):
        assert f"`{field.name}`" in REFERENCE, field.name
    source = "".join(path.read_text() for path in SOURCES if path.parent.name == "dtls")
    reasons = set(re.findall(r'_(?:fail|end)\(.*"([a-z_]+)"', source))
    reasons |= set(re.findall(r'_discarded\["([a-z_]+)"\]', source)) | {one.value for one in HelloRefused}
    reasons |= {*REASON_OF_ERROR.values(), *REASON_OF_TEXT.values(), "untrusted", "protocol", "by_device", "fault"}
    reasons |= {one.value for one in AdmissionReason}
    assert len(reasons) >= 30
    assert [one for one in sorted(reasons) if f"`{one}`" not in REFERENCE] == []


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
    assert f"at most {dtls_limits.FLIGHT_BYTES_MAX:,} bytes" in REFERENCE
    turn_s, deadline_s = dtls_limits.COOKIE_TURN_S, dtls_limits.HANDSHAKE_DEADLINE_S
    assert f"good for {turn_s} to {2 * turn_s} s" in REFERENCE
    assert f"may take {deadline_s:.0f} s and {dtls_limits.HANDSHAKE_BYTES_MAX // 1024} KiB" in REFERENCE
    in_a_lifetime = CoapSettings().peer_requests_per_s * coap_limits.EXCHANGE_LIFETIME_S
    assert f"{in_a_lifetime + CoapSettings().peer_burst_requests:,.0f} answers" in REFERENCE
