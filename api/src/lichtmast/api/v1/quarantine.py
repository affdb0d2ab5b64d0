"""The quarantine of a municipality: what was refused and why, and by its managers: replay after mending, discard.

Packs of which nobody knows the sender are no municipality's; they are told by `lichtmast quarantine` alone.
"""

import base64
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from lichtmast.api.access import caller_of
from lichtmast.api.access.need import Need, Needs
from lichtmast.api.problem import Problem, absent, malformed
from lichtmast.api.times import instant_us, iso
from lichtmast.api.v1.ground import Ground
from lichtmast.api.v1.needs import READERS, STEWARDS
from lichtmast.api.v1.quarantine_desk import Cursor, QuarantineDesk
from lichtmast.api.v1.reading import NOWHERE, Asked, Text, number_in, read_body, read_query
from lichtmast.api.v1.standing import require_in_tenant
from lichtmast.api.v1.views import View, answer
from lichtmast.registry.people import Role
from lichtmast.store.port import Selection, Transport

QUARANTINE: Final = "/v1/quarantine"
ENTRY: Final = f"{QUARANTINE}/entries/{{log_seq}}/{{part}}"
LOOKERS: Final = (Role.ENGINEER, Role.MANAGER, Role.AUDITOR, Role.ADMIN)
"""Who may see the bytes that a device sent, too."""
GROUPS_MAX: Final = 1_000
PAGE_MAX: Final = 200
ENTRIES_ASKED_MAX: Final = 500
WHY_CHARACTERS_MAX: Final = 500
_NUMBER_END: Final = 2**62

NEEDS: Final[Needs] = {
    ("GET", QUARANTINE): Need.of(*READERS),
    ("GET", f"{QUARANTINE}/entries"): Need.of(*LOOKERS),
    ("GET", ENTRY): Need.of(*LOOKERS),
    ("POST", f"{QUARANTINE}/replays"): Need.of(*STEWARDS),
    ("POST", f"{QUARANTINE}/discards"): Need.of(*STEWARDS),
}


class Narrowed(Asked):
    """Which packs of a municipality; `device` is its name there."""

    tenant: Text
    reason: Text | None = None
    device: Text | None = None
    since: Text | None = None


class PageAsked(Narrowed):
    """The same, page by page."""

    after: Text | None = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = PAGE_MAX


class RoundAsked(Narrowed):
    """What to do with the next of them; `entries` names some."""

    entries: Annotated[tuple[Text, ...], Field(min_length=1, max_length=ENTRIES_ASKED_MAX)] | None = None
    after: Text | None = None
    dry_run: bool = False


class DiscardAsked(RoundAsked):
    """The same, for good, and why: for the log of changes."""

    because: Annotated[str, Field(min_length=1, max_length=WHY_CHARACTERS_MAX, pattern=r"\S")]


class Quarantine:
    """One method a route."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    async def groups(self, request: Request) -> Response:
        """GET /v1/quarantine: how many packs, by reason and device, the largest groups first."""
        caller, asked = await caller_of(request), read_query(request, Narrowed)
        require_in_tenant(caller, READERS, asked.tenant)
        return answer(await self._ground.workers.run(self._groups_now, _selection(asked)))

    def _groups_now(self, selection: Selection) -> View:
        found = self._ground.store.quarantine_groups(selection, GROUPS_MAX).to_pylist()
        return {
            "packs": sum(one["packs"] for one in found),
            "groups": [
                {
                    "reason": one["reason"],
                    "device": one["device"],
                    "packs": one["packs"],
                    "first": iso(one["first_at"]),
                    "last": iso(one["last_at"]),
                    "detail": one["detail"],
                }
                for one in found
            ],
        }

    async def entries(self, request: Request) -> Response:
        """GET /v1/quarantine/entries: the packs, oldest first, without their bytes."""
        caller, asked = await caller_of(request), read_query(request, PageAsked)
        require_in_tenant(caller, LOOKERS, asked.tenant)
        return answer(await self._ground.workers.run(self._entries_now, asked))

    def _entries_now(self, asked: PageAsked) -> View:
        found = self._ground.store.quarantine_page(_selection(asked), _cursor(asked.after), asked.limit).to_pylist()
        last = found[-1] if len(found) == asked.limit else None
        return {
            "items": [_entry_view(one) for one in found],
            "nextAfter": None if last is None else f"{last['received_at']}/{last['log_seq']}/{last['part']}",
        }

    async def entry(self, request: Request) -> Response:
        """GET /v1/quarantine/entries/{log_seq}/{part}: one, with its bytes in base64."""
        caller = await caller_of(request)
        key = number_in(request, "log_seq"), number_in(request, "part")
        found = await self._ground.workers.run(self._entry_now, key)
        require_in_tenant(caller, LOOKERS, found["device"].partition("/")[0])
        return answer(_entry_view(found) | {"payload": base64.b64encode(found["payload"]).decode()})

    def _entry_now(self, key: tuple[int, int]) -> View:
        found = self._ground.store.quarantine_page(Selection(entries=(key,)), None, 2).to_pylist()
        if not found:
            raise absent(NOWHERE)
        entry: View = found[-1]
        return entry

    async def replay(self, request: Request) -> Response:
        """POST /v1/quarantine/replays: judge the next packs anew, store what passes; `dryRun`: only say it."""
        caller, asked = await caller_of(request), await read_body(request, RoundAsked)
        require_in_tenant(caller, STEWARDS, asked.tenant)
        selection, after = _selection(asked), _cursor(asked.after)
        told = await _in_time(
            self._desk().replay(selection, after, by=caller.actor, at_us=self._ground.clock_us(), dry_run=asked.dry_run)
        )
        return answer(
            {
                "examined": told["examined"],
                "replayed": told["replayed"],
                "duplicates": told["duplicates"],
                "kept": told["kept"],
                "stillRefused": told["still_refused"],
                "nextAfter": _told_cursor(told["next"]),
            }
        )

    async def discard(self, request: Request) -> Response:
        """POST /v1/quarantine/discards: erase the bytes of the next packs for good."""
        caller, asked = await caller_of(request), await read_body(request, DiscardAsked)
        require_in_tenant(caller, STEWARDS, asked.tenant)
        selection, after = _selection(asked), _cursor(asked.after)
        told = await _in_time(
            self._desk().discard(
                selection,
                after,
                because=asked.because,
                by=caller.actor,
                at_us=self._ground.clock_us(),
                dry_run=asked.dry_run,
            )
        )
        return answer(
            {"examined": told["examined"], "discarded": told["discarded"], "nextAfter": _told_cursor(told["next"])}
        )

    def _desk(self) -> QuarantineDesk:
        if self._ground.quarantine is None:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "No pipeline runs here that could judge packs anew.")
        return self._ground.quarantine

    def routes(self) -> list[tuple[str, str, Callable[[Request], Awaitable[Response]]]]:
        """Method, path and endpoint of each route."""
        return [
            ("GET", QUARANTINE, self.groups),
            ("GET", f"{QUARANTINE}/entries", self.entries),
            ("GET", ENTRY, self.entry),
            ("POST", f"{QUARANTINE}/replays", self.replay),
            ("POST", f"{QUARANTINE}/discards", self.discard),
        ]


async def _in_time(order: Awaitable[Mapping[str, Any]]) -> Mapping[str, Any]:
    try:
        return await order
    except TimeoutError as error:
        detail = "It is not stored yet. What was ordered will be, as far as the log has it; ask again."
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "30"}) from error


def _entry_view(one: Mapping[str, Any]) -> View:
    return {
        "entry": f"{one['log_seq']}/{one['part']}",
        "device": one["device"],
        "received": iso(one["received_at"]),
        "transport": Transport(one["transport"]).name.lower(),
        "reason": one["reason"],
        "detail": one["detail"],
        "contentFormat": one["content_format"],
        "bytes": len(one["payload"]),
    }


def _selection(asked: Narrowed) -> Selection:
    try:
        since_us = None if asked.since is None else instant_us(asked.since)
    except ValueError as error:
        raise malformed("since is an instant, as in 2026-11-22T08:00:00Z.") from error
    device = None if asked.device is None else f"{asked.tenant}/{asked.device}"
    entries = asked.entries if isinstance(asked, RoundAsked) else None
    keys = None if entries is None else tuple(_numbers(one, 2, "an entry is 1234/0") for one in entries)
    return Selection(asked.reason, device, asked.tenant, since_us, keys)  # type: ignore[arg-type] # pairs, by the 2


def _cursor(text: str | None) -> Cursor | None:
    if text is None:
        return None
    received_us, log_seq, part = _numbers(text, 3, "after is the nextAfter of the page before")
    return received_us, log_seq, part


def _told_cursor(cursor: Cursor | None) -> str | None:
    return None if cursor is None else "/".join(map(str, cursor))


def _numbers(text: str, count: int, rule: str) -> tuple[int, ...]:
    parts = text.split("/")
    if len(parts) != count or not all(one.isascii() and one.isdecimal() and int(one) < _NUMBER_END for one in parts):
        raise malformed(f"{rule}.")
    return tuple(int(one) for one in parts)
