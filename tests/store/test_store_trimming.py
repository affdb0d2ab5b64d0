"""The quarantine is bounded in age and bytes, and the books do not notice."""

from collections.abc import Callable

from lichtmast.store import Batch, DuckStore, Outcome, StoreSettings
from lichtmast.store.trimming import TRIM_EVERY_US

DAY_US = 86_400_000_000
NOON_US = 20_000 * DAY_US + DAY_US // 2
Make = Callable[..., Batch]
Open = Callable[..., DuckStore]


def refuse(store: DuckStore, batches: Make, size: int, received_us: int = NOON_US) -> None:
    """Commit one refused pack of so many bytes."""
    store.commit(
        batches(
            [],
            [("gm0402/a-1", 1, batches.offset + 1, Outcome.QUARANTINED, 0)],  # type: ignore[attr-defined]
            [{"payload": bytes(size), "received_at": received_us}],
        )
    )


def sizes(store: DuckStore) -> list[int]:
    """Bytes of the packs in quarantine, newest first."""
    return [len(one) for one in store.quarantine(100)["payload"].to_pylist()]


def test_the_oldest_bytes_go_when_there_are_too_many(open_store: Open, batches: Make) -> None:
    store = open_store(StoreSettings(quarantine_bytes_max=1_000))
    for size in (100, 400, 300, 300):
        refuse(store, batches, size)
    store.maintain(NOON_US)
    assert sizes(store) == [300, 300, 400]
    refuse(store, batches, 500)
    store.maintain(NOON_US)
    assert sizes(store) == [500, 300]
    refuse(store, batches, 1_001)
    store.maintain(NOON_US)
    assert sizes(store) == []
    counts = store.ledger_counts(0, 2**62)
    assert (counts["packs"].to_pylist(), store.progress()["upto"].to_pylist()) == ([6], [6])


def test_what_is_older_than_its_term_goes(open_store: Open, batches: Make) -> None:
    store = open_store(StoreSettings(quarantine_days=2.0))
    refuse(store, batches, 10, NOON_US - 2 * DAY_US)
    refuse(store, batches, 20, NOON_US - 2 * DAY_US + TRIM_EVERY_US)
    store.maintain(NOON_US + TRIM_EVERY_US - 1)
    assert sizes(store) == [20, 10]
    store.maintain(NOON_US + TRIM_EVERY_US)
    assert sizes(store) == [20]


def test_bytes_of_an_earlier_life_count(open_store: Open, batches: Make) -> None:
    store = open_store(StoreSettings(quarantine_bytes_max=1_000))
    refuse(store, batches, 600)
    store.close()
    store = open_store(StoreSettings(quarantine_bytes_max=1_000))
    refuse(store, batches, 600)
    store.maintain(NOON_US)
    assert sizes(store) == [600]
