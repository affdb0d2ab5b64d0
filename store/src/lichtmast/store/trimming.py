"""Trimming: the quarantine keeps the bytes of refused packs for a term, and no more of them than it may.

A device that sends nothing but nonsense must not fill the disk. What goes is whole commits, oldest first; the ledger
keeps its line of each pack, so the books are not touched.
"""

from lichtmast.store.engine import Engine
from lichtmast.store.settings import DAY_US
from lichtmast.store.view import number

TRIM_EVERY_US = 10 * 60 * 1_000_000
"""How often the term is looked at; the bytes are counted with every commit."""


class Quarantine:
    """What the quarantine holds, near enough to know when it is due to be trimmed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._bytes = self._held_bytes()
        self._trimmed_at_us = engine.clock_us()

    def add(self, more_bytes: int) -> None:
        """Count what a commit brought."""
        self._bytes += more_bytes

    def trim_when_due(self, now_us: int) -> int:
        """Let go of what is too old or too much; returns how many packs went. The caller holds the maintenance lock."""
        crowded = self._bytes > self._engine.settings.quarantine_bytes_max
        if not crowded and now_us - self._trimmed_at_us < TRIM_EVERY_US:
            return 0
        self._trimmed_at_us = now_us
        before_us = now_us - int(self._engine.settings.quarantine_days * DAY_US)
        with self._engine.writing() as change:
            gone = number(
                change.connection,
                f"DELETE FROM quarantine WHERE received_at < {before_us} OR commit_no <= ({_SURPLUS_SQL})".format(  # noqa: S608 - numbers of ours
                    most=self._engine.settings.quarantine_bytes_max
                ),
            )
        self._bytes = self._held_bytes()
        return gone

    def _held_bytes(self) -> int:
        with self._engine.view() as view:
            return number(view.connection, "SELECT sum(octet_length(payload)) FROM quarantine")


_SURPLUS_SQL = """
SELECT coalesce(max(commit_no), -1) FROM (
    SELECT commit_no, sum(sum(octet_length(payload))) OVER (ORDER BY commit_no DESC) AS newer
    FROM quarantine GROUP BY commit_no
) WHERE newer > {most}
"""
