"""Devices: how they stand, and what their keepers do to them: suspend, resume, retire, replace, move, revoke."""

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from lichtmast.api.access import Caller, caller_of
from lichtmast.api.problem import Problem, absent
from lichtmast.api.v1.claims import (
    Claims,
    LabelAsked,
    PlaceAsked,
    asset_of,
    label_of,
    position_of,
    refusal_of,
)
from lichtmast.api.v1.ground import Ground
from lichtmast.api.v1.needs import FIELD, GUARDS, READERS, STEWARDS
from lichtmast.api.v1.reading import NOWHERE, Asked, Page, Text, device_in, read_body, read_query
from lichtmast.api.v1.standing import last_reading_us, require_in_tenant
from lichtmast.api.v1.views import View, answer, device_detail, device_view
from lichtmast.registry import ConflictError, DeviceRecord, DeviceStatus, UnknownRecordError
from lichtmast.registry.identity import ClaimRefused, IdentityBook, RevocationReason
from lichtmast.registry.people import Role
from lichtmast.wire.identity import DeviceId

_PAGE: Final = 1_000


class DevicesAsked(Page):
    """A list of devices."""

    tenant: Text
    status: DeviceStatus | None = None


class WhyAsked(Asked):
    """For the log of changes: why."""

    why: Text | None = None


class RetirementAsked(WhyAsked):
    """For the log of changes and the revocation list: why."""

    reason: RevocationReason = RevocationReason.CESSATION_OF_OPERATION


class RevocationAsked(Asked):
    """For the revocation list: why (RFC 5280 section 5.3.1)."""

    reason: RevocationReason


class Devices:
    """One method a route."""

    def __init__(self, ground: Ground, claims: Claims) -> None:
        self._ground = ground
        self._claims = claims

    async def list(self, request: Request) -> Response:
        """GET /v1/devices."""
        caller, asked = await caller_of(request), read_query(request, DevicesAsked)
        return answer(await self._ground.workers.run(self._list_now, caller, asked))

    def _list_now(self, caller: Caller, asked: DevicesAsked) -> View:
        require_in_tenant(caller, READERS, asked.tenant)
        found = list(self._some(asked))
        return {
            "items": [device_view(one) for one in found],
            "nextAfter": found[-1].id if len(found) == asked.limit else None,
        }

    def _some(self, asked: DevicesAsked) -> Iterator[DeviceRecord]:
        after, wanted = asked.after, asked.limit
        while wanted:
            page = self._ground.registry.devices(asked.tenant, after_id=after, limit=_PAGE)
            fitting = [one for one in page if asked.status in {None, one.status}][:wanted]
            yield from fitting
            wanted -= len(fitting)
            if len(page) < _PAGE:
                return
            after = page[-1].id

    async def show(self, request: Request) -> Response:
        """GET /v1/devices/{tenant}/{name}."""
        caller, device = await caller_of(request), device_in(request)
        return answer(await self._ground.workers.run(self._show_now, caller, device))

    def _show_now(self, caller: Caller, device: DeviceId) -> View:
        require_in_tenant(caller, READERS, device.tenant)
        return self._detail(self._found(device))

    async def suspend(self, request: Request) -> Response:
        """POST …/suspension: shut every door to it; live connections end within seconds."""
        asked = await read_body(request, WhyAsked)

        def change(caller: Caller, device: DeviceId, at_us: int) -> None:
            self._identity.suspend(device, by=caller.actor, at_us=at_us, why=asked.why or "")

        return await self._change(request, GUARDS, change)

    async def resume(self, request: Request) -> Response:
        """DELETE …/suspension: let it in again."""

        def change(caller: Caller, device: DeviceId, at_us: int) -> None:
            self._identity.resume(device, by=caller.actor, at_us=at_us)

        return await self._change(request, GUARDS, change)

    async def retire(self, request: Request) -> Response:
        """POST …/retirement: off its lamppost, certificates revoked, for good."""
        asked = await read_body(request, RetirementAsked)

        def change(caller: Caller, device: DeviceId, at_us: int) -> None:
            self._identity.retire(device, by=caller.actor, at_us=at_us, why=asked.why or "", reason=asked.reason)

        return await self._change(request, STEWARDS, change)

    async def revoke(self, request: Request) -> Response:
        """POST …/certificate-revocations: revoke what it has; it can be claimed again."""
        asked = await read_body(request, RevocationAsked)

        def change(caller: Caller, device: DeviceId, at_us: int) -> None:
            self._identity.revoke_certificates(device, asked.reason, by=caller.actor, at_us=at_us)

        return await self._change(request, STEWARDS, change)

    async def move(self, request: Request) -> Response:
        """POST …/move: hang it on another lamppost; it keeps its certificate."""
        asked = await read_body(request, PlaceAsked)

        def change(caller: Caller, device: DeviceId, at_us: int) -> None:
            asset = asset_of(self._ground, asked, device.tenant)
            caller.require(FIELD, device.tenant, asset)
            self._identity.move(device, asset.id, by=caller.actor, at_us=at_us)

        return await self._change(request, FIELD, change)

    async def replace(self, request: Request) -> Response:
        """POST …/replacement: retire it and open the claim of another in its place; answers with that claim."""
        caller, device = await caller_of(request), device_in(request)
        asked = await read_body(request, LabelAsked)
        view = await self._ground.workers.run(self._replace_now, caller, device, asked)
        return answer(view, HTTPStatus.CREATED, Location=f"/v1/claims/{view['id']}")

    def _replace_now(self, caller: Caller, old: DeviceId, asked: LabelAsked) -> View:
        self._require(caller, FIELD, old)
        label = label_of(asked)
        if label.device.tenant != old.tenant:
            raise Problem(HTTPStatus.CONFLICT, "The label is another municipality's.", reason="other_tenant")
        try:
            claim = self._identity.replace(
                old,
                label,
                position=position_of(asked),
                by=caller.actor,
                at_us=self._ground.clock_us(),
                profile=asked.profile,
                authority=self._ground.authority(),
            )
        except (ClaimRefused, ConflictError, UnknownRecordError) as error:
            raise refusal_of(error) from error
        return self._claims.view(claim)

    @property
    def _identity(self) -> IdentityBook:
        return self._ground.registry.identity

    async def _change(
        self, request: Request, roles: tuple[Role, ...], change: Callable[[Caller, DeviceId, int], None]
    ) -> Response:
        """Ask for the object, change it, answer with what it is now."""
        caller, device = await caller_of(request), device_in(request)
        return answer(await self._ground.workers.run(self._change_now, caller, device, roles, change))

    def _change_now(
        self,
        caller: Caller,
        device: DeviceId,
        roles: tuple[Role, ...],
        change: Callable[[Caller, DeviceId, int], None],
    ) -> View:
        self._require(caller, roles, device)
        try:
            change(caller, device, self._ground.clock_us())
        except (ConflictError, UnknownRecordError) as error:
            raise refusal_of(error) from error
        return self._detail(self._found(device))

    def _require(self, caller: Caller, roles: tuple[Role, ...], device: DeviceId) -> None:
        """Where the device hangs, one of the roles counts. One that hangs nowhere is in nobody's area."""
        require_in_tenant(caller, roles, device.tenant)
        asset_id = self._found(device).asset_id
        caller.require(roles, device.tenant, None if asset_id is None else self._ground.registry.thing(asset_id))

    def _found(self, device: DeviceId) -> DeviceRecord:
        record = self._ground.registry.device(device)
        if record is None:
            raise absent(NOWHERE)
        return record

    def _detail(self, record: DeviceRecord) -> View:
        return device_detail(
            record,
            self._identity.certificates(record.device),
            self._ground.refusals.of(record.device),
            last_reading_us(self._ground.registry, self._ground.store, record.device, record.asset_id),
        )
