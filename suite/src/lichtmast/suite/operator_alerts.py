"""What a running Lichtmast does about alerts for its own commands: try a rule on its store, test a channel.

Everything else about alerts needs the register alone; the commands do that themselves.
"""

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from lichtmast.registry.alerts import AlertRuleError, parse_rule
from lichtmast.registry.notifying import UnknownChannelError
from lichtmast.suite.alert_trial import trial_told
from lichtmast.suite.clock import now_us
from lichtmast.suite.limits import TRIAL_DAYS_MAX

if TYPE_CHECKING:
    from lichtmast.ingest.notifying import Notifier
    from lichtmast.suite.service import Service


class Trial(BaseModel):
    """A rule, and how far back it is tried."""

    document: dict[str, Any]
    days: Annotated[float, Field(gt=0, le=TRIAL_DAYS_MAX)]


def alert_routes(service: "Service", notifier: "Notifier") -> APIRouter:
    """The routes below /alerts."""
    routes = APIRouter(prefix="/alerts")

    @routes.post("/trials")
    async def write_trial(trial: Trial) -> dict[str, Any]:
        try:
            rule = parse_rule(trial.document)
        except AlertRuleError as error:
            raise HTTPException(400, str(error)) from error
        return await run_in_threadpool(trial_told, service.store, service.registry, rule, trial.days, now_us())

    @routes.post("/channels/{channel_id}/tests")
    async def test(channel_id: int) -> dict[str, Any]:
        try:
            said = await notifier.send_test(channel_id)
        except UnknownChannelError as error:
            raise HTTPException(404, str(error)) from error
        return {"accepted": said.accepted, "words": said.words}

    return routes
