"""`lichtmast user`: let people in, give and take their roles, and lead back in who lost their keys.

Works on the register itself, beside a running Lichtmast too, which sees the change at the next request. Whoever may
read the data folder may do this; the log of changes names the operating system's account.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from lichtmast.registry.auditing import Actor, ActorKind
from lichtmast.registry.people import EVERY_TENANT, Account, Area, Grant, PeopleBook, Role, Seal
from lichtmast.suite.clock import now_us
from lichtmast.suite.commands.output import DataOption, JsonOption, console, print_json
from lichtmast.suite.errors import OperatorError
from lichtmast.suite.folder import Folder
from lichtmast.suite.remote import Remote
from lichtmast.suite.unlock import unlock_secret

app = typer.Typer(name="user", no_args_is_help=True, help="People: invite, list, grant, revoke, reset, tokens.")

_BOX_NUMBERS: Final = 4

LoginArgument = Annotated[str, typer.Argument(help="E-mail address or name.")]
TenantOption = Annotated[str, typer.Option("--tenant", help="Municipality such as gm0402, or * for all.")]
RoleOption = Annotated[Role, typer.Option("--role", help="What they may be.")]
AreaOption = Annotated[
    str | None, typer.Option("--area", help="WEST,SOUTH,EAST,NORTH in degrees: where an engineer's role counts.")
]
UntilOption = Annotated[
    datetime | None,
    typer.Option("--until", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"], help="When the role ends, in UTC."),
]


@app.command()
def invite(
    login: LoginArgument,
    role: RoleOption,
    tenant: TenantOption,
    *,
    name: Annotated[str | None, typer.Option(help="Their name. Default: the login.")] = None,
    area: AreaOption = None,
    until: UntilOption = None,
    data: DataOption = None,
    json_output: JsonOption = False,
) -> None:
    """Make an account with a role, and print the link by which they choose a password. It works once, for a day."""
    with _people(data) as (people, folder):
        grant = _grant(role, tenant, area, until)
        account, link = people.invite(login, name or login, grant, by=_by(), at_us=now_us())
        _tell(account, link, folder, as_json=json_output)


@app.command()
def grant(
    login: LoginArgument,
    role: RoleOption,
    tenant: TenantOption,
    *,
    area: AreaOption = None,
    until: UntilOption = None,
    data: DataOption = None,
    json_output: JsonOption = False,
) -> None:
    """Give somebody one more role. Their sessions end."""
    with _people(data) as (people, folder):
        account = people.account(login)
        people.grant(account.id, _grant(role, tenant, area, until), by=_by(), at_us=now_us())
        _tell(people.account(login), None, folder, as_json=json_output)


@app.command()
def revoke(
    login: LoginArgument,
    number: Annotated[
        int | None, typer.Argument(help="The role's number in `user list`. Default: all of them.")
    ] = None,
    *,
    data: DataOption = None,
    json_output: JsonOption = False,
) -> None:
    """Take a role, or all of them. Their sessions end; the last admin stays."""
    with _people(data) as (people, folder):
        account = people.account(login)
        for one in account.held:
            if number in {None, one.id}:
                people.revoke(account.id, one.id, by=_by(), at_us=now_us())
        if number is not None and number not in {one.id for one in account.held}:
            raise OperatorError(f"{account.login} has no role {number}; see: lichtmast user list")
        _tell(people.account(login), None, folder, as_json=json_output)


@app.command()
def reset(login: LoginArgument, *, data: DataOption = None, json_output: JsonOption = False) -> None:
    """Take all that somebody signs in with, sessions and tokens too, and print the link that leads back in."""
    with _people(data) as (people, folder):
        account = people.account(login)
        link = people.reset(account.id, by=_by(), at_us=now_us())
        _tell(people.account(login), link, folder, as_json=json_output)


@app.command(name="list")
def list_(*, data: DataOption = None, json_output: JsonOption = False) -> None:
    """Everybody who can sign in, and what they may."""
    with _people(data) as (people, _):
        accounts = people.accounts()
        if json_output:
            print_json({"users": [_as_json(one) for one in accounts]})
            return
        for one in accounts:
            _print_account(one)
        if not accounts:
            console.print("Nobody yet. lichtmast up prints the link of the first admin.", markup=False)


@app.command()
def tokens(login: LoginArgument, *, data: DataOption = None, json_output: JsonOption = False) -> None:
    """Somebody's API tokens: their beginnings, what they may, and when they end. The tokens themselves are nowhere."""
    with _people(data) as (people, _):
        found = people.tokens_of(people.account(login).id, now_us())
        rows = [
            {
                "prefix": one.prefix,
                "name": one.name,
                "roles": [_grant_text(grant) for grant in one.grants],
                "until": _time_text(one.until_us),
            }
            for one in found
        ]
        if json_output:
            print_json({"tokens": rows})
            return
        for row in rows:
            roles = ", ".join(row["roles"])
            console.print(f"lm_{row['prefix']}_…  {row['name']}  {roles}  until {row['until']}", markup=False)


@contextmanager
def _people(data: Path | None) -> Iterator[tuple[PeopleBook, Folder]]:
    folder = Folder.choose(data)
    with PeopleBook.open(folder.registry, Seal.from_secret(unlock_secret(folder))) as people:
        yield people, folder


def _by() -> Actor:
    return Actor(ActorKind.COMMAND, getuser())


def _grant(role: Role, tenant: str, area: str | None, until: datetime | None) -> Grant:
    box = None
    if area is not None:
        try:
            numbers = [float(one) for one in area.split(",")]
        except ValueError as error:
            raise typer.BadParameter("--area is WEST,SOUTH,EAST,NORTH in degrees") from error
        if len(numbers) != _BOX_NUMBERS:
            raise typer.BadParameter("--area is WEST,SOUTH,EAST,NORTH in degrees")
        box = Area.box(*numbers)
    until_us = None if until is None else int(until.replace(tzinfo=UTC).timestamp()) * 1_000_000
    return Grant(tenant, role, box, until_us)


def _tell(account: Account, link: str | None, folder: Folder, *, as_json: bool) -> None:
    address = None if link is None else f"{_pages(folder)}/invitation#{link}"
    if as_json:
        print_json({**_as_json(account), **({} if link is None else {"link": address, "code": link})})
        return
    _print_account(account)
    if address is not None:
        console.print(f"Link, once and for 24 hours: {address}", markup=False, soft_wrap=True)


def _pages(folder: Folder) -> str:
    """Where the pages of this folder's Lichtmast are; nothing where it does not run."""
    remote = Remote.find(folder)
    return "" if remote is None else str(remote.get("/status").get("http_url", "")).rstrip("/")


def _print_account(account: Account) -> None:
    state = "" if account.active else ", suspended"
    factor = "with a second factor" if account.has_second_factor else "without a second factor"
    console.print(f"{account.login}  {account.name}  ({factor}{state})", markup=False)
    for one in account.held:
        console.print(f"  {one.id}  {_grant_text(one.grant)}", markup=False)


def _grant_text(grant: Grant) -> str:
    where = "all tenants" if grant.tenant == EVERY_TENANT else grant.tenant
    area = "" if grant.area is None else ", in an area"
    until = "" if grant.until_us is None else f", until {_time_text(grant.until_us)}"
    return f"{grant.role.value} in {where}{area}{until}"


def _time_text(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _as_json(account: Account) -> dict[str, Any]:
    return {
        "login": account.login,
        "name": account.name,
        "active": account.active,
        "second_factor": account.has_second_factor,
        "roles": [
            {
                "id": one.id,
                "role": one.grant.role.value,
                "tenant": one.grant.tenant,
                "area": None if one.grant.area is None else [list(corner) for corner in one.grant.area.corners],
                "until": None if one.grant.until_us is None else _time_text(one.grant.until_us),
            }
            for one in account.held
        ],
    }
