"""`lichtmast sim`: virtual towns from a scenario file, and floods, against a Lichtmast that is yours."""

from ipaddress import IPv6Network
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from lichtmast.suite.commands.output import DataOption, JsonOption, console, log_to_stderr, print_json
from lichtmast.suite.commands.sim_target import Target

sim = typer.Typer(name="sim", no_args_is_help=True, help="Virtual towns and floods, to try and to test with.")

MqttOption = Annotated[
    str | None,
    typer.Option("--mqtt", metavar="[HOST]:PORT", help="Broker. Default: that of the Lichtmast on the data folder."),
]
CoapOption = Annotated[
    str | None, typer.Option("--coap", metavar="[HOST]:PORT", help="CoAP door. Default: the same Lichtmast's.")
]
MineOption = Annotated[
    bool, typer.Option("--target-is-mine", help="Send to another machine than this one, which belongs to you.")
]
AddressesOption = Annotated[
    str | None,
    typer.Option(
        metavar="PREFIX", help="Each device speaks from its own address of this prefix, routed to this machine."
    ),
]


@sim.command()
def town(  # noqa: PLR0913 - one parameter an option
    file: Annotated[Path, typer.Argument(help="The scenario; see docs/reference/scenario.md.")],
    data: DataOption = None,
    *,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="How long the town lives, by its own clock. Default: until Ctrl-C.")
    ] = None,
    mqtt: MqttOption = None,
    coap: CoapOption = None,
    target_is_mine: MineOption = False,
    addresses: AddressesOption = None,
    packs: Annotated[
        Path | None, typer.Option(help="Send nothing: write every pack into this file, as fast as it goes.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Where to write what is faulty, and how.")] = None,
    history: Annotated[
        Path | None, typer.Option(help="Where to write each attempt and answer, for the checker.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Let a town live from a scenario file.

    Its devices are put in the register of the data folder, unless --mqtt or --coap names another server, which then has
    to know them. Exit code 0 when everything that was sent is acknowledged or refused, else 1.
    """
    from lichtmast.suite.commands import sim_run  # noqa: PLC0415 - ten megabytes that other commands have no use for

    log_to_stderr(verbose=False)
    if packs is not None:
        if seconds is None or mqtt or coap or history or addresses:
            raise typer.BadParameter("--packs needs --seconds, and sends nothing: leave out what is about sending")
        told = sim_run.write_packs(file, data, seconds, packs, labels)
    else:
        target = Target.choose(data, mqtt, coap, is_mine=target_is_mine)
        orders = sim_run.Orders(target, _prefix(addresses), seconds, labels, history)
        told = uvloop.run(sim_run.live(file, orders))
    _tell(told, as_json=as_json)


@sim.command()
def flood(  # noqa: PLR0913 - one parameter an option
    data: DataOption = None,
    *,
    devices: Annotated[int, typer.Option(min=1, max=20_000, help="How many devices.")] = 100,
    rate: Annotated[float, typer.Option(min=0.01, max=100_000, help="Packs a second, of all together.")] = 1_000,
    seconds: Annotated[float, typer.Option(min=1, max=86_400, help="How long they send.")] = 10,
    transport: Annotated[str, typer.Option(help="mqtt or coap.")] = "mqtt",
    mqtt: MqttOption = None,
    coap: CoapOption = None,
    target_is_mine: MineOption = False,
    addresses: AddressesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send as many packs a second as you say, and tell what became of them.

    Exit code 0 when everything that was sent is acknowledged, else 1.
    """
    from lichtmast.suite.commands import sim_run  # noqa: PLC0415 - as above

    log_to_stderr(verbose=False)
    if transport not in {"mqtt", "coap"}:
        raise typer.BadParameter(f"--transport is {transport!r}; choose mqtt or coap")
    target = Target.choose(data, mqtt, coap, is_mine=target_is_mine)
    orders = sim_run.Orders(target, _prefix(addresses), seconds, None, None)
    _tell(uvloop.run(sim_run.flood(orders, devices, rate, transport)), as_json=as_json)


def _prefix(text: str | None) -> IPv6Network | None:
    if text is None:
        return None
    try:
        return IPv6Network(text)
    except ValueError as error:
        raise typer.BadParameter(f"--addresses {text} is no IPv6 prefix, such as fd00:1::/64") from error


def _tell(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
    else:
        for name, value in told.items():
            console.print(f"{name:16} {value}", markup=False)
    raise typer.Exit(0 if told.get("outstanding", 0) == 0 and told.get("agents_ended", 0) == 0 else 1)
