"""What a running Lichtmast does with rules of validation for its own commands: try them on its store.

Showing and putting need the register alone; the commands do that themselves.
"""

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from lichtmast.ingest.validation.trial import try_rules
from lichtmast.registry.limits import VALIDATION_TRIAL_DAYS_MAX
from lichtmast.suite.clock import now_us
from lichtmast.wire.validation import ValidationRulesError

if TYPE_CHECKING:
    from lichtmast.suite.service import Service


class Trial(BaseModel):
    """A document of rules, and how far back it is tried."""

    document: dict[str, Any]
    days: Annotated[float, Field(gt=0, le=VALIDATION_TRIAL_DAYS_MAX)]


def validation_routes(service: "Service") -> APIRouter:
    """The routes below /validation."""
    routes = APIRouter(prefix="/validation")

    def held_against(trial: Trial) -> dict[str, Any]:
        rules = service.registry.validation.draft(trial.document)
        return try_rules(service.store, service.registry.directory(), rules, trial.days, now_us())

    @routes.post("/trials")
    async def write_trial(trial: Trial) -> dict[str, Any]:
        try:
            return await run_in_threadpool(held_against, trial)
        except ValidationRulesError as error:
            raise HTTPException(400, str(error)) from error

    return routes
