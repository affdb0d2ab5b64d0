"""Places where a test can make a program die, fail or hesitate: a table of names, all of them off.

`faultpoint("ingest.after_commit")` does nothing unless this process was armed. A crash between two particular lines is
then a test that can be run again, not a matter of luck. Arming is for laboratories: the two programs arm themselves in
`__main__` from LICHTMAST_FAULTS, and say so loudly in their log.

Will not: exit or sleep by itself. The wire does no input or output, so the program hands over what does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final, NoReturn

POINTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ingest.before_commit": "packs are judged, the store has nothing of them",
        "ingest.after_commit": "the store has them, its offset too; nobody was told",
        "ingest.before_ack": "acknowledgements are made and not yet sent",
        "ingest.after_ack": "acknowledgements are with the broker",
        "coap.before_log": "a CoAP pack is taken, the log does not have it",
        "coap.after_log": "the log has it, the device has no answer",
        "alerts.before_save": "alerts are found, the register knows nothing of them",
        "alerts.after_save": "the register has the alerts and the position behind them",
        "notifying.before_send": "a message is in the outbox with its id, nobody was told",
        "notifying.answered": "the other side took a message, the register does not know it yet",
        "edge.before_put": "readings are drafted, the outbox does not have them",
        "edge.after_put": "the outbox has the pack on disk, nobody sends it yet",
        "edge.before_send": "a pack was taken to be sent",
        "edge.after_send": "a pack was handed to the transport, no acknowledgement yet",
        "edge.before_settle": "an acknowledgement came, the outbox still keeps the pack",
        "edge.after_settle": "the outbox has forgotten the pack",
        "edge.config_written": "a new configuration is written and synced beside the old one",
        "edge.config_renamed": "the new configuration has the old one's name",
    }
)
"""Every point, and what holds when a program passes it."""

EXIT_CODE: Final = 70
"""What a program that died at a point exits with: nothing else of ours does."""

_SLEEP_MAX_S: Final = 3600


class FaultpointError(ValueError):
    """The text or table that should arm points cannot be understood; the message says which part."""


class FaultInjectedError(RuntimeError):
    """Raised by an armed point; nothing expects it, as nothing expects a real fault."""


@dataclass(slots=True)
class _Armed:
    """What one point does: exit or raise at the pass number `at`, or sleep at each."""

    act: Callable[[], object]
    at: int | None
    passes: int = 0


_armed: dict[str, _Armed] = {}


def faultpoint(name: str) -> None:
    """Pass the point. Nothing happens unless it is armed."""
    if _armed:  # The one thing that a program in service pays.
        _pass(name)


def arm(actions: Mapping[str, str], *, leave: Callable[[int], object], sleep: Callable[[float], object]) -> None:
    """Arm exactly these points of this process: each with `exit@N`, `raise@N` or `sleep=SECONDS`.

    `leave` ends the process at once (`os._exit`) and `sleep` blocks. Raises FaultpointError, and then nothing changes.
    """
    armed = {name: _understood(name, action, leave, sleep) for name, action in actions.items()}
    _armed.clear()
    _armed.update(armed)


def disarm() -> None:
    """Turn every point off again."""
    _armed.clear()


def parse_faults(text: str) -> dict[str, str]:
    """Read `point=action,point=action`, as in LICHTMAST_FAULTS. Raises FaultpointError."""
    actions: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, action = part.partition("=")
        if not equals or name in actions:
            raise FaultpointError(f"{part[:80]!r} is not POINT=ACTION, or its point stands twice")
        actions[name] = action
    return actions


def _pass(name: str) -> None:
    armed = _armed.get(name)
    if armed is None:
        return
    armed.passes += 1
    if armed.at is None or armed.passes == armed.at:
        armed.act()


def _understood(name: str, action: str, leave: Callable[[int], object], sleep: Callable[[float], object]) -> _Armed:
    if name not in POINTS:
        raise FaultpointError(f"no faultpoint {name[:80]!r}; there are {', '.join(POINTS)}")
    kind, at, count = action.partition("@")
    if at and count.isdecimal() and count.isascii() and int(count) >= 1:
        if kind == "exit":
            return _Armed(partial(leave, EXIT_CODE), int(count))
        if kind == "raise":
            return _Armed(partial(_raise, name), int(count))
    kind, equals, seconds = action.partition("=")
    if kind == "sleep" and equals:
        return _Armed(partial(sleep, _seconds(name, seconds)), None)
    raise FaultpointError(f"{name}: {action[:80]!r} is not exit@N, raise@N or sleep=SECONDS, N from 1")


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _SLEEP_MAX_S:
        raise FaultpointError(f"{name}: sleep={text[:80]!r} is not 0 to {_SLEEP_MAX_S} seconds")
    return seconds


def _raise(name: str) -> NoReturn:
    raise FaultInjectedError(f"faultpoint {name} is armed to raise here")
