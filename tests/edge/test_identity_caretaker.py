"""The caretaker where the machine itself fails it: the agent measures on, whatever becomes of an exchange."""

import asyncio
import sys
from pathlib import Path

import pytest

from lichtmast.edge.identity import IdentityFolder, Moment
from lichtmast.edge.identity.caretaker import Errand, perform_apart
from lichtmast.edge.identity.schedule import Result, Step
from lichtmast.wire import DeviceId
from lichtmast.wire.label import Label


def test_where_no_process_can_be_started_the_exchange_is_tried_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = Label(DeviceId("gm0402", "lamp-0001"), bytes(16), bytes(16))
    errand = Errand(label, "::1", 9, IdentityFolder(tmp_path, tmp_path / "key.pem"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    outcome = asyncio.run(perform_apart(errand, Step.ENROL, Moment(0, is_trusted=False)))
    assert outcome.result is Result.UNREACHABLE
    assert outcome.told == "no process for the exchange can be started: No such file or directory"
