"""Wall time: who vouches for it, how far it may be off, and what is believed when the clock jumps.

`Timekeeper` is the rule; `observe_kernel`, `observe_assumed` and `run_sntp` bring it observations.

Will not: set the system's clock.
"""

from lichtmast.edge.timekeeping.kernel import KernelTime, observe_assumed, observe_kernel, read_kernel
from lichtmast.edge.timekeeping.sntp import ask, run_sntp
from lichtmast.edge.timekeeping.timekeeper import Timekeeper, TimeStatistics
from lichtmast.edge.timekeeping.values import Observation, Source, Stamp

__all__ = [
    "KernelTime",
    "Observation",
    "Source",
    "Stamp",
    "TimeStatistics",
    "Timekeeper",
    "ask",
    "observe_assumed",
    "observe_kernel",
    "read_kernel",
    "run_sntp",
]
