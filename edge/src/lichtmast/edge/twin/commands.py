"""Which commands are carried out: each id at most once, none after it expired, none that this device cannot do.

Pure: time comes in, a verdict goes out. An id is remembered until its command has expired; a repeated one is answered
again with what became of the first. A command is only taken with a trusted clock, because whether it expired, and when
a dimming ends, cannot be told without one.

Will not: carry anything out, or write the memory (`executor` does, before it reboots).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

from lichtmast.edge.twin import limits
from lichtmast.wire.twin import Answer, Command, Dim, Identify, Order, Outcome, Reboot

CLOCK_UNTRUSTED = "clock_untrusted"


@dataclass(frozen=True, slots=True)
class Do:
    """Carry this out now, and then call `finished`. A reboot has no target and lasts for nothing."""

    id: str
    order: Order
    target: str
    for_s: float


@dataclass(frozen=True, slots=True)
class Remembered:
    """What became of an id; `outcome` is None while it is being carried out."""

    expires_s: float
    outcome: Outcome | None = None
    reason: str = ""


Verdict: TypeAlias = Do | Answer


class Commands:
    """The commands that one device was given."""

    def __init__(self, actuators: Sequence[str]) -> None:
        self._actuators = tuple(actuators)
        self._remembered: dict[str, Remembered] = {}

    def __len__(self) -> int:
        return len(self._remembered)

    def judge(self, command: Command, wall_s: float | None) -> Verdict | None:
        """What to do: carry it out, answer, or nothing because it is being carried out."""
        known = self._remembered.get(command.id)
        if known is not None:
            return None if known.outcome is None else Answer(command.id, known.outcome, known.reason, wall_s)
        if wall_s is None:
            return Answer(command.id, Outcome.REFUSED, CLOCK_UNTRUSTED)
        self._forget(wall_s)
        verdict = self._judge_new(command, wall_s)
        if isinstance(verdict, Do):
            self._remembered[command.id] = Remembered(command.expires_s)
        return verdict

    def finished(self, command_id: str, reason: str, wall_s: float | None) -> Answer:
        """What was carried out has ended: done, or refused with a reason."""
        outcome = Outcome.REFUSED if reason else Outcome.DONE
        known = self._remembered.get(command_id, Remembered(0.0))
        self._remembered[command_id] = Remembered(known.expires_s, outcome, reason[: limits.REASON_REMEMBERED_MAX])
        return Answer(command_id, outcome, reason, wall_s)

    def dump(self) -> bytes:
        """The memory as JSON, for the file that survives a reboot."""
        told = {
            one: [known.expires_s, known.outcome.value if known.outcome else None, known.reason]
            for one, known in self._remembered.items()
        }
        return json.dumps(told, separators=(",", ":")).encode()

    @classmethod
    def restored(cls, actuators: Sequence[str], raw: bytes) -> tuple[Self, list[str]]:
        """The memory of the run before, and the ids that were being carried out when it ended. Raises ValueError."""
        commands = cls(actuators)
        try:
            told: dict[str, Any] = json.loads(raw)
            for one, (expires_s, outcome, reason) in told.items():
                ending = None if outcome is None else Outcome(outcome)
                commands._remembered[one] = Remembered(float(expires_s), ending, str(reason))
        except (AttributeError, TypeError) as error:
            raise ValueError("not a memory of commands") from error
        return commands, [one for one, known in commands._remembered.items() if known.outcome is None]

    def _judge_new(self, command: Command, wall_s: float) -> Verdict:
        if command.expires_s <= wall_s:
            return Answer(command.id, Outcome.EXPIRED, f"{wall_s - command.expires_s:.0f} s too late", wall_s)
        reason = self._impossible(command, wall_s)
        if reason:
            return Answer(command.id, Outcome.REFUSED, reason, wall_s)
        match command.order:
            case Dim(until_s=until_s, target=target):
                return Do(command.id, command.order, target or self._actuators[0], until_s - wall_s)
            case Identify(seconds=seconds, target=target):
                return Do(command.id, command.order, target or self._actuators[0], seconds)
            case Reboot():
                return Do(command.id, command.order, "", 0.0)

    def _impossible(self, command: Command, wall_s: float) -> str:
        """Why this device will not do it; empty where it will."""
        if command.expires_s - wall_s > limits.EXPIRY_MAX_S:
            return f"expires: more than {limits.EXPIRY_MAX_S} s ahead; a command is for now"
        if len(self._remembered) >= limits.COMMANDS_REMEMBERED_MAX:
            return f"too many commands that have not expired yet, at most {limits.COMMANDS_REMEMBERED_MAX}"
        match command.order:
            case Dim(target=target) | Identify(target=target):
                if not self._actuators:
                    return "this device has no lamp"
                if target is None and len(self._actuators) > 1:
                    return f"target: missing, and this device has {', '.join(self._actuators)}"
                if target is not None and target not in self._actuators:
                    return f"target: {target} is no actuator of this device; it has {', '.join(self._actuators)}"
        if isinstance(command.order, Dim):
            if command.order.until_s <= wall_s:
                return "until: is past"
            if command.order.until_s - wall_s > limits.DIM_MAX_S:
                return f"until: more than {limits.DIM_MAX_S} s ahead; configure a rule instead"
        return ""

    def _forget(self, wall_s: float) -> None:
        """Ids whose command has expired: a late copy is refused for its age."""
        for one in [one for one, known in self._remembered.items() if known.expires_s <= wall_s]:
            del self._remembered[one]
