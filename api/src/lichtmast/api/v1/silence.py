"""Why a device is quiet, for whoever looks after it: one sentence, the next step, and the ladder behind them.

Never says from which address a device speaks: that can tell whose it is.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from lichtmast.api.access import Caller, caller_of
from lichtmast.api.access.need import Need, Needs
from lichtmast.api.problem import absent, unsupported
from lichtmast.api.v1.ground import Ground
from lichtmast.api.v1.needs import DEVICE, GUARDS
from lichtmast.api.v1.reading import NOWHERE, Asked, device_in, read_query
from lichtmast.api.v1.standing import require_in_tenant
from lichtmast.api.v1.views import answer
from lichtmast.wire.identity import DeviceId

SILENCE: Final = f"{DEVICE}/silence"

NEEDS: Final[Needs] = {("GET", SILENCE): Need.of(*GUARDS)}
"""Asking sends packets to the device: not for everybody who may look."""

Why = Callable[[DeviceId], Awaitable[Mapping[str, Any]]]
"""Goes down the ladder; a few seconds."""


class Silence:
    """One method a route. `why` is None where nobody can look for reasons."""

    def __init__(self, ground: Ground, why: Why | None) -> None:
        self._ground = ground
        self._why = why

    async def show(self, request: Request) -> Response:
        """GET /v1/devices/{tenant}/{name}/silence."""
        caller, device = await caller_of(request), device_in(request)
        read_query(request, Asked)
        await self._ground.workers.run(self._require, caller, device)
        if self._why is None:
            raise unsupported("This server runs no doors that could tell why a device is quiet.")
        return answer(dict(await self._why(device)))

    def _require(self, caller: Caller, device: DeviceId) -> None:
        require_in_tenant(caller, GUARDS, device.tenant)
        if self._ground.registry.device(device) is None:
            raise absent(NOWHERE)

    def routes(self) -> list[tuple[str, str, Callable[[Request], Awaitable[Response]]]]:
        """Method, path and endpoint of each route."""
        return [("GET", SILENCE, self.show)]
