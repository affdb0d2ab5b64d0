"""Every limit of the outbox, named once."""

from typing import Final

PAGE_BYTES: Final = 4096
PAGES_MIN: Final = 24
"""A file smaller than this cannot keep anything beside its own tables."""
ROW_BYTES: Final = 128
"""What a pack takes beside its payload."""
GROWTH_PAGES: Final = 64
"""The file claims disk in pieces of this, so that the file system is asked rarely."""
ROOM_PAGES: Final = 12
"""With fewer free pages than this the file grows after a commit: a usual pack then finds its place on a full disk too,
once the oldest have gone."""
ROOM_FRAMES: Final = 3
"""What growing writes beside the pages themselves: the header, the schema, the list of free pages."""
SPARE_PAGES: Final = 6
"""Kept free for what an insertion touches beside the pack: inner pages, the list of free pages, the declarations."""

DROP_PACKS: Final = 8
"""Packs dropped at once: about what shares a page, and only a whole page can be used again."""

LOG_SHARE: Final = 4
LOG_BYTES_MAX: Final = 1024 * 1024
"""The write-ahead log takes a quarter of the bytes, and no more than this. Half of it fills before a checkpoint; the
other half is room for the commit that went over."""
LOG_FRAMES_MIN: Final = 16
"""Room for a growth by ROOM_PAGES."""

PUT_DRAFTS_MAX: Final = 64
"""Drafts in one transaction; more are put in several."""
SETTLED_MAX: Final = 1_000
"""Settled packs that are remembered; then they are written without waiting for a put. A crash sends them anew."""
WAITING_BATCH: Final = 200
"""Packs stamped in one transaction once the time is trusted."""

DRAFTS_IN_MEMORY_MAX: Final = 256
"""Drafts kept while the disk cannot be written; then the oldest goes, counted."""
RETRY_S: Final = 5.0
RETRY_MAX_S: Final = 300.0
RETRY_LEAST_S: Final = 0.1
"""The first and the longest pause before a broken outbox is opened anew, and the shortest between two questions."""

FLOOR_US: Final = 1_793_491_200 * 1_000_000
"""2026-11-01T00:00:00Z: this software did not exist before, so no reading of it is older."""
STAMP_BYTES: Final = 64
"""Room that an unstamped pack keeps for what its stamp will add, so that stamping needs no disk."""
FLOOR_AFTER_S: Final = 3_600.0
FLOOR_STEP_S: Final = 60.0
"""The time floor follows a clock that has told the same for an hour of this boot, from one put to the next within a
minute."""
