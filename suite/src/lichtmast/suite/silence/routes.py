"""What a running Lichtmast tells its own command about a quiet device."""

from typing import Any

from fastapi import APIRouter, HTTPException

from lichtmast.suite.silence.desk import SilenceDesk
from lichtmast.wire import DeviceId, IdentityError


def silence_routes(desk: SilenceDesk) -> APIRouter:
    """The route below /silence."""
    routes = APIRouter(prefix="/silence")

    @routes.get("/{tenant}/{name}")
    async def why(tenant: str, name: str) -> dict[str, Any]:
        try:
            device = DeviceId(tenant, name)
        except IdentityError as error:
            raise HTTPException(400, str(error)) from error
        return (await desk.why(device)).with_contact()

    return routes
