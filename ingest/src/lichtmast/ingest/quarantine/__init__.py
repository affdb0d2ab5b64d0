"""The quarantine for who looks after it: what lies there, what of it would pass now, replay and discard.

The pipeline stays the only writer: what is ordered here goes into the log, and comes out of it like any pack
(docs/adr/0035). Will not: change an entry, or the bytes of one.
"""

from lichtmast.ingest.quarantine.desk import Desk, Progress
from lichtmast.ingest.quarantine.rehearsal import Prospect, rehearse

__all__ = ["Desk", "Progress", "Prospect", "rehearse"]
