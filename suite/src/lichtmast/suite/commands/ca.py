"""`lichtmast ca`: the certificate authority of this data folder."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from lichtmast.registry import Registry
from lichtmast.registry.auditing import LOCAL_COMMAND
from lichtmast.registry.pki import Authority, AuthorityAction, AuthorityKind, Told, log_authority
from lichtmast.suite.clock import now_us
from lichtmast.suite.commands.output import DataOption, JsonOption, console, print_json
from lichtmast.suite.folder import Folder
from lichtmast.suite.unlock import unlock_secret
from lichtmast.wire.label import pin_text

ORGANISATION: Final = "Lichtmast"

app = typer.Typer(name="ca", no_args_is_help=True, help="The authority that certifies devices and servers.")

RootKeyOption = Annotated[
    Path | None,
    typer.Option(help="Folder that `ca offline` moved the root's key to.", exists=True, show_default="the data folder"),
]


@app.command()
def init(
    data: DataOption = None,
    *,
    organisation: Annotated[str, typer.Option(help="Whose authority it is, as in its certificates.")] = ORGANISATION,
) -> None:
    """Make the root and the two authorities under it. `up` does so by itself where none is there."""
    folder = Folder.choose(data)
    made = Authority.create(folder.authority, unlock_secret(folder), organisation=organisation, now_us=now_us())
    _log(folder, AuthorityAction.MADE, AuthorityKind.ROOT.value, pin=pin_text(made.root_pin))
    console.print(f"The authority of {escape(made.organisation)} is made. Pin of its root: {pin_text(made.root_pin)}")
    console.print("Its root's key is only needed to roll over. Move it away: lichtmast ca offline FOLDER", markup=False)


@app.command()
def show(data: DataOption = None, *, as_json: JsonOption = False) -> None:
    """Show every certificate of the authority: what it is for, its pin, and when it ends."""
    authority = _open(Folder.choose(data))
    told = authority.certificates()
    if as_json:
        due = [kind.value for kind in authority.roll_due(now_us())]
        certificates = [_document(one) for one in told]
        print_json({"organisation": authority.organisation, "certificates": certificates, "roll_due": due})
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("for", "pin", "ends", "signs", "key"):
        table.add_column(heading, no_wrap=True)
    for one in told:
        signs, key = "yes" if one.signs else "no", "here" if one.key_here else "not here"
        table.add_row(one.role, Text(pin_text(one.pin)), f"{_moment(one.not_after_us):%Y-%m-%d}", signs, key)
    console.print(table)
    for kind in authority.roll_due(now_us()):
        console.print(f"Little is left of the authority for {kind.value}: lichtmast ca roll {kind.value}", markup=False)


@app.command()
def offline(
    to: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to: a removable medium.", file_okay=False)],
    data: DataOption = None,
) -> None:
    """Move the root's key out of the data folder, still encrypted with the unlock secret. Rolling over needs it."""
    folder = Folder.choose(data)
    there = _open(folder).take_root_offline(to)
    _log(folder, AuthorityAction.ROOT_OFFLINE, AuthorityKind.ROOT.value, file=there.name)
    console.print(f"The root's key is in {there} and no longer in the data folder.", markup=False, soft_wrap=True)
    console.print("Keep the unlock secret too, elsewhere: without it the key is of no use.")


@app.command()
def roll(
    which: Annotated[
        AuthorityKind, typer.Argument(metavar="devices|servers|root", help="What to follow by a new one.")
    ],
    data: DataOption = None,
    *,
    root_key: RootKeyOption = None,
    distrust_old: Annotated[
        bool, typer.Option("--distrust-old", help="Of devices, after a theft: drop the old one with all it signed.")
    ] = False,
) -> None:
    """Follow an authority by a new one. The old one stays trusted until its last certificate has ended."""
    folder = Folder.choose(data)
    authority = _open(folder)
    if which is AuthorityKind.ROOT:
        if distrust_old:
            raise typer.BadParameter("--distrust-old belongs to devices: the labels on the poles name the old root")
        authority.roll_root(now_us=now_us(), root_keys=root_key)
        console.print(f"There is a new root. Labels from now on carry its pin: {pin_text(authority.root_pin)}")
        console.print("Its key is in the data folder. Move it away: lichtmast ca offline FOLDER", markup=False)
    else:
        authority.roll_issuing(which, now_us=now_us(), root_keys=root_key, distrust_old=distrust_old)
        console.print(f"A new authority for {which.value} signs from now on.")
    if distrust_old:
        with Registry.open(folder.registry) as registry:
            count = registry.identity.revoke_distrusted(authority, by=LOCAL_COMMAND, at_us=now_us())
        console.print(f"{count} certificates of the old one are revoked; each device has to be claimed again.")
    signing = {one.role: pin_text(one.pin) for one in authority.certificates() if one.signs}
    _log(folder, AuthorityAction.ROLLED, which.value, pins=signing, distrust_old=distrust_old)
    console.print("A running Lichtmast takes it up by itself.")


@app.command()
def crl(
    file: Annotated[Path, typer.Argument(help="Where to write it, as PEM.", dir_okay=False)], data: DataOption = None
) -> None:
    """Write the revocation lists for programs that cannot ask the register. Daily: they end in a week."""
    folder = Folder.choose(data)
    authority = _open(folder)
    with Registry.open(folder.registry) as registry:
        revoked = registry.identity.revoked()
    draft = file.with_name(f"{file.name}.draft")
    draft.write_bytes(authority.crl(revoked, now_us=now_us()))
    draft.rename(file)
    console.print(f"{len(revoked)} certificates are revoked in {file}", markup=False, soft_wrap=True)


@app.command()
def server(
    file: Annotated[Path, typer.Argument(help="Writes FILE.pem and FILE.key.", dir_okay=False)],
    hosts: Annotated[list[str], typer.Argument(metavar="HOST...", help="IPv6 addresses and DNS names of the server.")],
    data: DataOption = None,
) -> None:
    """Certify another server, such as a broker of yours that devices connect to, for 90 days."""
    chain, key = file.with_name(f"{file.name}.pem"), file.with_name(f"{file.name}.key")
    for path in (chain, key):
        if path.exists():
            raise typer.BadParameter(f"{path} exists; remove it or choose another name")
    folder = Folder.choose(data)
    made = _open(folder).issue_server(hosts, now_us=now_us())
    _log(folder, AuthorityAction.SERVER_CERTIFIED, AuthorityKind.SERVERS.value, hosts=hosts, until_us=made.not_after_us)
    key.touch(mode=0o600)
    key.write_bytes(made.key_pem)
    chain.write_bytes(made.chain_pem)
    console.print(
        f"{chain} with {key} is valid until {_moment(made.not_after_us):%Y-%m-%d}", markup=False, soft_wrap=True
    )


def _open(folder: Folder) -> Authority:
    return Authority.open(folder.authority, unlock_secret(folder))


def _log(folder: Folder, action: AuthorityAction, subject: str, **after: object) -> None:
    log_authority(folder.registry, action, subject, by=LOCAL_COMMAND, at_us=now_us(), after=after)


def _document(one: Told) -> dict[str, object]:
    return {
        "role": one.role,
        "subject": one.subject,
        "pin": pin_text(one.pin),
        "not_before": f"{_moment(one.not_before_us):%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{_moment(one.not_after_us):%Y-%m-%dT%H:%M:%SZ}",
        "signs": one.signs,
        "key_here": one.key_here,
    }


def _moment(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1e6, UTC)
