"""Claims: an engineer in front of a lamppost scans a label, and sees whether the device comes to life."""

import asyncio
from http import HTTPStatus
from typing import Annotated

from pydantic import Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from lichtmast.api import limits
from lichtmast.api.access import Caller, caller_of
from lichtmast.api.problem import Problem, absent, malformed
from lichtmast.api.v1.ground import Ground
from lichtmast.api.v1.needs import CLAIM_READERS, FIELD
from lichtmast.api.v1.reading import NOWHERE, Asked, Page, RecordId, Text, number_in, read_body, read_query
from lichtmast.api.v1.standing import first_reading_us, require_in_tenant
from lichtmast.api.v1.views import View, answer, claim_view, etag_of
from lichtmast.registry import AssetRecord, ConflictError, UnknownRecordError
from lichtmast.registry.identity import CLAIM_SENTENCES, Claim, ClaimReason, ClaimRefused, ClaimState, Position
from lichtmast.registry.people import Role
from lichtmast.wire.identity import DeviceId, IdentityError
from lichtmast.wire.label import Label, LabelError, parse_label


class PositionAsked(Asked):
    """Where the phone says that it is."""

    longitude: float
    latitude: float
    accuracy_m: float | None = None


class PlaceAsked(Asked):
    """A lamppost, by our id or by its source's."""

    asset_id: RecordId | None = None
    asset_source_id: Text | None = None

    @model_validator(mode="after")
    def _one_asset(self) -> "PlaceAsked":
        if (self.asset_id is None) == (self.asset_source_id is None):
            raise ValueError("give assetId or assetSourceId, one of them")
        return self


class LabelAsked(Asked):
    """What was scanned, and where from."""

    label: Annotated[str, Field(max_length=limits.V1_LABEL_CHARACTERS_MAX)]
    position: PositionAsked | None = None
    profile: Text | None = None
    """Stages a device that the workshop has not."""


class ClaimAsked(LabelAsked, PlaceAsked):
    """A whole claim."""


class ClaimsAsked(Page):
    """A list of claims."""

    tenant: Text
    device: Text | None = None
    open: bool = False


class WaitAsked(Asked):
    """How long to wait for something to happen."""

    wait: Annotated[int, Field(ge=0, le=limits.CLAIM_WAIT_MAX_S)] = 0


class Claims:
    """One method a route."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._waiting = 0

    async def open(self, request: Request) -> Response:
        """POST /v1/claims. The same claim once more is the one that is there."""
        caller, asked = await caller_of(request), await read_body(request, ClaimAsked)
        at_us = self._ground.clock_us()
        view, is_new = await self._ground.workers.run(self._open_now, caller, asked, at_us)
        status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
        return answer(view, status, Location=f"/v1/claims/{view['id']}")

    def _open_now(self, caller: Caller, asked: ClaimAsked, at_us: int) -> tuple[View, bool]:
        label = label_of(asked)
        require_in_tenant(caller, FIELD, label.device.tenant)
        asset = asset_of(self._ground, asked, label.device.tenant)
        caller.require(FIELD, label.device.tenant, asset)
        try:
            claim = self._ground.registry.identity.open_claim(
                label,
                asset_id=asset.id,
                position=position_of(asked),
                by=caller.actor,
                at_us=at_us,
                profile=asked.profile,
                authority=self._ground.authority(),
            )
        except (ClaimRefused, ConflictError, UnknownRecordError) as error:
            raise refusal_of(error) from error
        return self.view(claim), claim.opened_at_us == at_us

    async def list(self, request: Request) -> Response:
        """GET /v1/claims."""
        caller, asked = await caller_of(request), read_query(request, ClaimsAsked)
        return answer(await self._ground.workers.run(self._list_now, caller, asked))

    def _list_now(self, caller: Caller, asked: ClaimsAsked) -> View:
        require_in_tenant(caller, CLAIM_READERS, asked.tenant)
        try:
            device = None if asked.device is None else DeviceId(asked.tenant, asked.device)
        except IdentityError as error:
            raise malformed("device is the name of a device, such as lamp-0001.") from error
        found = self._ground.registry.identity.claims(
            asked.tenant,
            device=device,
            open_at_us=self._ground.clock_us() if asked.open else None,
            after_id=asked.after,
            limit=asked.limit,
        )
        items = [self.view(one) for one in found]
        return {"items": items, "nextAfter": found[-1].id if len(found) == asked.limit else None}

    async def show(self, request: Request) -> Response:
        """GET /v1/claims/{claim_id}, at once or, with `wait`, when there is news.

        News is another ETag than the one in If-None-Match, or, without that, the end of the claim: a first reading, or
        a window that nobody used. Too many who wait, and the next is answered at once.
        """
        caller, claim_id = await caller_of(request), number_in(request, "claim_id")
        asked, seen = read_query(request, WaitAsked), request.headers.get("if-none-match")
        view = await self._ground.workers.run(self._show_now, caller, claim_id)
        if asked.wait and self._waiting < limits.CLAIM_WAITERS_MAX:
            self._waiting += 1
            try:
                until_s = asyncio.get_running_loop().time() + asked.wait
                while not _is_news(view, seen) and asyncio.get_running_loop().time() < until_s:
                    await asyncio.sleep(limits.CLAIM_POLL_S)
                    if await request.is_disconnected():
                        break
                    view = await self._ground.workers.run(self._show_now, caller, claim_id)
            finally:
                self._waiting -= 1
        etag = etag_of(view)
        if seen == etag:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": etag})
        return answer(view, ETag=etag)

    def _show_now(self, caller: Caller, claim_id: int) -> View:
        while True:  # what a view says of claim and device is of one moment: else a change would be news twice
            claim = self._found(caller, CLAIM_READERS, claim_id)
            view = self.view(claim)
            if self._found(caller, CLAIM_READERS, claim_id) == claim:
                return view

    async def cancel(self, request: Request) -> Response:
        """DELETE /v1/claims/{claim_id}: close a window that nobody used."""
        caller, claim_id = await caller_of(request), number_in(request, "claim_id")
        return answer(await self._ground.workers.run(self._cancel_now, caller, claim_id))

    def _cancel_now(self, caller: Caller, claim_id: int) -> View:
        claim = self._found(caller, FIELD, claim_id)
        caller.require(FIELD, claim.device.tenant, self._ground.registry.thing(claim.asset_id))
        try:
            closed = self._ground.registry.identity.cancel_claim(
                claim_id, by=caller.actor, at_us=self._ground.clock_us()
            )
        except (ClaimRefused, ConflictError) as error:
            raise refusal_of(error) from error
        return self.view(closed)

    def view(self, claim: Claim) -> View:
        """A claim with what became of it. Blocks."""
        registry = self._ground.registry
        return claim_view(
            claim,
            registry.thing(claim.asset_id),
            registry.device(claim.device),
            first_reading_us(registry, self._ground.store, claim),
            self._ground.clock_us(),
        )

    def _found(self, caller: Caller, roles: tuple[Role, ...], claim_id: int) -> Claim:
        claim = self._ground.registry.identity.claim(claim_id)
        if claim is None:
            raise absent(NOWHERE)
        require_in_tenant(caller, roles, claim.device.tenant)
        return claim


def label_of(asked: LabelAsked) -> Label:
    """What was scanned. Raises a 400 Problem with the sentence for whoever holds the phone."""
    try:
        return parse_label(asked.label)
    except LabelError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"{str(error)[:1].upper()}{str(error)[1:]}.", reason="label") from error


def position_of(asked: LabelAsked) -> Position | None:
    """Where the engineer stands. Raises a 400 Problem."""
    at = asked.position
    try:
        return None if at is None else Position(at.longitude, at.latitude, at.accuracy_m)
    except ValueError as error:
        raise malformed(
            "position is a longitude and a latitude in degrees, and accuracyM in metres, as the phone gives them."
        ) from error


def asset_of(ground: Ground, asked: PlaceAsked, tenant: str) -> AssetRecord:
    """The lamppost that is meant, of this tenant. Raises a 404 Problem."""
    asset = (
        ground.registry.thing(asked.asset_id)
        if asked.asset_id is not None
        else ground.registry.thing_by_source_id(tenant, asked.asset_source_id or "")
    )
    if asset is None or asset.tenant != tenant:
        raise Problem(
            HTTPStatus.NOT_FOUND,
            _sentence(CLAIM_SENTENCES[ClaimReason.UNKNOWN_ASSET]),
            reason=ClaimReason.UNKNOWN_ASSET.value,
        )
    return asset


def refusal_of(error: ClaimRefused | ConflictError | UnknownRecordError) -> Problem:
    """What the register refused, as 409 with its reason; what it does not know, as 400."""
    if isinstance(error, ClaimRefused):
        return Problem(HTTPStatus.CONFLICT, _sentence(CLAIM_SENTENCES[error.reason]), reason=error.reason.value)
    if isinstance(error, ConflictError):
        return Problem(HTTPStatus.CONFLICT, _sentence(str(error)), reason="conflict")
    return malformed(_sentence(str(error)))


def _is_news(view: View, seen: str | None) -> bool:
    if seen is not None:
        return etag_of(view) != seen
    return view["firstReadingAt"] is not None or view["state"] not in {ClaimState.OPEN, ClaimState.USED}


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
