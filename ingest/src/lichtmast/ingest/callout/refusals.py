"""What was refused: counted by reason, and said in the log without letting a flood fill it. Sans-IO."""

from collections import Counter
from dataclasses import dataclass, field

from lichtmast.ingest.callout import limits
from lichtmast.ingest.callout.rules import RefusedConnection


@dataclass(slots=True)
class Refusals:
    """The counters, and when each reason was last a line in the log."""

    by_reason: Counter[str] = field(default_factory=Counter)
    _said_at_s: dict[str, float] = field(default_factory=dict)
    _unsaid: Counter[str] = field(default_factory=Counter)

    def count(self, refused: RefusedConnection, now_s: float) -> str | None:
        """Count a refusal; the line to log, or None where its reason was said a moment ago."""
        reason = refused.reason
        self.by_reason[reason] += 1
        if now_s - self._said_at_s.get(reason, -limits.SAID_EACH_S) < limits.SAID_EACH_S:
            self._unsaid[reason] += 1
            return None
        self._said_at_s[reason] = now_s
        return (
            f"connection_refused reason={reason} device={refused.device or '-'} source=[{refused.source}] "
            f"client_id={refused.client_id!r} also={self._unsaid.pop(reason, 0)}"
        )
