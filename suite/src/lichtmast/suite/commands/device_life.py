"""`lichtmast device claim`, `suspend`, `resume`, `retire`, `move`, `replace`, `revoke` …: a device's life, by hand.

In the register itself, so it works beside a running Lichtmast, which sees the change within half a second, and on a
stopped one. The log of changes names the account that ran the command.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from lichtmast.registry import Registry
from lichtmast.registry.identity import CertificateRecord, Claim, IdentityBook, RevocationReason
from lichtmast.registry.pki import Authority
from lichtmast.suite.clock import now_us
from lichtmast.suite.commands.data_folder import used_folder
from lichtmast.suite.commands.output import DataOption, JsonOption, console, print_json
from lichtmast.suite.commands.register import lamppost, open_register
from lichtmast.suite.errors import DeviceOrderError
from lichtmast.suite.operator_actor import operator_actor
from lichtmast.suite.unlock import unlock_secret
from lichtmast.wire import DeviceId, parse_label

DeviceArgument = Annotated[str, typer.Argument(metavar="TENANT/DEVICE", help="As in gm0402/lamp-0001.")]
LabelArgument = Annotated[str, typer.Argument(metavar="LABEL", help="What is on the node: LM1:…")]
AssetOption = Annotated[str, typer.Option(help="Source id of the lamppost.")]
ProfileOption = Annotated[
    str | None, typer.Option(help="Registers a device that the workshop has not.", show_default="none")
]
HoursOption = Annotated[float, typer.Option(min=0.01, max=24, help="How long the window is open.")]
WhyOption = Annotated[str, typer.Option(help="For the log of changes.", show_default="nothing")]


def claim(
    label: LabelArgument,
    asset: AssetOption,
    data: DataOption = None,
    *,
    profile: ProfileOption = None,
    hours: HoursOption = 24,
    as_json: JsonOption = False,
) -> None:
    """Hang a labelled device on a lamppost and let it fetch its certificate, once."""
    wanted = parse_label(label)
    folder = used_folder(data)
    with Registry.open(folder.registry) as registry:
        opened = registry.identity.open_claim(
            wanted,
            asset_id=lamppost(registry, wanted.device.tenant, asset),
            by=operator_actor(),
            at_us=now_us(),
            hours=hours,
            profile=profile,
            authority=Authority.open(folder.authority, unlock_secret(folder)),
        )
    _tell_claim(opened, as_json=as_json)


def cancel(
    number: Annotated[int, typer.Argument(metavar="CLAIM", help="Its number.")],
    data: DataOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Close a claim that no node used; the device goes back into the stock."""
    with open_register(data) as registry:
        closed = registry.identity.cancel_claim(number, by=operator_actor(), at_us=now_us())
    _tell_claim(closed, as_json=as_json)


def replace(
    device: DeviceArgument,
    label: LabelArgument,
    data: DataOption = None,
    *,
    profile: ProfileOption = None,
    hours: HoursOption = 24,
    as_json: JsonOption = False,
) -> None:
    """Retire a device and claim the labelled one in its place; the lamppost's history goes on."""
    old, wanted = DeviceId.parse(device), parse_label(label)
    folder = used_folder(data)
    with Registry.open(folder.registry) as registry:
        opened = registry.identity.replace(
            old,
            wanted,
            by=operator_actor(),
            at_us=now_us(),
            hours=hours,
            profile=profile,
            authority=Authority.open(folder.authority, unlock_secret(folder)),
        )
    _tell_claim(opened, as_json=as_json)


def suspend(
    device: DeviceArgument, data: DataOption = None, *, why: WhyOption = "", as_json: JsonOption = False
) -> None:
    """Shut every door to a device until it is resumed; whoever is connected is dropped within seconds."""
    by, at_us = operator_actor(), now_us()
    _change(device, data, lambda book, one: book.suspend(one, by=by, at_us=at_us, why=why), as_json=as_json)


def resume(
    device: DeviceArgument, data: DataOption = None, *, why: WhyOption = "", as_json: JsonOption = False
) -> None:
    """Let a suspended device in again."""
    by, at_us = operator_actor(), now_us()
    _change(device, data, lambda book, one: book.resume(one, by=by, at_us=at_us, why=why), as_json=as_json)


def retire(
    device: DeviceArgument,
    data: DataOption = None,
    *,
    reason: Annotated[
        RevocationReason, typer.Option(help="Why its certificates are revoked.")
    ] = RevocationReason.CESSATION_OF_OPERATION,
    why: WhyOption = "",
    as_json: JsonOption = False,
) -> None:
    """Take a device off its lamppost for good, and revoke its certificates."""
    by, at_us = operator_actor(), now_us()
    _change(
        device, data, lambda book, one: book.retire(one, by=by, at_us=at_us, why=why, reason=reason), as_json=as_json
    )


def move(
    device: DeviceArgument,
    data: DataOption = None,
    *,
    asset: Annotated[str | None, typer.Option(help="Source id of the lamppost.", show_default="none")] = None,
    stock: Annotated[bool, typer.Option("--stock", help="Off its lamppost, on to none.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Hang a device on another lamppost, or on none; it keeps its certificate."""
    wanted, by = DeviceId.parse(device), operator_actor()
    if (asset is None) != stock:
        raise typer.BadParameter("name a lamppost with --asset, or say --stock")
    with open_register(data) as registry:
        asset_id = None if asset is None else lamppost(registry, wanted.tenant, asset)
        changed = registry.identity.move(wanted, asset_id, by=by, at_us=now_us())
        _tell_device(registry, wanted, changed=changed, as_json=as_json)


def revoke(
    device: DeviceArgument,
    data: DataOption = None,
    *,
    reason: Annotated[
        RevocationReason, typer.Option(help="As revocation lists name it.")
    ] = RevocationReason.UNSPECIFIED,
    as_json: JsonOption = False,
) -> None:
    """End a device's certificates; it stays in service and can be claimed again."""
    wanted = DeviceId.parse(device)
    with open_register(data) as registry:
        serials = registry.identity.revoke_certificates(wanted, reason, by=operator_actor(), at_us=now_us())
    if as_json:
        print_json({"device": str(wanted), "revoked": serials})
    else:
        console.print(f"{wanted}: {len(serials)} certificates revoked")


def certificates(device: DeviceArgument, data: DataOption = None, *, as_json: JsonOption = False) -> None:
    """Show what a device was issued, newest first."""
    wanted = DeviceId.parse(device)
    with open_register(data) as registry:
        if registry.device(wanted) is None:
            raise DeviceOrderError(f"device {wanted} is not in the register")
        issued = registry.identity.certificates(wanted)
    if as_json:
        print_json({"device": str(wanted), "certificates": [_document(one) for one in issued]})
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("serial", "issued", "ends", "standing"):
        table.add_column(heading, no_wrap=True)
    moment = now_us()
    for one in issued:
        table.add_row(f"{one.serial:x}", _day(one.issued_at_us), _day(one.not_after_us), _standing(one, moment))
    console.print(table if issued else f"{wanted} has no certificate", soft_wrap=True)


def _change(device: str, data: Path | None, change: Callable[[IdentityBook, DeviceId], bool], *, as_json: bool) -> None:
    """Change a device and say how it stands then."""
    wanted = DeviceId.parse(device)
    with open_register(data) as registry:
        changed = change(registry.identity, wanted)
        _tell_device(registry, wanted, changed=changed, as_json=as_json)


def _tell_claim(one: Claim, *, as_json: bool) -> None:
    state = one.state(now_us()).value
    if as_json:
        told = {"claim": one.id, "device": str(one.device), "state": state, "asset_id": one.asset_id}
        print_json(told | {"opened": _moment(one.opened_at_us), "expires": _moment(one.expires_at_us)})
    else:
        until = f" until {_moment(one.expires_at_us)}" if one.closed_as is None else ""
        console.print(f"claim {one.id} of {one.device} is {state}{until}", highlight=False, soft_wrap=True)


def _tell_device(registry: Registry, device: DeviceId, *, changed: bool, as_json: bool) -> None:
    record = registry.device(device)
    if record is None:
        raise DeviceOrderError(f"device {device} is not in the register")
    if as_json:
        told: dict[str, Any] = {"device": str(device), "status": record.status.value}
        print_json(told | {"asset_id": record.asset_id, "changed": changed})
    else:
        place = "on no lamppost" if record.asset_id is None else f"on asset {record.asset_id}"
        console.print(f"{device} is {record.status.value}, {place}{'' if changed else ', as it was'}", soft_wrap=True)


def _standing(one: CertificateRecord, moment_us: int) -> str:
    if one.revoked_for is not None:
        return f"revoked {_day(one.revoked_at_us or 0)}: {one.revoked_for.value}"
    if moment_us >= one.not_after_us:
        return "ended"
    return "valid" if one.superseded_at_us is None else "valid, superseded"


def _document(one: CertificateRecord) -> dict[str, Any]:
    return {
        "serial": f"{one.serial:x}",
        "not_before": _moment(one.not_before_us),
        "not_after": _moment(one.not_after_us),
        "issued": _moment(one.issued_at_us),
        "superseded": None if one.superseded_at_us is None else _moment(one.superseded_at_us),
        "revoked": None if one.revoked_at_us is None else _moment(one.revoked_at_us),
        "reason": None if one.revoked_for is None else one.revoked_for.value,
    }


def _moment(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="seconds")


def _day(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%d}"
