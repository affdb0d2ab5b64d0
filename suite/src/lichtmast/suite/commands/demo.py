"""`lichtmast demo`: a town in a temporary folder, for so many seconds, and the account of it."""

import asyncio
import tempfile
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import psutil
import typer
import uvloop
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from lichtmast.suite.audit import Audit, audit
from lichtmast.suite.commands.output import JsonOption, console, log_to_stderr, messages, print_json
from lichtmast.suite.folder import Folder
from lichtmast.suite.service import Service, running
from lichtmast.suite.settings import TOWN_SEED, Settings

if TYPE_CHECKING:
    from lichtmast.firmware_sim import Ledger

DRAIN_TIMEOUT_S = 60.0
INTERVAL_S = 1.0


def demo(
    devices: Annotated[int, typer.Option(min=1, max=5_000, help="How many devices.")] = 200,
    seconds: Annotated[int, typer.Option(min=1, max=86_400, help="How long they send, a pack a second each.")] = 20,
    hostile: Annotated[
        int, typer.Option(min=0, help="How many packs are wrong on purpose, to see the quarantine.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same town.")] = TOWN_SEED,
    *,
    as_json: JsonOption = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log every event, not only warnings.")] = False,
) -> None:
    """Run everything with a simulated town in a temporary folder, then draw up the account.

    Exit code 0 when every pack that the devices sent is stored, in quarantine, a duplicate or declared as dropped; 1
    when one is lost.
    """
    log_to_stderr(verbose=verbose)
    with tempfile.TemporaryDirectory(prefix="lichtmast-demo-") as folder:
        result = uvloop.run(_demo(Folder(Path(folder)), devices, seconds, hostile, seed))
    if as_json:
        print_json(result)
    else:
        for name, value in result.items():
            console.print(f"{name:20} {value}")
    raise typer.Exit(0 if result["lost"] == 0 and not result["faults"] else 1)


async def _demo(folder: Folder, devices: int, seconds: int, hostile: int, seed: int) -> dict[str, Any]:
    from lichtmast.firmware_sim import Town  # noqa: PLC0415 - ten megabytes that the other commands have no use for
    from lichtmast.suite import virtual_town  # noqa: PLC0415

    progress = Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=messages)
    with progress if messages.is_terminal else nullcontext():
        doing = progress.add_task("Starting", total=None)
        async with running(folder, Settings(http_port=0, mqtt_port=0, coap_port=0)) as service:
            await asyncio.to_thread(virtual_town.furnish, service.registry, folder.path)
            specs = await asyncio.to_thread(virtual_town.settle, service.registry, devices)
            await service.wait_registered()
            async with Town(
                specs, seed=seed, interval_s=INTERVAL_S, mqtt=service.mqtt, coap=service.coap, hostile=hostile
            ) as town:
                progress.update(doing, description=f"{devices} devices are sending")
                loop = asyncio.get_running_loop()
                started_s = loop.time()
                await town.run(seconds)
                sockets = _ipv4_sockets()
                progress.update(doing, description="Waiting until everything is acknowledged")
                drained = await town.wait_drained(DRAIN_TIMEOUT_S)
                took_s = loop.time() - started_s
                ledger = town.ledger()
            await service.wait_caught_up(DRAIN_TIMEOUT_S)
            account = await asyncio.to_thread(audit, service.store, await service.waiting())
            return _account(service, ledger, account, took_s, sockets, drained=drained)


def _account(
    service: Service, ledger: "Ledger", account: Audit, took_s: float, ipv4_sockets: int, *, drained: bool
) -> dict[str, Any]:
    """The devices' own books held against the store's.

    A duplicate is a pack that was sent again, so it counts as sent; lost is what devices sent and the store knows
    nothing of.
    """
    sent = ledger.total.sent + account.duplicates
    faults = account.faults + [f"device ledger: {one}" for one in ledger.surprises()]
    if not drained:
        faults.append(f"{ledger.total.outstanding} packs were not acknowledged within {DRAIN_TIMEOUT_S:.0f} s")
    return {
        "sent": sent,
        "stored": account.stored,
        "quarantined": account.quarantined,
        "duplicates": account.duplicates,
        "dropped": account.dropped,
        "lost": sent - account.stored - account.quarantined - account.duplicates - account.dropped,
        "by_transport": {name: tally.sent for name, tally in ledger.by_transport.items()},
        "readings": account.readings,
        "readings_per_s": round(account.readings / took_s, 1),
        "ipv4_sockets": ipv4_sockets,
        "devices": ledger.total.devices,
        "refusals": service.pipeline.statistics.refusals,
        "faults": faults,
        "by_transport_detail": {name: asdict(tally) for name, tally in ledger.by_transport.items()},
    }


def _ipv4_sockets() -> int:
    """How many IPv4 sockets this process and its children have open."""
    this = psutil.Process()
    return sum(len(process.net_connections(kind="inet4")) for process in (this, *this.children(recursive=True)))
