"""Numbers of the checks that no rule sets. docs/reference/quality.md tells what they mean to a reader of flags."""

from typing import Final

from lichtmast.wire.limits import VALIDATION_WINDOW

WINDOW: Final = VALIDATION_WINDOW
"""Readings of a datastream that a check can look back on."""
REMEMBERED: Final = WINDOW + 2
"""Readings that restore the memory of a datastream: the window, and two before it for what compares with the one before
and the pace before that."""
SPIKE_AFTER: Final = 8
"""Readings since the last gap before which nothing is called a spike: the median of fewer says little."""
GAP_INTERVALS: Final = 3
"""A gap is longer than so many intervals: the profile's, or the last one seen where that was longer."""

CLOCK_AHEAD_US: Final = 60_000_000
"""A reading from further ahead than this is doubted. From five minutes on it is TIME_IN_FUTURE as well."""
CLOCK_BEHIND_US: Final = 900_000_000
"""Less delay than this is no sign of a clock: means over five minutes bear the time of their beginning."""
CLOCK_STEADY_US: Final = 5_000_000
"""A delay that changes by less between two readings is the same delay."""
CLOCK_APART_US: Final = 10_000_000
"""Readings that are closer together than this tell nothing about whether a delay changes."""
CLOCK_STEADY_AFTER: Final = 2
"""Delays in a row that were like the one before them, from which on the clock is to blame and not the way."""

CELL_M: Final = 500.0
"""Neighbours are those in the same square of this size."""
NEIGHBOURS_MIN: Final = 5
"""Fresh readings in a cell below which their median says nothing about one of them."""
NEIGHBOURS_MAX: Final = 64
"""Members of a cell whose readings make its median; all members are held against it."""
FRESH_INTERVALS: Final = 3
"""A neighbour's reading counts for so long."""

RESTORE_ROWS: Final = 262_144
"""Readings that are gone through at once when memory is restored."""
SPIKE_ROWS: Final = 32_768
"""Windows that are laid out at once: 8 MiB."""
NEVER: Final = 1e150
"""Stands for a bound that no reading reaches."""
