"""A reading that validation failed on is stored without flags; it must not make every start after it fail."""

import logging
from typing import Any

import pyarrow as pa
import pytest
from alert_town import entries

from lichtmast.ingest.pipeline.roster import Roster
from lichtmast.ingest.pipeline.run import Pipeline
from lichtmast.ingest.validation import Validator
from lichtmast.registry import Directory
from lichtmast.store import StoreError
from lichtmast.store.memory import MemoryStore
from lichtmast.wire import load_profiles

ROSTER = Roster.build(Directory(1, entries(), ()), load_profiles())


def begin(store: MemoryStore) -> Validator:
    never: Any = None  # a start asks neither for the log nor for the register
    return Pipeline(never, store, never, never)._validator(ROSTER, store.progress())


def test_what_validation_cannot_remember_does_not_stop_the_pipeline(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def restore(self: Validator, recent: pa.Table, progress: pa.Table) -> None:
        del recent, progress
        self._memory.count[:] = 7  # as far as it came
        raise ValueError("a fault of ours")

    monkeypatch.setattr(Validator, "restore", restore)
    with caplog.at_level(logging.ERROR):
        validator = begin(MemoryStore())
    assert not validator._memory.count.any()  # nothing half remembered
    assert "validation_begins_anew" in caplog.text


def test_a_store_that_cannot_be_read_is_no_reason_to_forget(monkeypatch: pytest.MonkeyPatch) -> None:
    def recent(_store: MemoryStore, _window: int, *, without: int) -> pa.Table:
        del without
        raise StoreError("the disk is gone, says the test")

    monkeypatch.setattr(MemoryStore, "recent", recent)
    with pytest.raises(StoreError):
        begin(MemoryStore())
