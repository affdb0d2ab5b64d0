"""What a running Lichtmast does with one device for its own commands: wait until it may speak, order, show."""

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from lichtmast.ingest.errors import LogError
from lichtmast.suite.errors import DeviceOrderError
from lichtmast.suite.limits import WAIT_MAX_S
from lichtmast.wire import DeviceId, IdentityError
from lichtmast.wire.twin import TwinError, decode_command, decode_desired

if TYPE_CHECKING:
    from lichtmast.suite.service import Service


class Document(BaseModel):
    """A document of lichtmast.wire.twin, as text."""

    document: str


class CommandOrder(Document):
    """A command, and how long to wait for its answer."""

    wait_s: float = Field(gt=0, le=WAIT_MAX_S)


def device_routes(service: "Service") -> APIRouter:
    """The routes below /devices."""
    routes = APIRouter(prefix="/devices")

    async def known(tenant: str, name: str) -> DeviceId:
        try:
            device = DeviceId(tenant, name)
        except IdentityError as error:
            raise HTTPException(400, str(error)) from error
        if await run_in_threadpool(service.registry.device, device) is None:
            raise HTTPException(404, f"{device} is not registered; see: lichtmast device add")
        return device

    @routes.get("")
    async def read_registered() -> dict[str, int]:
        """Answered once doors and pipeline know every device that is registered at this call."""
        await service.wait_registered()
        return {"roster_revision": service.pipeline.roster_revision}

    @routes.get("/{tenant}/{name}")
    async def read_device(tenant: str, name: str) -> dict[str, Any]:
        device = await known(tenant, name)
        try:
            return await service.post.show(device)
        except LogError as error:
            raise HTTPException(503, str(error)) from error

    @routes.post("/{tenant}/{name}/configuration")
    async def write_configuration(tenant: str, name: str, order: Document) -> dict[str, int]:
        device = await known(tenant, name)
        try:
            desired = decode_desired(order.document.encode())
            await service.post.configure(device, desired)
        except (TwinError, DeviceOrderError, LogError) as error:
            raise HTTPException(400, str(error)) from error
        return {"version": desired.version}

    @routes.post("/{tenant}/{name}/commands")
    async def write_command(tenant: str, name: str, order: CommandOrder) -> dict[str, Any]:
        device = await known(tenant, name)
        try:
            command = decode_command(order.document.encode())
            answer = await service.post.command(device, command, order.wait_s)
        except (TwinError, DeviceOrderError) as error:
            raise HTTPException(400, str(error)) from error
        if answer is None:
            raise HTTPException(504, f"{device} gave no answer within {order.wait_s:.0f} s; is it connected?")
        return {"id": answer.id, "state": answer.outcome.value, "reason": answer.reason}

    return routes
