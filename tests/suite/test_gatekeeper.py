"""The gatekeeper follows the register, whatever happens to it, and holds answers until the doors know."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from lichtmast.registry import Registry, RegistryUnavailableError
from lichtmast.registry.identity import Admission
from lichtmast.suite import gatekeeper
from lichtmast.suite.gatekeeper import AnswerWhenAdmitted, Gatekeeper


@asynccontextmanager
async def following(registry: Registry) -> AsyncIterator[tuple[Gatekeeper, list[int]]]:
    """A gatekeeper at work, and the revisions that a door heard."""
    keeper = Gatekeeper(registry)
    heard: list[int] = []

    def listen(admission: Admission) -> None:
        heard.append(admission.revision)

    keeper.on_change(listen)
    task = asyncio.create_task(keeper.run(), name="gatekeeper")
    try:
        yield keeper, heard
    finally:
        task.cancel()
        await asyncio.wait([task])


def test_a_change_is_known_to_the_doors_when_the_wait_is_over(tmp_path: Path) -> None:
    async def story(registry: Registry) -> None:
        async with following(registry) as (keeper, heard):
            assert await keeper.wait_current(10)
            assert heard == []
            await asyncio.to_thread(registry.ensure_tenant, "gm0402")
            assert await keeper.wait_current(10)
            assert heard == [registry.revision()]
            assert keeper.admission().revision == registry.revision()

    with Registry.open(tmp_path / "registry.sqlite") as registry:
        asyncio.run(story(registry))


def test_a_register_that_fails_for_a_while_neither_opens_nor_shuts_a_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gatekeeper, "CHECK_S", 0.01)
    failures = 0

    def fail() -> int:
        nonlocal failures
        failures += 1
        if failures % 2:
            raise RegistryUnavailableError("it is busy")
        raise OSError("the disk is gone")

    async def story(registry: Registry) -> None:
        async with following(registry) as (keeper, heard):
            before = keeper.admission()
            with monkeypatch.context() as broken:
                broken.setattr(registry, "revision", fail)
                async with asyncio.timeout(10):
                    while failures < 4:
                        await asyncio.sleep(0.01)
                assert keeper.admission() is before
            registry.ensure_tenant("gm0402")
            assert await keeper.wait_current(10)
            assert heard == [registry.revision()]

    with Registry.open(tmp_path / "registry.sqlite") as registry:
        asyncio.run(story(registry))


@pytest.mark.parametrize(
    ("method", "status", "waits"),
    [("POST", 200, True), ("POST", 202, False), ("POST", 403, False), ("GET", 200, False)],
)
def test_the_answer_with_a_certificate_waits_until_the_doors_admit_it(
    tmp_path: Path, method: str, status: int, *, waits: bool
) -> None:
    async def story(registry: Registry) -> None:
        async with following(registry) as (keeper, _):
            seen: list[int] = []

            async def enrols(_scope: Scope, _receive: Receive, send: Send) -> None:
                await asyncio.to_thread(registry.ensure_tenant, "gm0402")
                await send({"type": "http.response.start", "status": status, "headers": []})

            async def receive() -> Message:
                return {"type": "http.request"}

            async def send(_message: Message) -> None:
                seen.append(keeper.admission().revision)

            before = keeper.admission().revision
            await AnswerWhenAdmitted(enrols, keeper)({"type": "http", "method": method}, receive, send)
            assert seen == [registry.revision() if waits else before]

    with Registry.open(tmp_path / "registry.sqlite") as registry:
        asyncio.run(story(registry))


def test_an_answer_is_not_held_for_ever(tmp_path: Path) -> None:
    async def story(registry: Registry) -> None:
        keeper = Gatekeeper(registry)  # nobody runs it
        registry.ensure_tenant("gm0402")
        assert not await keeper.wait_current(0.05)

    with Registry.open(tmp_path / "registry.sqlite") as registry:
        asyncio.run(story(registry))
