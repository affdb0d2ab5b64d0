"""The refusal table is total, and every answer is one that its transport has."""

import pytest

from lichtmast.wire.refusal import ANSWERS, PackError, Refusal

COAP_CODES = {(4, 0), (4, 1), (4, 3), (4, 4), (4, 5), (4, 8), (4, 9), (4, 13), (4, 15), (4, 29), (5, 0), (5, 3)}
"""RFC 7252 section 12.1.2, RFC 7959 (4.08), RFC 8132 (4.09), RFC 8516 (4.29)."""
MQTT_PUBACK_CODES = {0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99}
"""MQTT 5 section 3.4.2.1, table 3-4."""
MQTT_DISCONNECT_CODES = {0x88, 0x95, 0x96}
"""Of section 3.14.2.1: server unavailable is a CONNACK code too; too large and rate too high end the connection."""


def test_every_refusal_has_an_answer_and_nothing_else_has() -> None:
    assert set(ANSWERS) == set(Refusal)


@pytest.mark.parametrize("refusal", Refusal, ids=lambda refusal: refusal.value)
def test_answer_is_one_that_each_transport_knows(refusal: Refusal) -> None:
    answer = ANSWERS[refusal]
    assert answer.coap in COAP_CODES
    assert answer.mqtt in MQTT_PUBACK_CODES | MQTT_DISCONNECT_CODES
    assert 400 <= answer.http <= 599


@pytest.mark.parametrize("refusal", Refusal, ids=lambda refusal: refusal.value)
def test_only_what_may_pass_later_invites_a_retry(refusal: Refusal) -> None:
    assert ANSWERS[refusal].retry is (refusal in {Refusal.RATE_LIMITED, Refusal.UNAVAILABLE})


@pytest.mark.parametrize("refusal", Refusal, ids=lambda refusal: refusal.value)
def test_coap_and_http_agree_on_whose_fault_it_is(refusal: Refusal) -> None:
    answer = ANSWERS[refusal]
    assert answer.coap[0] == answer.http // 100
    if answer.coap[1] > 5:
        assert answer.http == answer.coap[0] * 100 + answer.coap[1]


def test_values_are_names_that_logs_and_documents_can_use() -> None:
    assert all(refusal.value == refusal.name.lower() for refusal in Refusal)


def test_pack_error_keeps_reason_and_detail_apart_and_says_both() -> None:
    error = PackError(Refusal.BAD_TIME, "record 3 is from 1970")
    assert (error.refusal, error.detail) == (Refusal.BAD_TIME, "record 3 is from 1970")
    assert str(error) == "bad_time: record 3 is from 1970"
    assert isinstance(error, ValueError)
