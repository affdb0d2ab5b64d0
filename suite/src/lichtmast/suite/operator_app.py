"""What a running Lichtmast does for its own commands: whatever needs its store or its doors. Loopback, token, JSON.

The store belongs to one process, so `lichtmast audit` beside a running `lichtmast up` asks that one.
"""

import hmac
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from lichtmast.ingest.errors import LogError
from lichtmast.store import StoreError
from lichtmast.suite.audit import audit
from lichtmast.suite.operator_alerts import alert_routes
from lichtmast.suite.operator_devices import device_routes
from lichtmast.suite.operator_quarantine import quarantine_routes
from lichtmast.suite.operator_validation import validation_routes
from lichtmast.suite.silence import silence_routes

if TYPE_CHECKING:
    from lichtmast.suite.service import Service

CATCH_UP_TIMEOUT_S: Final = 30.0


class ExportOrder(BaseModel):
    """Which observations to write where; see ObservationStore.export."""

    path: Path
    form: str
    start_us: int
    end_us: int
    datastream_ids: list[int] | None = None


def operator_app(service: "Service", token: str) -> FastAPI:
    """The application; each request needs `Authorization: Bearer TOKEN`."""

    def check(authorization: Annotated[str, Header()] = "") -> None:
        if not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
            raise HTTPException(401, "this endpoint is for the commands of the same user")

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, dependencies=[Depends(check)])

    @app.get("/audit")
    async def read_audit() -> dict[str, Any]:
        await service.wait_caught_up(CATCH_UP_TIMEOUT_S)
        try:
            waiting: int | None = await service.waiting()
        except LogError:
            waiting = None
        return (await run_in_threadpool(audit, service.store, waiting)).as_json()

    @app.post("/export")
    async def write_export(order: ExportOrder) -> dict[str, int]:
        try:
            rows = await run_in_threadpool(
                service.store.export,
                order.path,
                form=order.form,
                start_us=order.start_us,
                end_us=order.end_us,
                datastream_ids=order.datastream_ids,
            )
        except StoreError as error:
            raise HTTPException(400, str(error)) from error
        return {"rows": rows}

    @app.get("/status")
    async def read_status() -> dict[str, Any]:
        return service.health()

    app.include_router(device_routes(service))
    app.include_router(quarantine_routes(service))
    app.include_router(validation_routes(service))
    app.include_router(alert_routes(service, service.alarms.notifier))
    if service.quiet is not None:
        app.include_router(silence_routes(service.quiet.desk))
    return app
