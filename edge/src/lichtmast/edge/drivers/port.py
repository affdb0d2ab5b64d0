"""What a driver is: the port between the agent and whatever measures. docs/reference/edge-drivers.md shows one.

A driver is found by its entry point in the group `lichtmast.edge.drivers`, which names a factory. The factory checks
the options and opens nothing; the first `read` opens. So `lichtmast-edge check` works on a desk, and a sensor that is
plugged in later is found later.

Will not: import any driver, nor ask one to inherit. Whatever has these attributes is a driver.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from lichtmast.edge.drivers import limits
from lichtmast.edge.drivers.errors import DriverError

GROUP: Final = "lichtmast.edge.drivers"
KINDS: Final = ("number", "counter", "boolean", "text", "identifiers")
"""`number` is a gauge; `counter` only grows until it starts again; `identifiers` are addresses that must not leave."""


class Identifiers:
    """Addresses seen since the last read (MAC, plate): for counting at once, and for nothing else.

    It shows how many it holds, never which, and refuses to be pickled; so no log line, error or dump of fields can
    carry one out by accident. Raises DriverError where there are too many or one is too long.
    """

    __slots__ = ("_seen",)

    def __init__(self, seen: Iterable[bytes]) -> None:
        self._seen = tuple(seen)
        if len(self._seen) > limits.IDENTIFIERS_MAX:
            raise DriverError(f"{len(self._seen):,} identifiers in one read; at most {limits.IDENTIFIERS_MAX:,}")
        if not all(isinstance(one, bytes) and len(one) <= limits.IDENTIFIER_BYTES_MAX for one in self._seen):
            raise DriverError(f"an identifier is not bytes, or longer than {limits.IDENTIFIER_BYTES_MAX}")

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._seen)

    def __len__(self) -> int:
        return len(self._seen)

    def __repr__(self) -> str:
        return f"Identifiers({len(self._seen)} not shown)"

    def __reduce__(self) -> str:
        raise TypeError("identifiers do not leave this process")


Value: TypeAlias = float | bool | str | Identifiers


@dataclass(frozen=True, slots=True)
class Channel:
    """One thing that a driver measures or moves; `unit` is a SenML primary unit, or None for what has none."""

    name: str
    kind: str
    unit: str | None = None
    writable: bool = False


@dataclass(frozen=True, slots=True)
class DriverContext:
    """What a driver is told besides its options.

    `wanted` are the channels that the settings use, so that it need not read others; `seed` is for whatever chance it
    needs; `monotonic_s` and `sleep_s` are its clock, which a test may turn by hand.
    """

    name: str
    seed: int
    wanted: frozenset[str]
    monotonic_s: Callable[[], float]
    sleep_s: Callable[[float], None]


class Driver(Protocol):
    """Reads and moves channels. All calls of one driver come from one thread, so any of them may block."""

    @property
    def channels(self) -> Sequence[Channel]:
        """What it can measure and move; known before anything is opened, and the same for as long as it lives."""

    def read(self) -> Mapping[str, Value | DriverError]:
        """The value of each wanted channel in its unit; a DriverError in the place of one that has none now.

        Raises DriverError where nothing could be read. After that the next `read` tries again from the beginning.
        """

    def write(self, channel: str, value: float | bool) -> None:  # noqa: FBT001 - a level or a switch; it is the value
        """Move an actuator. Raises DriverError, also for a channel that is not writable."""

    def close(self) -> None:
        """Let go of files and buses; may be called in any state, and more than once."""


Factory: TypeAlias = Callable[[Mapping[str, object], DriverContext], Driver]
"""Raises SettingsError or DriverError where the options are wrong."""
