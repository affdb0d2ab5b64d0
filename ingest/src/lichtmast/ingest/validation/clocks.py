"""Clocks: time that runs against the numbers of a device's packs, runs ahead, or is late by the same large amount.

A device numbers its packs as it makes them. So a reading that is older than one that came before it is late if its
number is lower too, and from a clock that was set back if its number is higher than all before it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lichtmast.ingest.validation.lags import Booleans, Indices
from lichtmast.ingest.validation.limits import (
    CLOCK_AHEAD_US,
    CLOCK_APART_US,
    CLOCK_BEHIND_US,
    CLOCK_STEADY_US,
)


@dataclass(slots=True)
class Numbers:
    """By row of the roster: the highest epoch that a device sent in, and the highest number in it. -1: none yet."""

    epoch: Indices
    seq: Indices

    @classmethod
    def empty(cls, size: int) -> "Numbers":
        """Nothing has come yet."""
        return cls(np.full(size, -1, np.int64), np.full(size, -1, np.int64))

    def moved(self, old: dict[str, int], new: dict[str, int]) -> "Numbers":
        """The same for another roster, given the rows of both by device name."""
        source = np.array([old.get(name, -1) for name in new], np.int64)
        target = np.array(list(new.values()), np.int64)
        moved = Numbers.empty(len(new))
        known = source >= 0
        moved.epoch[target[known]] = self.epoch[source[known]]
        moved.seq[target[known]] = self.seq[source[known]]
        return moved


@dataclass(frozen=True, slots=True)
class Packs:
    """Packs in the order of arrival; `of_row` says of which pack a row is."""

    device: Indices
    epoch: Indices
    seq: Indices
    of_row: Indices

    @classmethod
    def of(cls, device: npt.NDArray[np.int32], epoch: Indices, seq: Indices) -> "Packs":
        """From rows in the order of arrival, those of one pack together."""
        new = np.ones(len(device), np.bool_)
        new[1:] = (device[1:] != device[:-1]) | (seq[1:] != seq[:-1]) | (epoch[1:] != epoch[:-1])
        return cls(device[new].astype(np.int64), epoch[new], seq[new], np.cumsum(new) - 1)


def note(packs: Packs, numbers: Numbers) -> None:
    """Remember the numbers of these packs."""
    known = (packs.seq >= 0) & (packs.device >= 0)
    device, epoch, seq = packs.device[known], packs.epoch[known], packs.seq[known]
    latest = numbers.epoch.copy()
    np.maximum.at(latest, device, epoch)
    changed = np.flatnonzero(latest != numbers.epoch)
    numbers.epoch[changed], numbers.seq[changed] = latest[changed], -1
    current = epoch == latest[device]
    np.maximum.at(numbers.seq, device[current], seq[current])


def newest(packs: Packs, numbers: Numbers) -> Booleans:
    """Which packs have a number above all that their device sent before in its epoch, of which it has sent some."""
    found = np.zeros(len(packs.device), np.bool_)
    known = np.flatnonzero((packs.seq >= 0) & (packs.device >= 0))
    if not len(known):
        return found
    device = packs.device[known]
    involved = np.unique(device)
    # What is remembered stands before the packs of this batch, as if it were the first of each device.
    who = np.concatenate((involved, device))
    epoch = np.concatenate((numbers.epoch[involved], packs.epoch[known]))
    seq = np.concatenate((numbers.seq[involved], packs.seq[known]))
    pairs, rank = np.unique(np.stack((epoch, seq)), axis=1, return_inverse=True)
    rank = rank.reshape(-1)
    order = np.argsort(who, kind="stable")
    series = np.cumsum(np.concatenate(([False], who[order][1:] != who[order][:-1]))) * (len(who) + 1)
    highest = np.maximum.accumulate(series + rank[order]) - series
    past = np.concatenate((highest[:1], highest[:-1]))
    is_newest = (rank[order] > past) & (pairs[0, past] == epoch[order])
    of_packs = order >= len(involved)
    found[known[order[of_packs] - len(involved)]] = is_newest[of_packs]
    return found


def ahead(time_us: Indices, received_us: Indices) -> Booleans:
    """Which readings are from a time that has not come yet."""
    return time_us - received_us > CLOCK_AHEAD_US


def keeps_its_delay(
    time_us: Indices, received_us: Indices, time_before_us: Indices, received_before_us: Indices
) -> Booleans:
    """Which readings have the same large delay as the one before, although the two were received apart."""
    delay_us = received_us - time_us
    if delay_us.max() < CLOCK_BEHIND_US:
        return np.zeros(len(time_us), np.bool_)
    before_us = received_before_us - time_before_us
    same = np.abs(delay_us - before_us) <= CLOCK_STEADY_US
    kept: Booleans = (
        same & (np.minimum(delay_us, before_us) >= CLOCK_BEHIND_US) & (time_us - time_before_us >= CLOCK_APART_US)
    )
    return kept
