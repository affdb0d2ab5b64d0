"""What can go wrong with a store, as one tree. A failed write is never half there: after any of these nothing of it is.

StoreError
├── StoreLockedError    another running Lichtmast has the folder open
├── StoreDamagedError   the folder does not hold what its catalogue or journal says; restore the named file
├── OffsetError         a batch does not advance its log's offset: it was stored before, or the log restarted
├── StoreFullError      the disk or the memory limit is exhausted; nothing was written
└── StoreBrokenError    the database gave up; what was committed is on disk, and the store has to be opened anew
"""


class StoreError(Exception):
    """The store cannot do what was asked; the message says what, where and the next step."""


class StoreLockedError(StoreError):
    """Another process (or another store object) has this folder open."""


class StoreDamagedError(StoreError):
    """A file that the catalogue names is missing, shortened, or not written by this version."""


class OffsetError(StoreError):
    """A batch would not move its log forward."""


class StoreFullError(StoreError):
    """No room on disk or within the memory limit; nothing of the write is there."""


class StoreBrokenError(StoreError):
    """The database gave up, as in a checkpoint on a full disk; what was committed is found when it is opened anew."""
