"""What the engineer at the pole may see; the agent gives it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from lichtmast.edge.sampling.measured import Measured
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.twin import Scalar, State


class PoleView(Protocol):
    """The agent, as seen from the pole. All but the self-test answer at once."""

    @property
    def device(self) -> DeviceId:
        """Who this is."""

    def now_s(self) -> float:
        """The monotonic time of `readings`."""

    def state(self) -> State:
        """The same as it reports upstream."""

    def readings(self) -> Sequence[Measured]:
        """The latest of each suffix."""

    def outbox(self) -> Mapping[str, Scalar]:
        """How much waits, since when, and what was dropped."""

    async def selftest(self) -> Mapping[str, str]:
        """Each check by its name: "ok", or what is wrong and what to do."""
