"""The loop of one driver: wait for its tick, read, hand the values to the sampler. A shell, one task a driver."""

import asyncio
from collections.abc import Callable
from typing import Never

from lichtmast.edge.drivers.worker import Worker
from lichtmast.edge.sampling.sampler import Sampler
from lichtmast.edge.sampling.schedule import Schedule


async def collect(worker: Worker, sampler: Sampler, schedule: Schedule, monotonic_s: Callable[[], float]) -> Never:
    """Read for ever. A slow driver misses ticks, which its schedule counts; the sampler gets what is clean."""
    while True:
        await asyncio.sleep(max(0.0, schedule.next_s - monotonic_s()))
        if schedule.due(monotonic_s()):
            values = await worker.read()
            sampler.take(worker.name, values, monotonic_s())
