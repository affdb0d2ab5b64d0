"""What happens to this packet now: sans-IO, seeded, and the same for the router and the relay.

A packet passes, in this order: MTU, blackhole and flapping, loss, corruption, the narrow band, delay, duplication.
Each knob draws its own chance by the packet's number, so that turning one knob does not change what another does.

Will not wait, read a clock or send; time is an argument, and what it returns are moments.
"""

import math
from typing import Final, NamedTuple

from lichtmast.firmware_sim.chance import seed_of, share
from lichtmast.firmware_sim.network import limits
from lichtmast.firmware_sim.network.counts import Counts, NetworkCounts
from lichtmast.firmware_sim.network.impairment import Impairment
from lichtmast.firmware_sim.network.schedule import Direction, Schedule

_KNOBS: Final = ("loss", "burst", "burst_loss", "jitter", "reorder", "duplicate", "corrupt", "corrupt_bits")


class Decision(NamedTuple):
    """When which bytes go on; none where the packet is gone. `too_big_bytes` is the MTU to tell its sender."""

    deliveries: tuple[tuple[float, bytes], ...] = ()
    too_big_bytes: int | None = None


class Decider:
    """Decides for each packet of both directions. `header_bytes` at the start of a packet are never corrupted."""

    def __init__(self, schedule: Schedule, now_s: float, *, header_bytes: int = 0) -> None:
        self.counts = NetworkCounts()
        self._lanes = {one: _Lane(self.counts.toward(one), header_bytes) for one in Direction}
        self._runs = 0
        self.follow(schedule, now_s)

    def follow(self, schedule: Schedule, now_s: float) -> None:
        """Forget the schedule that ran and start this one now; what was counted, and what queues, stays."""
        self._schedule, self._start_s = schedule, now_s
        for direction, lane in self._lanes.items():
            lane.reseed({knob: seed_of(schedule.seed, self._runs, direction, knob) for knob in _KNOBS})
        self._runs += 1

    def decide(self, now_s: float, packet: bytes, direction: Direction) -> Decision:
        """What happens to one packet."""
        elapsed_s = now_s - self._start_s
        step = self._schedule.step_at(elapsed_s)
        return self._lanes[direction].decide(now_s, elapsed_s - step.at_s, packet, step.toward(direction))

    def stream(self, now_s: float, size_bytes: int, direction: Direction) -> float | None:
        """When a piece of a byte stream goes on; None while nothing passes: ask again, and each asking counts.

        A stream knows only delay, rate, blackhole and flapping: what TCP loses it sends again, later.
        """
        elapsed_s = now_s - self._start_s
        step = self._schedule.step_at(elapsed_s)
        return self._lanes[direction].stream(now_s, elapsed_s - step.at_s, size_bytes, step.toward(direction))


class _Lane:
    """One direction."""

    def __init__(self, counts: Counts, header_bytes: int) -> None:
        self._counts = counts
        self._header_bytes = header_bytes
        self._seeds: dict[str, int] = {}
        self._number = 0
        self._in_burst = False
        self._band_free_s = float("-inf")
        self._latest_s = float("-inf")
        self._held_s: list[float] = []

    def reseed(self, seeds: dict[str, int]) -> None:
        self._seeds = seeds
        self._number = 0
        self._in_burst = False

    def decide(self, now_s: float, in_step_s: float, packet: bytes, knobs: Impairment) -> Decision:
        counts, size = self._counts, len(packet)
        counts.packets += 1
        counts.bytes += size
        self._number += 1
        if knobs.mtu_bytes is not None and size > knobs.mtu_bytes:
            if knobs.too_big:
                counts.too_big_told += 1
                return Decision(too_big_bytes=knobs.mtu_bytes)
            counts.too_big_silent += 1
            return Decision()
        if self._is_dark(in_step_s, knobs) or self._is_lost(knobs):
            return Decision()
        if self._happens(knobs.corrupt, "corrupt"):
            packet = self._corrupted(packet, knobs.corrupt_bits)
        ready_s = self._through_band(now_s, size, knobs)
        if ready_s is None:
            counts.overflowed += 1
            return Decision()
        at_s = self._in_order(self._delayed(ready_s, knobs), knobs)
        copies = 1
        if self._happens(knobs.duplicate, "duplicate"):
            counts.duplicated += 1
            copies = 2
        counts.forwarded += copies
        return Decision(((at_s, packet),) * copies)

    def stream(self, now_s: float, in_step_s: float, size_bytes: int, knobs: Impairment) -> float | None:
        if self._is_dark(in_step_s, knobs):
            return None
        self._counts.packets += 1
        self._counts.bytes += size_bytes
        self._counts.forwarded += 1
        self._number += 1
        ready_s = self._through_band(now_s, size_bytes, knobs, is_patient=True)
        return self._delayed(now_s if ready_s is None else ready_s, knobs)

    def _happens(self, chance: float, knob: str) -> bool:
        return chance > 0 and share(self._seeds[knob], self._number) < chance

    def _is_dark(self, in_step_s: float, knobs: Impairment) -> bool:
        if knobs.blackhole:
            self._counts.blackholed += 1
            return True
        flapping = knobs.flapping
        if flapping is not None and in_step_s % (flapping.up_s + flapping.down_s) >= flapping.up_s:
            self._counts.flapped += 1
            return True
        return False

    def _is_lost(self, knobs: Impairment) -> bool:
        if knobs.burst is not None:
            turns = knobs.burst.leave if self._in_burst else knobs.burst.enter
            self._in_burst ^= self._happens(turns, "burst")
            if self._in_burst and self._happens(knobs.burst.loss, "burst_loss"):
                self._counts.burst_lost += 1
                return True
        if self._happens(knobs.loss, "loss"):
            self._counts.lost += 1
            return True
        return False

    def _corrupted(self, packet: bytes, bits: int) -> bytes:
        room_bits = (len(packet) - self._header_bytes) * 8
        if room_bits <= 0:
            return packet
        flips: set[int] = set()
        draw = self._number * limits.CORRUPT_BITS_MAX * 2
        while len(flips) < min(bits, room_bits):
            flips.add(int(share(self._seeds["corrupt_bits"], draw) * room_bits))
            draw += 1
        spoilt = bytearray(packet)
        for flip in flips:
            spoilt[self._header_bytes + flip // 8] ^= 1 << flip % 8
        self._counts.corrupted += 1
        return bytes(spoilt)

    def _through_band(
        self, now_s: float, size_bytes: int, knobs: Impairment, *, is_patient: bool = False
    ) -> float | None:
        """When the packet has passed a token bucket with a queue before it; None where the queue is full."""
        if knobs.rate_bit_s is None:
            return now_s
        byte_s = 8 / knobs.rate_bit_s
        free_s = max(now_s - limits.RATE_BURST_BYTES * byte_s, self._band_free_s) + size_bytes * byte_s
        if not is_patient and free_s - now_s > knobs.queue_bytes * byte_s:
            return None
        self._band_free_s = free_s
        if free_s <= now_s:
            return now_s
        self._counts.shaped += 1
        return free_s

    def _delayed(self, ready_s: float, knobs: Impairment) -> float:
        if not knobs.delay_s:
            return ready_s
        self._counts.delayed += 1
        if not knobs.jitter_s:
            return ready_s + knobs.delay_s
        return ready_s + knobs.delay_s + knobs.jitter_s * (2 * share(self._seeds["jitter"], self._number) - 1)

    def _in_order(self, at_s: float, knobs: Impairment) -> float:
        """The packet's moment: behind all before it, unless it is the one that is held back."""
        if self._happens(knobs.reorder, "reorder"):
            at_s = max(at_s, self._latest_s) + knobs.reorder_s
            self._held_s.append(at_s)
            return at_s
        # Later by the least that a float can say: a heap of moments then keeps the order of packets too.
        at_s = self._latest_s = max(at_s, math.nextafter(self._latest_s, math.inf))
        if self._held_s:
            self._counts.reordered += sum(one > at_s for one in self._held_s)
            self._held_s = []
        return at_s
