"""`lichtmast up`: run everything in this process until told to stop."""

import asyncio
import signal
from typing import Annotated, Final

import typer
import uvloop
from rich.table import Table

from lichtmast.suite.commands.output import DataOption, console, log_to_stderr, messages
from lichtmast.suite.folder import Folder
from lichtmast.suite.service import Service, running
from lichtmast.suite.settings import TOWN_SEED, Settings

INTERVAL_S: Final = 10.0


def up(  # noqa: PLR0913 - one parameter an option
    data: DataOption = None,
    *,
    town: Annotated[
        bool, typer.Option("--town", help="Also run a simulated town on the lampposts in the register.")
    ] = False,
    devices: Annotated[
        int | None,
        typer.Option(min=1, max=5_000, help="Devices of the town. Default: a lamp on each lamppost, and some sensors."),
    ] = None,
    interval_s: Annotated[
        float | None,
        typer.Option(
            min=0.1, help="Seconds between two packs of a device of the town. Default: 10.", show_default=False
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="IPv6 loopback address to listen on.")] = "::1",
    http_port: Annotated[int, typer.Option(min=0, max=65_535, help="Pages and API; 0 takes a free port.")] = 8080,
    mqtt_port: Annotated[int, typer.Option(min=0, max=65_535, help="MQTT; 0 takes a free port.")] = 1883,
    coap_port: Annotated[int, typer.Option(min=0, max=65_535, help="CoAP; 0 takes a free port.")] = 5683,
    sync_interval: Annotated[
        str, typer.Option(help="When the log fsyncs: always, or after a time such as 1s (only with replication).")
    ] = "always",
    verbose: Annotated[bool, typer.Option("--verbose", help="Log every event, not only warnings.")] = False,
) -> None:
    """Run Lichtmast: broker, CoAP door, pipeline, store, register and pages, over IPv6.

    Everything it keeps is in the data folder. Until devices have certificates it listens on loopback only.
    Ctrl-C or SIGTERM stops it; killing it loses nothing that was acknowledged.
    """
    if not town and (devices is not None or interval_s is not None):
        raise typer.BadParameter("--devices and --interval-s are the simulated town's; say --town too")
    log_to_stderr(verbose=verbose)
    settings = Settings(host, http_port, mqtt_port, coap_port, sync_interval)
    uvloop.run(_up(Folder.choose(data), settings, town=town, devices=devices, interval_s=interval_s or INTERVAL_S))


async def _up(folder: Folder, settings: Settings, *, town: bool, devices: int | None, interval_s: float) -> None:
    if town:
        from lichtmast.suite import virtual_town  # noqa: PLC0415 - ten megabytes that a real town has no use for
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    starting = messages.status("Starting")
    starting.start()
    try:
        async with running(folder, settings) as service:
            where = await asyncio.to_thread(virtual_town.furnish, service.registry, folder.path) if town else ""
            starting.stop()
            _tell(service, where)
            if town:
                await _live(service, devices, interval_s, stop)
            else:
                await stop.wait()
            messages.print("Stopping; what was acknowledged is on disk.")
    finally:
        starting.stop()


async def _live(service: Service, devices: int | None, interval_s: float, stop: asyncio.Event) -> None:
    """The town, until told to stop."""
    from lichtmast.firmware_sim import Town  # noqa: PLC0415 - as above
    from lichtmast.suite import virtual_town  # noqa: PLC0415

    specs = await asyncio.to_thread(virtual_town.settle, service.registry, devices)
    await service.wait_registered()
    async with Town(specs, seed=TOWN_SEED, interval_s=interval_s, mqtt=service.mqtt, coap=service.coap) as town:
        living = asyncio.create_task(town.run(None), name="town")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait({living, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        living.cancel()


def _tell(service: Service, town: str) -> None:
    """Say where everything is."""
    counts = service.registry.counts()
    table = Table.grid(padding=(0, 2))
    table.add_row("Pages", f"[bold]{service.http_url.replace('[', chr(92) + '[')}[/bold]")
    table.add_row("SensorThings", f"{service.http_url}v1.1".replace("[", "\\["))
    table.add_row("MQTT", f"[{service.mqtt[0]}]:{service.mqtt[1]}".replace("[", "\\["))
    table.add_row("CoAP", f"coap://[{service.coap[0]}]:{service.coap[1]}/up".replace("[", "\\["))
    table.add_row("Data", str(service.folder.path))
    table.add_row("Lampposts", f"{counts.assets} in the register" + (f", from {town}" if town else ""))
    console.print(table)
    messages.print("Open to everyone on this machine (loopback only): devices have no certificates yet. Ctrl-C stops.")
