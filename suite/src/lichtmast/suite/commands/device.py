"""`lichtmast device`: register a device, configure it, give it a command, and see how it is; its label and its life."""

import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.markup import escape

from lichtmast.registry import DeviceStatus, Registry
from lichtmast.suite.clock import now_us
from lichtmast.suite.commands import device_life
from lichtmast.suite.commands.data_folder import used_folder
from lichtmast.suite.commands.device_label import label
from lichtmast.suite.commands.device_why import why
from lichtmast.suite.commands.output import DataOption, JsonOption, console, print_json
from lichtmast.suite.commands.register import lamppost
from lichtmast.suite.errors import OperatorError
from lichtmast.suite.folder import Folder
from lichtmast.suite.limits import WAIT_MAX_S
from lichtmast.suite.operator_actor import operator_actor
from lichtmast.suite.refused import refused_line
from lichtmast.suite.remote import Remote
from lichtmast.wire import DeviceId
from lichtmast.wire.twin import Command, Dim, Identify, Order, Reboot, decode_desired

WAIT_S: Final = 30.0
_AGES: Final = ((2 * 86_400, 86_400, "days"), (2 * 3_600, 3_600, "h"), (60, 60, "min"), (0, 1, "s"))
"""From which age on in seconds, in which unit, and its name."""
_MOMENTS: Final = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]

app = typer.Typer(name="device", no_args_is_help=True, help="Register, claim, configure, command and see a device.")
for one in (
    why,
    label,
    device_life.claim,
    device_life.cancel,
    device_life.replace,
    device_life.move,
    device_life.suspend,
    device_life.resume,
    device_life.retire,
    device_life.revoke,
    device_life.certificates,
):
    app.command()(one)

DeviceArgument = Annotated[str, typer.Argument(metavar="TENANT/DEVICE", help="As in gm0402/lm-0001.")]


class OrderName(StrEnum):
    """What a device can be told to do."""

    DIM = "dim"
    IDENTIFY = "identify"
    REBOOT = "reboot"


@app.command()
def add(
    device: DeviceArgument,
    profile: Annotated[str, typer.Option(help="What it measures: a key of docs/reference/profiles.md.")],
    data: DataOption = None,
    *,
    asset: Annotated[
        str | None, typer.Option(help="Source id of the lamppost that it hangs on.", show_default="none")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Register an active device; the same one again changes nothing. A running Lichtmast knows it on return."""
    wanted, by = DeviceId.parse(device), operator_actor()
    folder = Folder.choose(data)
    with Registry.open(folder.registry) as registry:
        registry.ensure_tenant(wanted.tenant, by=by)
        asset_id = None if asset is None else lamppost(registry, wanted.tenant, asset)
        added = registry.register_device(
            wanted, profile, asset_id=asset_id, at_us=now_us(), status=DeviceStatus.ACTIVE, by=by
        )
    remote = Remote.find(folder)
    if remote is not None:
        remote.get("/devices")
    told = {"device": device, "urn": wanted.urn, "profile": profile, "status": added.status.value}
    if as_json:
        print_json(told | {"created": added.created, "datastream_ids": added.datastream_ids})
    else:
        console.print(f"{device} is {added.status.value}{'' if added.created else ', as it was'}: {wanted.urn}")


@app.command()
def configure(
    device: DeviceArgument,
    file: Annotated[Path, typer.Argument(help="The configuration as JSON.", exists=True, dir_okay=False)],
    data: DataOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Give a device its configuration: retained, so that it finds it whenever it next connects."""
    desired = decode_desired(file.read_bytes())
    told = _post(data, device, "configuration", {"document": desired.encode().decode()})
    if as_json:
        print_json(told)
    else:
        console.print(f"version {told['version']} waits for {device}; it reports it as running in its state")


@app.command()
def command(  # noqa: PLR0913 - one parameter an option
    device: DeviceArgument,
    order: Annotated[OrderName, typer.Argument(metavar="dim|identify|reboot", help="What it should do.")],
    level: Annotated[float | None, typer.Argument(min=0, max=1, help="Of dim: from 0 to 1.")] = None,
    data: DataOption = None,
    *,
    until: Annotated[
        datetime | None, typer.Option(formats=_MOMENTS, help="Of dim: when the rules take over again, UTC.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Of identify: how long it blinks.")] = None,
    target: Annotated[str | None, typer.Option(help="Which lamp, where a device has several: its suffix.")] = None,
    wait: Annotated[
        float, typer.Option(min=1, max=WAIT_MAX_S, help="Seconds to wait for the answer; then the command expires.")
    ] = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Give a device a command and wait for its answer. Exit code 1 where it was not done, and why."""
    expires_s = now_us() / 1e6 + wait
    wanted = Command(secrets.token_hex(8), _order(order, level, until, seconds, target), expires_s)
    told = _post(data, device, "commands", {"document": wanted.encode().decode(), "wait_s": wait})
    if as_json:
        print_json(told)
    else:
        console.print(f"{device}: {told['state']}" + (f", {escape(told['reason'])}" if told["reason"] else ""))
    raise typer.Exit(0 if told["state"] == "done" else 1)


@app.command()
def show(device: DeviceArgument, data: DataOption = None, *, as_json: JsonOption = False) -> None:
    """Show the last state and events that a device reported, and how far its packs are acknowledged, or why refused."""
    told = _running(data).get(f"/devices/{DeviceId.parse(device)}")
    if as_json:
        print_json(told)
        return
    state = told["state"]
    console.print(f"state: {_as_of(state['received']) if state else 'none was reported'}", markup=False)
    for line in _figures({name: value for name, value in (state or {}).items() if name != "received"}):
        console.print(line, markup=False, soft_wrap=True)
    for event in told["events"]:
        console.print(f"event: {_line(event)}", markup=False)
    for one in told["acknowledged"]:
        console.print(f"epoch {one['epoch']}: 1 to {one['upto']} acknowledged, the last pack is {one['last']}")
    for one in told["quarantined_by_reason"]:
        console.print(refused_line(one), markup=False, soft_wrap=True)


def _order(
    name: OrderName, level: float | None, until: datetime | None, seconds: float | None, target: str | None
) -> Order:
    is_dim, is_identify = name is OrderName.DIM, name is OrderName.IDENTIFY
    if is_dim != (level is not None) or is_dim != (until is not None):
        raise typer.BadParameter("LEVEL and --until belong to dim, and dim needs both")
    if (seconds is not None and not is_identify) or (target is not None and name is OrderName.REBOOT):
        raise typer.BadParameter("--seconds belongs to identify, --target to dim and identify")
    if level is not None and until is not None:
        return Dim(level, until.replace(tzinfo=UTC).timestamp(), target)
    if is_identify:
        return Identify(target=target) if seconds is None else Identify(seconds, target)
    return Reboot()


def _as_of(received: str) -> str:
    """The UTC time of day, and how long ago that is: a state of last week looks like one of now."""
    at = datetime.fromisoformat(received).astimezone(UTC)
    age_s = max(int(now_us() / 1e6 - at.timestamp()), 0)
    size_s, unit = next((size_s, unit) for from_s, size_s, unit in _AGES if age_s >= from_s)
    return f"as of {at:%H:%M:%S} UTC ({age_s // size_s} {unit} ago)"


def _figures(fields: dict[str, Any], indent: str = "  ") -> Iterator[str]:
    """One figure a line; groups follow, each below its name."""
    groups = {name: value for name, value in fields.items() if isinstance(value, dict)}
    for name, value in fields.items():
        if name not in groups:
            yield f"{indent}{name} {value if isinstance(value, str) else json.dumps(value)}"
    for name, group in groups.items():
        if group:
            yield f"{indent}{name}"
            yield from _figures(group, indent + "  ")


def _line(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False)


def _running(data: Path | None) -> Remote:
    folder = used_folder(data)
    remote = Remote.find(folder)
    if remote is None:
        raise OperatorError(f"no Lichtmast runs on {folder.path}; start it with: lichtmast up --data {folder.path}")
    return remote


def _post(data: Path | None, device: str, what: str, order: dict[str, Any]) -> dict[str, Any]:
    return _running(data).post(f"/devices/{DeviceId.parse(device)}/{what}", order)
