"""Letting a scenario's town live, for `lichtmast sim`: cast it, run it with progress, and account for it."""

import asyncio
import json
import signal
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any, Final

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from lichtmast.firmware_sim import DeviceLedger, DeviceSpec, Town, Transport
from lichtmast.firmware_sim.agents import Agents
from lichtmast.firmware_sim.scenario import (
    LabelFile,
    Scenario,
    ScenarioError,
    cast_scenario,
    read_points,
    read_scenario,
    simulate,
)
from lichtmast.suite.clock import now_us
from lichtmast.suite.commands.output import messages
from lichtmast.suite.commands.sim_target import Target, assets_of
from lichtmast.suite.folder import Folder
from lichtmast.wire import DeviceId

DRAIN_TIMEOUT_S: Final = 60.0
PROGRESS_S: Final = 0.5
FLOOD_PROFILE: Final = "noise"
FLOOD_TENANT: Final = "gm0402"
FLOOD_PLACE: Final = (5.17, 52.22)
_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Orders:
    """What the options of a run said."""

    target: Target
    addresses: IPv6Network | None
    seconds: float | None
    labels: Path | None
    history: Path | None


def write_packs(file: Path, data: Path | None, seconds: float, packs: Path, labels: Path | None) -> dict[str, Any]:
    """Every pack of the town's first seconds as one JSON object a line; the account of it."""
    scenario = read_scenario(file)
    cast = cast_scenario(scenario, _assets(scenario, Folder.choose(data)), _start_us(scenario))
    written = readings = 0
    with ExitStack() as stack:
        book = stack.enter_context(LabelFile(labels, cast.truth())) if labels else None
        out = stack.enter_context(packs.open("w", encoding="ascii"))
        for said in simulate(cast, seconds):
            line = {
                "t_us": said.at_us,
                "device": str(said.spec.device),
                "transport": said.spec.transport.value,
                "content_format": said.spec.content_format,
                "seq": said.seq,
                "payload": b64encode(said.payload).decode(),
            }
            out.write(json.dumps(line, separators=(",", ":")) + "\n")
            written += 1
            readings += len(said.labels)
            if book is not None:
                for one in said.labels:
                    book.note(one)
    return {"devices": len(cast.roles), "seconds": seconds, "packs": written, "labels": readings}


async def live(file: Path, orders: Orders) -> dict[str, Any]:
    """Run the scenario's town against the target; the account of it."""
    scenario = read_scenario(file)
    assets = await asyncio.to_thread(_assets, scenario, orders.target.folder)
    cast = cast_scenario(scenario, assets, _start_us(scenario))
    if cast.agents and scenario.from_s is not None:
        raise ScenarioError('real agents live now, at the speed of now; leave out [time], or fidelity = "agent"')
    known = [(one.spec.device, one.spec.profile, one.spec.asset) for one in cast.roles]
    await asyncio.to_thread(orders.target.register, scenario.tenant, known)
    loop = asyncio.get_running_loop()
    started_s = loop.time()

    def clock() -> int:
        if scenario.from_s is None:
            return now_us()
        return cast.start_us + round((loop.time() - started_s) * scenario.speed * _US)

    with ExitStack() as stack:
        book = stack.enter_context(LabelFile(orders.labels, cast.truth())) if orders.labels else None
        home = orders.target.folder.path / "agents"
        async with Agents(cast, home, mqtt=orders.target.mqtt, coap=orders.target.coap) as agents:
            light = cast.light
            told: dict[str, Any] = {}
            if light:
                town = Town(
                    [one.spec for one in light],
                    seed=scenario.seed,
                    interval_s=scenario.interval_s / scenario.speed,
                    turn_us=round(scenario.interval_s * _US),
                    mqtt=orders.target.mqtt,
                    coap=orders.target.coap,
                    clock=clock,
                    epoch=now_us(),
                    history=orders.history,
                    addresses=orders.addresses,
                    instruments=[cast.instrument(one) for one in light],
                    on_label=book.note if book else None,
                )
                told = await _run(town, None if orders.seconds is None else orders.seconds / scenario.speed)
            else:
                await _wait_stopped(orders.seconds)
            told |= {"agents": len(cast.agents), "agents_ended": agents.ended} if cast.agents else {}
        if book is not None:
            told["labels"] = book.written
    return told


async def flood(orders: Orders, devices: int, rate: float, transport: str) -> dict[str, Any]:
    """So many devices that send so many packs a second together; the account of it."""
    longitude, latitude = FLOOD_PLACE
    specs = [
        DeviceSpec(DeviceId(FLOOD_TENANT, f"flood-{at:05d}"), FLOOD_PROFILE, Transport(transport), longitude, latitude)
        for at in range(devices)
    ]
    known = [(one.device, one.profile, "") for one in specs]
    await asyncio.to_thread(orders.target.register, FLOOD_TENANT, known)
    town = Town(
        specs,
        seed=1,
        interval_s=devices / rate,
        mqtt=orders.target.mqtt,
        coap=orders.target.coap,
        addresses=orders.addresses,
    )
    return await _run(town, orders.seconds)


async def _run(town: Town, seconds: float | None) -> dict[str, Any]:
    """Connect, live, drain, and account."""
    loop = asyncio.get_running_loop()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"), TimeElapsedColumn())
    progress = Progress(*columns, console=messages)
    with progress if messages.is_terminal else nullcontext():
        doing = progress.add_task("Connecting", total=seconds, told="")
        async with town:
            started_s = loop.time()
            watching = asyncio.create_task(_show(town, progress, doing), name="progress")
            progress.update(doing, description="Sending")
            await _until_stopped(lambda: town.run(seconds), "town")
            took_s = loop.time() - started_s
            progress.update(doing, description="Waiting for answers")
            drained = await town.wait_drained(DRAIN_TIMEOUT_S)
            statistics, ledger = town.statistics(), town.ledger()
            watching.cancel()
    total = statistics.total
    if not drained:
        messages.print(f"{total.outstanding} packs were not answered within {DRAIN_TIMEOUT_S:.0f} s", markup=False)
    return {
        "devices": total.devices,
        "sent": total.sent,
        "acknowledged": total.acknowledged,
        "refused": total.refused,
        "unnumbered": total.unnumbered,
        "outstanding": total.outstanding,
        "skipped": total.skipped,
        "attempts": total.attempts,
        "readings": total.readings,
        "packs_per_s": round(total.sent / took_s, 1),
        "interruptions": statistics.interruptions,
        "missed_rounds": statistics.missed_rounds,
        "refusals": _refusals(ledger.devices.values()),
    }


def _refusals(accounts: Iterable[DeviceLedger]) -> dict[str, int]:
    reasons: dict[str, int] = {}
    for account in accounts:
        for reason, count in account.refusal_reasons.items():
            reasons[reason] = reasons.get(reason, 0) + count
    return reasons


async def _show(town: Town, progress: Progress, doing: Any) -> None:  # noqa: ANN401 - rich's own number
    started_s = asyncio.get_running_loop().time()
    while True:
        total = town.statistics().total
        told = f"{total.sent} sent, {total.acknowledged} acknowledged, {total.outstanding} waiting"
        progress.update(doing, completed=asyncio.get_running_loop().time() - started_s, told=told)
        await asyncio.sleep(PROGRESS_S)


async def _wait_stopped(seconds: float | None) -> None:
    await _until_stopped(lambda: asyncio.sleep(seconds if seconds is not None else 10**9), "agents")


async def _until_stopped(work: Callable[[], Any], name: str) -> None:
    """Until the work is done, or the operator says stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    living = asyncio.create_task(work(), name=name)
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({living, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        stopping.cancel()
        living.cancel()
    if living.done() and not living.cancelled():
        living.result()


def _assets(scenario: Scenario, folder: Folder) -> Sequence[tuple[str, float, float]]:
    return read_points(scenario.assets) if scenario.assets else assets_of(folder, scenario.tenant)


def _start_us(scenario: Scenario) -> int:
    return now_us() if scenario.from_s is None else round(scenario.from_s * _US)
