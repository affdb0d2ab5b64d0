"""`lichtmast up`: run everything in this process until told to stop."""

import asyncio
import signal
from typing import Final

import typer
import uvloop
from rich.table import Table

from lichtmast.suite.commands import up_options as options
from lichtmast.suite.commands.output import DataOption, console, log_to_stderr, messages
from lichtmast.suite.folder import Folder
from lichtmast.suite.openid_file import read_openid
from lichtmast.suite.service import Service, running
from lichtmast.suite.settings import TOWN_SEED, SecureSettings, Settings, is_loopback

INTERVAL_S: Final = 10.0


def up(  # noqa: PLR0913 - one parameter an option
    data: DataOption = None,
    *,
    town: options.Town = False,
    devices: options.Devices = None,
    interval_s: options.IntervalS = None,
    host: options.Host = "::1",
    http_port: options.HttpPort = None,
    mqtt_port: options.MqttPort = None,
    coap_port: options.CoapPort = None,
    est_port: options.EstPort = None,
    secure: options.Secure = False,
    name: options.Name = None,
    tls_certificate: options.TlsCertificate = None,
    tls_key: options.TlsKey = None,
    openid: options.OpenId = None,
    security_contact: options.SecurityContact = None,
    sync_interval: options.SyncInterval = "always",
    verbose: options.Verbose = False,
) -> None:
    """Run Lichtmast: broker, CoAP door, pipeline, store, register and pages, over IPv6.

    Everything it keeps is in the data folder. On loopback it is open and plaintext, for development. On any other
    address, or with --secure, everything is encrypted, devices show certificates and people sign in.
    Ctrl-C or SIGTERM stops it; killing it loses nothing that was acknowledged.
    """
    if not town and (devices is not None or interval_s is not None):
        raise typer.BadParameter("--devices and --interval-s are the simulated town's; say --town too")
    secured = None
    if secure or not is_loopback(host):
        if town:
            raise typer.BadParameter("the simulated town has no certificates; run it on loopback without --secure")
        provider = None if openid is None else read_openid(openid)
        secured = SecureSettings(_port(est_port, 9443), tuple(name or ()), tls_certificate, tls_key, provider)
    elif any(one is not None for one in (est_port, name, tls_certificate, tls_key, openid)):
        raise typer.BadParameter(
            "--est-port, --name, --tls-certificate, --tls-key and --openid belong to --secure; say it too"
        )
    log_to_stderr(verbose=verbose)
    settings = Settings(
        host,
        _port(http_port, 8443 if secured else 8080),
        _port(mqtt_port, 8883 if secured else 1883),
        _port(coap_port, 5684 if secured else 5683),
        sync_interval,
        secured,
        security_contact,
    )
    uvloop.run(_up(Folder.choose(data), settings, town=town, devices=devices, interval_s=interval_s or INTERVAL_S))


def _port(given: int | None, usual: int) -> int:
    return usual if given is None else given


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
    secure = service.secure
    table.add_row("MQTT, TLS" if secure else "MQTT", f"[{service.mqtt[0]}]:{service.mqtt[1]}".replace("[", "\\["))
    scheme = "coaps" if secure else "coap"
    table.add_row("CoAP", f"{scheme}://[{service.coap[0]}]:{service.coap[1]}/up".replace("[", "\\["))
    if secure is not None:
        table.add_row("Enrolment", f"{service.est_url}".replace("[", "\\["))
        table.add_row("Root", f"{secure.root_pin}, on the label of each device")
    table.add_row("Data", str(service.folder.path))
    table.add_row("Lampposts", f"{counts.assets} in the register" + (f", from {town}" if town else ""))
    console.print(table)
    if secure is None:
        messages.print("Open to everyone on this machine (loopback only), for development. Ctrl-C stops.")
        return
    messages.print("Encrypted; devices show certificates, people sign in. Ctrl-C stops.")
    if service.first_run_url is not None:
        messages.print("There is no administrator yet. This link makes the first one; it works once, for 24 hours:")
        messages.print(service.first_run_url, soft_wrap=True, markup=False)
