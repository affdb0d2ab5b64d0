"""Whose a pack is: its own word where nobody is authenticated, the certificate's where somebody is."""

import pytest
from ingest_town import NOW_US, make_roster, pack

from lichtmast.ingest.coap.inspection import Inspection
from lichtmast.ingest.inspector import Inspector
from lichtmast.wire.envelope import SENML_CBOR, SENML_JSON
from lichtmast.wire.refusal import Refusal

INSPECTOR = Inspector(make_roster(), clock_us=lambda: NOW_US)
LM_0, LM_1, ASLEEP, STRANGER = "gm0402/lm-0", "gm0402/lm-1", "gm0402/asleep-1", "gm0402/lm-9999"


@pytest.mark.parametrize("sender", ["", LM_0])
@pytest.mark.parametrize("raw", [pack(), b" " + pack()], ids=["certain", "strict"])
def test_a_pack_of_its_sender_is_sound(sender: str, raw: bytes) -> None:
    assert Inspection(LM_0, None, "") == INSPECTOR.inspect(raw, SENML_JSON, sender)


@pytest.mark.parametrize("raw", [pack(), b" " + pack()], ids=["certain", "strict"])
def test_a_pack_that_names_another_is_refused_and_kept_under_the_authenticated_name(raw: bytes) -> None:
    found = INSPECTOR.inspect(raw, SENML_JSON, LM_1)
    assert (found.sender, found.refusal) == (LM_1, Refusal.IDENTITY_MISMATCH)
    assert found.detail == "gm0402/lm-1 sent a pack that names gm0402/lm-0"


@pytest.mark.parametrize("sender", [ASLEEP, STRANGER])
def test_a_sender_that_may_not_speak_cannot_borrow_a_name_that_may(sender: str) -> None:
    found = INSPECTOR.inspect(pack(), SENML_JSON, sender)
    assert (sender, Refusal.IDENTITY_MISMATCH) == (found.sender, found.refusal)


@pytest.mark.parametrize(
    ("raw", "content_format", "refusal"),
    [
        (b"", SENML_JSON, Refusal.EMPTY),
        (b"\xff\x00", SENML_CBOR, Refusal.NOT_A_PACK),
        (b"[" * 300, SENML_JSON, Refusal.TOO_DEEP),
    ],
)
def test_what_names_nobody_is_kept_under_the_authenticated_name(
    raw: bytes, content_format: int, refusal: Refusal
) -> None:
    found = INSPECTOR.inspect(raw, content_format, LM_0)
    assert (LM_0, refusal) == (found.sender, found.refusal)
    assert INSPECTOR.inspect(raw, content_format).sender == ""
