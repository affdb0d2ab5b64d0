"""Observations on disk: one commit for observations, pack ledger, quarantine and log offset."""

from lichtmast.store.duck import DuckStore
from lichtmast.store.errors import (
    OffsetError,
    StoreBrokenError,
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreLockedError,
)
from lichtmast.store.port import Batch, ObservationStore, Outcome, PackKey, Transport
from lichtmast.store.settings import StoreSettings

__all__ = [
    "Batch",
    "DuckStore",
    "ObservationStore",
    "OffsetError",
    "Outcome",
    "PackKey",
    "StoreBrokenError",
    "StoreDamagedError",
    "StoreError",
    "StoreFullError",
    "StoreLockedError",
    "StoreSettings",
    "Transport",
]
