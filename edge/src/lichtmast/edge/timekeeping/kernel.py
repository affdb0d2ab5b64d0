"""What the kernel says about its own clock: whether a daemon keeps it synchronised, and how far it may be off.

`adjtimex(2)` without modes only reads, and needs no rights. glibc's layout, on 64-bit and 32-bit ARM alike; a library
with another layout is noticed and never taken for synchronised. Will not: set or adjust anything.
"""

import ctypes
import os
from dataclasses import dataclass
from typing import Final

from lichtmast.edge.clock import Clock
from lichtmast.edge.timekeeping.values import Observation, Source

_STA_UNSYNC: Final = 0x0040
_TIME_ERROR: Final = 5
_TICKS_US: Final = range(9_000, 11_001)
"""What `tick` can be (adjtimex(2)); anything else means that the layout is not this one."""


class _Timex(ctypes.Structure):
    """struct timex of linux/timex.h."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time_s", ctypes.c_long),
        ("time_us", ctypes.c_long),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


@dataclass(frozen=True, slots=True)
class KernelTime:
    """`error_s` bounds the error while `synchronised`; `wall_s` is the clock in whole seconds."""

    synchronised: bool
    error_s: float
    wall_s: int


def read_kernel() -> KernelTime:
    """Ask the kernel. Raises OSError where it does not answer (a sandbox that forbids the call)."""
    libc = ctypes.CDLL(None, use_errno=True)
    timex = _Timex()
    state = libc.adjtimex(ctypes.byref(timex))
    if state < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"adjtimex: {os.strerror(number)}; allow the call, or set [clock] source")
    sound = timex.tick in _TICKS_US and not timex.status & _STA_UNSYNC and state != _TIME_ERROR
    return KernelTime(sound, timex.maxerror / 1e6, timex.time_s)


def observe_kernel(clock: Clock) -> Observation | None:
    """The wall clock, if the kernel vouches for it. Raises OSError as read_kernel does."""
    told = read_kernel()
    return Observation(Source.KERNEL, clock.wall_us(), told.error_s) if told.synchronised else None


def observe_assumed(clock: Clock) -> Observation:
    """The wall clock as it is, on the word of whoever wrote the settings."""
    return Observation(Source.ASSUMED, clock.wall_us(), 0.0)
