"""Pairs of a rule and a subject, with what each stands at: columns, grouped by subject."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from lichtmast.ingest.alerting.layout import places

_SUBJECT_BITS: Final = 32


class State(IntEnum):
    """What a pair stands at; the values are those of the columns."""

    IDLE = 0
    PENDING = 1
    ACTIVE = 2
    CLEARING = 3


class Pairs:
    """`rule` is a row of the plan's rules, `subject` the number of a datastream or device."""

    def __init__(self, chosen: Sequence[tuple[int, npt.NDArray[np.int64]]], rule_ids: npt.NDArray[np.int64]) -> None:
        """Of (rule, its subjects)."""
        counts = [len(subjects) for _, subjects in chosen]
        rule = np.repeat(np.array([row for row, _ in chosen], np.int64), counts)
        subject = np.concatenate([np.zeros(0, np.int64), *(subjects for _, subjects in chosen)])
        order = np.lexsort((rule, subject))
        self.rule, self.subject = rule[order], subject[order]
        self.key = rule_ids[self.rule] << _SUBJECT_BITS | self.subject
        size = len(order)
        self.state = np.zeros(size, np.int8)
        self.since_us = np.zeros(size, np.int64)
        self.last_us = np.zeros(size, np.int64)
        self.value = np.full(size, np.nan)
        highest = int(self.subject.max()) if size else -1
        self._first = np.searchsorted(self.subject, np.arange(highest + 2))

    def __len__(self) -> int:
        return len(self.rule)

    def of_subjects(self, subjects: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Every pair of each subject: the pairs, and for each the place in `subjects`."""
        last = len(self._first) - 2
        known = subjects <= last
        at = np.where(known, subjects, 0) if last >= 0 else np.zeros(len(subjects), np.int64)
        if last < 0:
            none: npt.NDArray[np.intp] = np.zeros(0, np.intp)
            return none, none
        first = self._first[at]
        counts = np.where(known, self._first[at + 1] - first, 0)
        return np.repeat(first, counts) + places(counts), np.repeat(np.arange(len(subjects)), counts)

    def find(self, rule_id: int, subject: int) -> int | None:
        """The pair of a rule and a subject."""
        if not 0 <= subject < len(self._first) - 1:
            return None
        first, end = int(self._first[subject]), int(self._first[subject + 1])
        found = np.flatnonzero(self.key[first:end] == (rule_id << _SUBJECT_BITS | subject))
        return first + int(found[0]) if len(found) else None

    def inherit(self, old: "Pairs") -> npt.NDArray[np.intp]:
        """Take over what the pairs of an older plan stand at; returns those of them that are no more and not idle."""
        busy = np.flatnonzero(old.state)
        place = {key: at for at, key in enumerate(self.key.tolist())} if len(busy) else {}
        at = np.array([place.get(key, -1) for key in old.key[busy].tolist()], np.intp)
        kept, to = busy[at >= 0], at[at >= 0]
        for name in ("state", "since_us", "last_us", "value"):
            getattr(self, name)[to] = getattr(old, name)[kept]
        return busy[at < 0]
