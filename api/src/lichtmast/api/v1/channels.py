"""Channels of notifications, and what became of what was sent through them.

Where a webhook leads may be a secret by itself: who does not look after channels sees its host alone. The secret that a
webhook is signed with is told once, to whoever makes the channel.
"""

from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from lichtmast.api import limits
from lichtmast.api.access import Caller, caller_of
from lichtmast.api.access.need import Need, Needs
from lichtmast.api.access.routes import Routes
from lichtmast.api.problem import unsupported
from lichtmast.api.times import iso
from lichtmast.api.v1.alert_views import settled
from lichtmast.api.v1.ground import Ground
from lichtmast.api.v1.needs import ADMINS, KEEPERS, STEWARDS
from lichtmast.api.v1.reading import Asked, RecordId, Text, number_in, read_body, read_query
from lichtmast.api.v1.standing import require_in_tenant
from lichtmast.api.v1.views import View, answer
from lichtmast.registry.notifying import Channel, ChannelKind, DeliveryRecord, DeliveryState, parse_channel, secret_text
from lichtmast.registry.people import Role, Seal

CHANNELS: Final = "/v1/notification-channels"
CHANNEL: Final = f"{CHANNELS}/{{channel_id}}"
DELIVERIES: Final = "/v1/notification-deliveries"
DELIVERY: Final = f"{DELIVERIES}/{{delivery_id}}"
NEEDS: Final[Needs] = {
    ("GET", CHANNELS): Need.of(*KEEPERS),
    ("POST", CHANNELS): Need.of(*ADMINS),
    ("GET", CHANNEL): Need.of(*KEEPERS),
    ("DELETE", CHANNEL): Need.of(*ADMINS),
    ("POST", f"{CHANNEL}/tests"): Need.of(*ADMINS),
    ("GET", DELIVERIES): Need.of(*KEEPERS),
    ("POST", f"{DELIVERY}/attempts"): Need.of(*STEWARDS),
}


class ChannelsAsked(Asked):
    """Channels of a municipality."""

    tenant: Text


class ChannelAsked(Asked):
    """A channel as it should be, by its name: `document` is as in docs/reference/notifications.md."""

    tenant: Text
    document: dict[str, Any]


class DeliveriesAsked(Asked):
    """Deliveries of a municipality, the newest first."""

    tenant: Text
    state: DeliveryState | None = None
    alert: RecordId | None = None
    before: RecordId | None = None
    limit: Annotated[int, Field(ge=1, le=limits.V1_PAGE_MAX)] = limits.V1_PAGE_DEFAULT


class Channels:
    """One method a route."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._book = ground.registry.notifying

    def routes(self) -> Routes:
        """Method, path and endpoint of each route."""
        return [
            ("GET", CHANNELS, self.list),
            ("POST", CHANNELS, self.put),
            ("GET", CHANNEL, self.show),
            ("DELETE", CHANNEL, self.remove),
            ("POST", f"{CHANNEL}/tests", self.test),
            ("GET", DELIVERIES, self.deliveries),
            ("POST", f"{DELIVERY}/attempts", self.retry),
        ]

    async def list(self, request: Request) -> Response:
        """GET /v1/notification-channels."""
        caller, asked = await caller_of(request), read_query(request, ChannelsAsked)
        require_in_tenant(caller, KEEPERS, asked.tenant)
        found = await self._ground.workers.run(self._book.channels, asked.tenant)
        return answer({"items": [_channel_view(caller, one) for one in found]})

    async def put(self, request: Request) -> Response:
        """POST /v1/notification-channels: make one (201, with its secret), or change the one of this name (200)."""
        caller, asked = await caller_of(request), await read_body(request, ChannelAsked)
        require_in_tenant(caller, ADMINS, asked.tenant)
        seal = self._ground.seal
        if seal is None:
            raise unsupported("This server keeps no secrets, so it has no channels.")
        view, is_new = await self._ground.workers.run(self._put_now, caller, asked, seal)
        if not is_new:
            return answer(view)
        return answer(view, HTTPStatus.CREATED, Location=f"{CHANNELS}/{view['id']}")

    def _put_now(self, caller: Caller, asked: ChannelAsked, seal: Seal) -> tuple[View, bool]:
        draft = settled(lambda: parse_channel(asked.tenant, asked.document))
        is_new = all(one.draft.name != draft.name for one in self._book.channels(draft.tenant))
        by, at_us = caller.actor, self._ground.clock_us()
        channel, secret = settled(lambda: self._book.put(draft, seal, by=by, at_us=at_us))
        view = _channel_view(caller, channel)
        if secret is not None:
            view["secret"] = secret_text(secret)
        return view, is_new

    async def show(self, request: Request) -> Response:
        """GET /v1/notification-channels/{channel_id}."""
        caller, channel_id = await caller_of(request), number_in(request, "channel_id")
        channel = await self._ground.workers.run(self._found, caller, KEEPERS, channel_id)
        return answer(_channel_view(caller, channel))

    async def remove(self, request: Request) -> Response:
        """DELETE /v1/notification-channels/{channel_id}: what waits for it is dropped."""
        caller, channel_id = await caller_of(request), number_in(request, "channel_id")
        return answer(await self._ground.workers.run(self._remove_now, caller, channel_id))

    def _remove_now(self, caller: Caller, channel_id: int) -> View:
        channel = self._found(caller, ADMINS, channel_id)
        settled(lambda: self._book.remove(channel_id, by=caller.actor, at_us=self._ground.clock_us()))
        return _channel_view(caller, channel)

    async def test(self, request: Request) -> Response:
        """POST …/tests: send a message now; answers with what the other side said."""
        caller, channel_id = await caller_of(request), number_in(request, "channel_id")
        await self._ground.workers.run(self._found, caller, ADMINS, channel_id)
        if self._ground.test_channel is None:
            raise unsupported("This server sends no notifications.")
        said = await self._ground.test_channel(channel_id)
        return answer({"accepted": said.accepted, "words": said.words})

    async def deliveries(self, request: Request) -> Response:
        """GET /v1/notification-deliveries."""
        caller, asked = await caller_of(request), read_query(request, DeliveriesAsked)
        require_in_tenant(caller, KEEPERS, asked.tenant)
        return answer(await self._ground.workers.run(self._deliveries_now, asked))

    def _deliveries_now(self, asked: DeliveriesAsked) -> View:
        found = self._book.deliveries(
            asked.tenant, state=asked.state, episode_id=asked.alert, before_id=asked.before, limit=asked.limit
        )
        return {
            "items": [_delivery_view(one) for one in found],
            "nextBefore": found[-1].id if len(found) == asked.limit else None,
        }

    async def retry(self, request: Request) -> Response:
        """POST …/attempts: send a failed one again."""
        caller, delivery_id = await caller_of(request), number_in(request, "delivery_id")
        return answer(await self._ground.workers.run(self._retry_now, caller, delivery_id))

    def _retry_now(self, caller: Caller, delivery_id: int) -> View:
        found = settled(lambda: self._book.delivery(delivery_id))
        require_in_tenant(caller, STEWARDS, found.notice.tenant)
        by, at_us = caller.actor, self._ground.clock_us()
        return _delivery_view(settled(lambda: self._book.retry(delivery_id, by=by, at_us=at_us)))

    def _found(self, caller: Caller, roles: tuple[Role, ...], channel_id: int) -> Channel:
        channel = settled(lambda: self._book.channel(channel_id))
        require_in_tenant(caller, roles, channel.draft.tenant)
        return channel


def _channel_view(caller: Caller, channel: Channel) -> View:
    draft = channel.draft
    target = draft.target
    if draft.kind is ChannelKind.WEBHOOK and not caller.may_somewhere(ADMINS, draft.tenant):
        target = urlsplit(target).netloc
    quiet = draft.quiet and {"from": _clock(draft.quiet.from_minute), "until": _clock(draft.quiet.until_minute)}
    return {
        "id": channel.id,
        "tenant": draft.tenant,
        "name": draft.name,
        "kind": draft.kind.value,
        "target": target,
        "language": draft.language,
        "severity": draft.severity,
        "rules": list(draft.rules),
        "quiet": quiet,
        "escalate": draft.escalate_to and {"afterS": draft.escalate_after_s, "to": draft.escalate_to},
        "madeAt": iso(channel.made_at_us),
    }


def _delivery_view(one: DeliveryRecord) -> View:
    return {
        "id": one.id,
        "alertId": one.notice.episode_id,
        "event": one.notice.event,
        "rule": one.notice.rule,
        "severity": one.notice.severity,
        "name": one.notice.name,
        "channelId": one.channel_id,
        "channel": one.channel,
        "state": one.state.value,
        "dueAt": iso(one.due_at_us),
        "attempts": one.attempts,
        "nextTryAt": None if one.next_try_at_us is None else iso(one.next_try_at_us),
        "answer": one.answer,
        "endedAt": None if one.ended_at_us is None else iso(one.ended_at_us),
    }


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
