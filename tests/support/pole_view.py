"""An agent as the server at the pole sees it, for tests; as a program it serves itself in a network namespace."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from lichtmast.edge.pole import limits, open_pole
from lichtmast.edge.sampling.measured import Measured
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.twin import Level, Scalar, State

NOISE: Final = "/noise/0/level"


@dataclass
class StandIn:
    """Answers what a test sets."""

    device: DeviceId = DeviceId("gm0402", "lm-0001")  # noqa: RUF009 - a value
    at_s: float = 1_000.0
    measured: list[Measured] = field(default_factory=lambda: [Measured(NOISE, 61.5, "dB", 988.0)])
    reports: dict[str, dict[str, Scalar]] = field(default_factory=dict)
    checks: Mapping[str, str] = field(default_factory=lambda: {"clock": "ok", "outbox": "ok"})
    selftests: int = 0
    may_finish: asyncio.Event = field(default_factory=asyncio.Event)

    def now_s(self) -> float:
        return self.at_s

    def state(self) -> State:
        return State(
            "0.1.0", "b1", 17.0, 3, 60.0, 1_790_000_000.0, {"/lamp/0/command": Level(0.6, "night")}, self.reports
        )

    def readings(self) -> Sequence[Measured]:
        return self.measured

    def outbox(self) -> Mapping[str, Scalar]:
        return {"packs": 3, "oldest_s": 180.5, "healthy": True}

    async def selftest(self) -> Mapping[str, str]:
        self.selftests += 1
        await self.may_finish.wait()
        return self.checks


async def serve(interface: str) -> None:
    """Serve on one interface, and say so when the link-local address and the group are bound as well."""
    limits.RESCAN_S = 0.1  # type: ignore[misc] # a test does not wait ten seconds for a look
    server = open_pole(StandIn(), interfaces=[interface], port=5683)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.run(), name="pole")
        while server.statistics()["addresses"] < 3:
            await asyncio.sleep(0.02)
        print("serving", flush=True)  # noqa: T201 - what the test outside waits for
        while await asyncio.to_thread(sys.stdin.readline):
            print(server.statistics(), flush=True)  # noqa: T201 - what the test outside reads


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
