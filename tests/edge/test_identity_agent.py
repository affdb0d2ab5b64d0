"""A real agent from its label to its first acknowledged pack, and through what can happen to a certificate after."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from est_stand import EstStand, Node, Reply
from identity_town import IdentityTown
from running_agent import RunningAgent
from secured_links import server_context, tls_broker
from uplink_town import DEVICE, Broker, Server, eventually

pytestmark = pytest.mark.slow


@dataclass
class Scene:
    """A city, a device in it, and what it meets."""

    town: IdentityTown
    node: Node
    stand: EstStand
    broker: Broker
    server: Server
    agent: RunningAgent

    @property
    def log(self) -> str:
        return self.agent.log.read_text()

    def state(self) -> dict[str, Any]:
        """The identity in the last state that the agent told."""
        told = [json.loads(payload) for kind, payload in self.server.reports if kind == "state"]
        return dict(told[-1]["reports"]["identity"]) if told else {}


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    town = IdentityTown(folder / "town")
    agent = RunningAgent(folder / "agent", None, device=DEVICE)
    node = Node(agent.state, town, DEVICE)
    stand = EstStand(town, DEVICE)
    async with tls_broker(folder, town).running() as broker:
        agent.mqtt, agent.label = ("::1", broker.port), node.label.text
        server = Server(broker.port, server_context(town, town.device("server-side")))
        serving = asyncio.create_task(server.run(), name="server")
        try:
            with stand.running():
                agent.enrol = ("::1", stand.port)
                yield Scene(town, node, stand, broker, server, agent)
        finally:
            agent.end()
            while not serving.done():  # Python 3.11's wait_for loses a cancellation that meets what it waited for
                serving.cancel()
                await asyncio.wait([serving], timeout=1)


def of_process(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


def files_with(secret: bytes, folder: Path) -> list[str]:
    return [one.name for one in folder.rglob("*") if one.is_file() and secret in one.read_bytes()]


def story(tmp_path: Path, tell: Callable[[Scene], Any]) -> None:
    async def run() -> None:
        async with scene(tmp_path) as made:
            await tell(made)

    asyncio.run(run())


def test_from_the_label_to_the_first_stored_pack_and_nothing_secret_is_anywhere(tmp_path: Path) -> None:
    async def tell(scene: Scene) -> None:
        scene.stand.is_claimed = False
        await asyncio.to_thread(scene.agent.start)
        assert scene.agent.process is not None
        await eventually(lambda: scene.stand.asked.count("simpleenroll") >= 2, what="it asks until it is claimed")
        assert "identity_waits" in scene.log
        assert "no engineer has claimed" in scene.log
        begun_s = time.monotonic()
        scene.stand.is_claimed = True
        await eventually(lambda: scene.server.stored >= {1, 2, 3}, within_s=30, what="the packs since the start come")
        assert time.monotonic() - begun_s < 20, "as soon as it is claimed, not after the pauses of a refusal"
        await eventually(lambda: scene.state().get("status") == "ready", what="it says that it is ready")
        told = scene.state()
        assert told["serial"] == f"{scene.stand.issued[0].serial:x}"
        assert told["clock"] == "trusted"
        maps, environment = (of_process(scene.agent.process.pid, name) for name in ("maps", "environ"))
        assert b"cryptography" not in maps  # eleven megabytes that the running agent does not need
        shown = await asyncio.to_thread(scene.agent.command, "check")
        tested = await asyncio.to_thread(scene.agent.command, "selftest")
        assert tested.returncode == 0, tested.stdout
        assert re.search("PASS  EST server .*: it answers, and is ours", tested.stdout)
        secret = scene.node.folder.key.read_bytes().splitlines()[1]
        assert scene.agent.stop() == 0
        assert secret not in environment + shown.stdout.encode() + tested.stdout.encode()
        assert files_with(secret, tmp_path) == ["key.pem"]

    story(tmp_path, tell)


def test_a_short_life_is_renewed_again_and_again_and_no_pack_is_lost(tmp_path: Path) -> None:
    async def tell(scene: Scene) -> None:
        scene.stand.issue = {"starts_in": timedelta(seconds=-20), "ends_in": timedelta(seconds=10)}
        await asyncio.to_thread(scene.agent.start)
        await eventually(lambda: scene.stand.asked.count("simplereenroll") >= 3, within_s=60, what="it renews")
        scene.stand.issue = {}
        count = len(scene.server.stored)
        await eventually(lambda: len(scene.server.stored) > count + 20, within_s=60, what="packs go on")
        assert scene.agent.stop() == 0
        assert scene.log.count("certificate_renewed") >= 3
        since_it_had_one = scene.log.partition("certificate_received")[2]
        assert "uplink_interrupted" not in since_it_had_one
        left = scene.agent.outbox()
        assert scene.server.stored >= set(range(1, left["next_seq"] - left["packs"]))
        assert left["dropped_packs"] == 0

    story(tmp_path, tell)


def test_an_expired_certificate_waits_for_the_next_claim_and_then_everything_comes(tmp_path: Path) -> None:
    async def tell(scene: Scene) -> None:
        scene.stand.issue = {"starts_in": timedelta(days=-90), "ends_in": timedelta(seconds=8)}
        scene.stand.overrides["simplereenroll"] = lambda _: Reply(503)
        await asyncio.to_thread(scene.agent.start)
        await eventually(lambda: scene.server.stored, within_s=30, what="it is connected")
        await asyncio.to_thread(scene.agent.stop)
        scene.stand.is_claimed = False
        scene.stand.issue = {}
        kept = scene.node.folder.load().certificate
        assert kept is not None
        await eventually(lambda: time.time_ns() // 1000 > kept.not_after_us + 1_000_000, what="it has ended")
        scene.stand.asked.clear()
        await asyncio.to_thread(scene.agent.start)
        await eventually(lambda: "simpleenroll" in scene.stand.asked, within_s=30, what="it asks anew")
        assert "simplereenroll" not in scene.stand.asked
        await eventually(lambda: scene.agent.outbox()["packs"] > 5, within_s=30, what="it measures meanwhile")
        scene.stand.is_claimed = True
        waiting = scene.agent.outbox()["next_seq"] - 1
        await eventually(lambda: scene.server.stored >= set(range(1, waiting)), within_s=30, what="all of it comes")

    story(tmp_path, tell)


def test_a_certificate_that_the_broker_refuses_is_told_and_replaced_after_a_claim(tmp_path: Path) -> None:
    async def tell(scene: Scene) -> None:
        scene.stand.issue = {"issuer": scene.town.issuer("Lichtmast test devices 2")}
        scene.stand.authorities.append(scene.stand.issue["issuer"].certificate)
        await asyncio.to_thread(scene.agent.start)
        await eventually(lambda: "connection_refused" in scene.log, within_s=30, what="it says so")
        assert "refusal=certificate_untrusted" in scene.log
        assert "an engineer may have to claim it again" in scene.log
        scene.stand.issue = {}
        await eventually(lambda: scene.server.stored, within_s=60, what="it got another, and is let in")
        await eventually(lambda: scene.state().get("status") == "ready", what="and says so")

    story(tmp_path, tell)


def test_a_device_without_its_key_measures_on_and_says_what_is_missing(tmp_path: Path) -> None:
    async def tell(scene: Scene) -> None:
        scene.node.folder.key.unlink()
        await asyncio.to_thread(scene.agent.start)
        await eventually(lambda: "identity_failed" in scene.log, within_s=30, what="it says so")
        assert "make one with lichtmast-edge identity new" in scene.log
        await eventually(lambda: scene.agent.outbox()["packs"] > 3, within_s=30, what="it measures")
        assert scene.stand.asked == []

    story(tmp_path, tell)


def test_the_process_of_an_exchange_is_told_nothing_by_its_words(tmp_path: Path) -> None:
    """What is in the words of a process, everybody on the machine can read."""

    async def tell(scene: Scene) -> None:
        seen: set[bytes] = set()
        scene.stand.is_claimed = False
        await asyncio.to_thread(scene.agent.start)
        assert scene.agent.process is not None
        children = Path(f"/proc/{scene.agent.process.pid}/task/{scene.agent.process.pid}/children")

        def watch() -> bool:
            for pid in children.read_text().split():
                try:
                    seen.add(Path(f"/proc/{pid}/cmdline").read_bytes())
                except OSError:
                    continue
            return any(b"lichtmast.edge.identity" in one for one in seen)

        await eventually(watch, within_s=30, what="an exchange is seen")
        assert not any(b"LM1:" in one or b"key" in one for one in seen)

    story(tmp_path, tell)


def test_commands_beside_a_running_agent_show_its_identity(tmp_path: Path) -> None:
    async def tell(scene: Scene) -> None:
        await asyncio.to_thread(scene.agent.start)
        await eventually(lambda: scene.server.stored, within_s=30, what="it is connected")
        shown = await asyncio.to_thread(scene.agent.command, "identity", "show", "--json")
        told = json.loads(shown.stdout)
        assert told["certificate"] == f"serial {scene.stand.issued[0].serial:x}"
        assert told["label"] == scene.node.label.text
        assert told["trusted_roots"] == told["root_pin"]

    story(tmp_path, tell)
