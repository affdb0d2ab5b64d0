"""What can be asked at the pole, as aiocoap resources. Everything is read; only /selftest also does something."""

import asyncio
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

from aiocoap import Message, interfaces, resource
from aiocoap.numbers.codes import CHANGED, CONTENT, NOT_ACCEPTABLE, SERVICE_UNAVAILABLE
from aiocoap.protocol import ServerObservation

from lichtmast.edge.pole import limits
from lichtmast.edge.pole.representation import JSON, as_json, readings_as
from lichtmast.edge.pole.view import PoleView
from lichtmast.wire.envelope import SENML_CBOR, SENML_JSON

_NO_RESPONSE_AT_ALL: Final = 0b11010
"""RFC 7967: neither 2.xx nor 4.xx nor 5.xx."""
_UNMEASURED_S: Final = 10


class Site(resource.Site):  # type: ignore[misc] # aiocoap has no types
    """The tree of resources; long answers go in blocks that are small enough for any link."""

    def __init__(self, view: PoleView, *, seed: int) -> None:
        super().__init__()
        self.readings = Readings(view)
        self.add_resource([".well-known", "core"], WellKnownCore(self, Random(seed)))  # noqa: S311 - spreads answers
        self.add_resource(["state"], Shown("lm.state", lambda: view.state().encode()))
        self.add_resource(["outbox"], Shown("lm.outbox", lambda: as_json(view.outbox())))
        self.add_resource(["readings"], self.readings)
        self.add_resource(["selftest"], Selftest(view))

    async def render_to_pipe(self, pipe: Any) -> None:  # noqa: ANN401 - aiocoap has no types
        """RFC 7959 section 2.4: a server may answer in smaller blocks than it was asked for."""
        block = pipe.request.opt.block2
        if block is not None and block.size_exponent > limits.BLOCK_EXPONENT:
            number = block.block_number << block.size_exponent - limits.BLOCK_EXPONENT
            pipe.request.opt.block2 = (number, False, limits.BLOCK_EXPONENT)
        await super().render_to_pipe(pipe)


class WellKnownCore(resource.WKCResource):  # type: ignore[misc] # aiocoap has no types
    """The list of resources (RFC 6690); the only one that answers a group, after a random leisure."""

    def __init__(self, site: Site, chance: Random) -> None:
        super().__init__(site.get_resources_as_linkheader, impl_info=None)
        self._chance = chance

    async def render_get(self, request: Any) -> Any:  # noqa: ANN401 - aiocoap has no types
        """RFC 7252 section 8.2: nobody answers a group at once, nor with an error."""
        answer = await super().render_get(request)
        if request.remote.is_multicast_locally:
            if answer.code is not None and not answer.code.is_successful():
                answer.opt.no_response = _NO_RESPONSE_AT_ALL
            else:
                await asyncio.sleep(self._chance.uniform(0, limits.LEISURE_S))
        return answer


class Shown(resource.Resource):  # type: ignore[misc] # aiocoap has no types
    """Something in JSON that is made anew for each request."""

    ct = str(JSON)

    def __init__(self, kind: str, show: Callable[[], bytes]) -> None:
        super().__init__()
        self.rt = kind
        self._show = show

    async def render_get(self, request: Any) -> Any:  # noqa: ANN401 - aiocoap has no types
        """2.05, or 4.06 for any other format."""
        return _answer(request, JSON, self._show())


class Readings(resource.ObservableResource):  # type: ignore[misc] # aiocoap has no types
    """The latest reading of each suffix, as SenML in JSON or CBOR; can be observed by a few, for a while."""

    ct = f"{SENML_JSON} {SENML_CBOR}"
    rt = "lm.readings"

    def __init__(self, view: PoleView) -> None:
        super().__init__()
        self._view = view
        self._until_s: dict[ServerObservation, float] = {}
        self._shown: frozenset[tuple[str, float]] = frozenset()

    def __len__(self) -> int:
        return len(self._until_s)

    async def render_get(self, request: Any) -> Any:  # noqa: ANN401 - aiocoap has no types
        """2.05, 5.03 before anything was measured, or 4.06 for any other format."""
        view = self._view
        readings = view.readings()
        if not readings:
            return Message(code=SERVICE_UNAVAILABLE, max_age=_UNMEASURED_S, payload=b"nothing was measured yet")
        wanted = SENML_JSON if request.opt.accept is None else int(request.opt.accept)
        payload = readings_as(wanted, view.device, readings, view.now_s())
        return Message(code=NOT_ACCEPTABLE) if payload is None else _answer(request, wanted, payload)

    async def render_to_pipe(self, pipe: Any) -> None:  # noqa: ANN401 - aiocoap has no types
        """An observer too many, or an answer that needs blocks, is answered once (RFC 7641 section 4.1)."""
        if pipe.request.opt.observe == 0:
            answer = await self.render_get(pipe.request)
            if len(self._until_s) >= limits.OBSERVERS_MAX or len(answer.payload) > limits.PAYLOAD_BYTES_MAX:
                await interfaces.Resource._render_to_pipe(self, pipe)  # noqa: SLF001 - what GET does
                return
        await super().render_to_pipe(pipe)

    async def add_observation(self, _request: Any, observation: ServerObservation) -> None:  # noqa: ANN401 - aiocoap has no types
        """Remember whom to tell, and until when."""
        self._until_s[observation] = self._view.now_s() + limits.OBSERVE_MAX_S
        observation.accept(lambda: self._until_s.pop(observation, None))

    def tell_observers(self) -> None:
        """Send what is new to whoever observes; who has observed long enough gets it as the last."""
        if not self._until_s:
            return
        now_s = self._view.now_s()
        shown = frozenset((one.suffix, one.at_s) for one in self._view.readings())
        is_new, self._shown = shown != self._shown, shown
        for observation, until_s in tuple(self._until_s.items()):
            if now_s >= until_s:
                observation.trigger(is_last=True)
            elif is_new:
                observation.trigger()


class Selftest(resource.Resource):  # type: ignore[misc] # aiocoap has no types
    """POST runs the self-test and answers with its outcome; GET shows the last one."""

    ct = str(JSON)
    rt = "lm.selftest"

    def __init__(self, view: PoleView) -> None:
        super().__init__()
        self._view = view
        self._last: dict[str, Any] = {}
        self._at_s = 0.0
        self._not_before_s = float("-inf")

    async def render_get(self, request: Any) -> Any:  # noqa: ANN401 - aiocoap has no types
        """2.05 with the last outcome and its age; an empty object where none was run."""
        last = self._last
        if last:
            last = {"ago_s": round(self._view.now_s() - self._at_s, 1), **last}
        return _answer(request, JSON, as_json(last))

    async def render_post(self, request: Any) -> Any:  # noqa: ANN401 - aiocoap has no types
        """2.04 with the outcome; 5.03 with Max-Age while one runs or has just run."""
        now_s = self._view.now_s()
        if now_s < self._not_before_s:
            return Message(code=SERVICE_UNAVAILABLE, max_age=max(1, round(self._not_before_s - now_s)))
        self._not_before_s = now_s + limits.SELFTEST_S
        try:
            async with asyncio.timeout(limits.SELFTEST_S):
                checks: Mapping[str, str] = await self._view.selftest()
        except TimeoutError:
            checks = {"selftest": f"not finished after {limits.SELFTEST_S:g} s; see the agent's log"}
        self._at_s = self._view.now_s()
        self._not_before_s = self._at_s + limits.SELFTEST_PAUSE_S
        self._last = {"passed": all(one == "ok" for one in checks.values()), "checks": dict(checks)}
        return _answer(request, JSON, as_json(self._last), CHANGED)


def _answer(request: Any, content_format: int, payload: bytes, code: Any = CONTENT) -> Any:  # noqa: ANN401 - aiocoap has no types
    if request.opt.accept is not None and int(request.opt.accept) != content_format:
        return Message(code=NOT_ACCEPTABLE)
    return Message(code=code, content_format=content_format, payload=payload)
