"""Counts refusals by reason, and logs them so that a flood of them cannot fill the log.

One line a second for each reason; a line says how many of its kind went unlogged before it.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from starlette.types import Scope

from lichtmast.api.problem import Problem

QUIET_S: Final = 1.0


class RefusalLog:
    """The refusals of one door. `event` is the name of its log lines."""

    def __init__(self, event: str, logger: logging.Logger, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._event = event
        self._logger = logger
        self._clock_s = clock_s
        self._counts: Counter[str] = Counter()
        self._logged_s: dict[str, float] = {}
        self._unlogged: Counter[str] = Counter()

    @property
    def counts(self) -> Mapping[str, int]:
        """How many so far, by reason."""
        return dict(self._counts)

    def note(self, reason: str, **fields: object) -> None:
        """Count one; log it where none of its reason was logged a moment ago. Reasons are ours, never a client's."""
        self._counts[reason] += 1
        now_s = self._clock_s()
        if now_s - self._logged_s.get(reason, -QUIET_S) < QUIET_S:
            self._unlogged[reason] += 1
            return
        self._logged_s[reason] = now_s
        told = "".join(f" {name}={value}" for name, value in fields.items())
        self._logger.warning(
            "%s reason=%s%s unlogged_before=%d", self._event, reason, told, self._unlogged.pop(reason, 0)
        )


def note_attempt(log: RefusalLog, problem: Problem, scope: Scope, login: str = "") -> None:
    """Log a request that no honest client sends; others are refused without a word."""
    if problem.attempt:
        client = scope.get("client")
        log.note(
            problem.attempt,
            method=scope["method"],
            path=ascii(scope["path"][:100]),
            login=login or "-",
            source="unknown" if client is None else client[0],
        )
