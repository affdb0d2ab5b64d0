"""`lichtmast alert`: see alerts, and take them up: acknowledge, assign, comment, shelve, clear.

In the register itself, so it works beside a running Lichtmast and on a stopped one. The log of changes names the
account that ran the command.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from lichtmast.registry.alerts import (
    OPEN_STATES,
    Episode,
    EpisodeFile,
    EpisodeState,
    InboxQuery,
    Refused,
    Severity,
    sentence,
)
from lichtmast.registry.alerts.limits import EPISODES_PAGE_MAX
from lichtmast.registry.alerts.rules import SEVERITIES
from lichtmast.suite.clock import now_us
from lichtmast.suite.commands.output import DataOption, JsonOption, print_json
from lichtmast.suite.commands.register import TenantOption, moment, open_register, parse_moment, print_line
from lichtmast.suite.errors import SuiteError
from lichtmast.suite.operator_actor import operator_actor

app = typer.Typer(name="alert", no_args_is_help=True, help="Alerts: list, show, acknowledge, shelve, comment, clear.")

NumberArgument = Annotated[int, typer.Argument(metavar="ALERT", min=1, help="Its number in `alert list`.")]
StateOption = Annotated[
    list[EpisodeState] | None,
    typer.Option("--state", help="Repeatable. Default: all that are open.", show_default=False),
]


@app.command(name="list")
def list_(
    tenant: TenantOption = None,
    data: DataOption = None,
    *,
    state: StateOption = None,
    severity: Annotated[Severity, typer.Option(help="This one and worse.")] = Severity.INFO,
    owner: Annotated[str | None, typer.Option(help="Whose they are.", show_default="anybody's")] = None,
    grouped: Annotated[bool, typer.Option("--grouped", help="Also those that another alert speaks for.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=EPISODES_PAGE_MAX, help="At most so many.")] = 40,
    as_json: JsonOption = False,
) -> None:
    """Show alerts, the newest first: open ones, unless --state says otherwise."""
    query = InboxQuery(
        states=frozenset(state) if state else OPEN_STATES,
        severities=SEVERITIES[SEVERITIES.index(severity) :],
        tenants=None if tenant is None else (tenant,),
        owner=owner,
        with_grouped=grouped,
        limit=limit,
    )
    with open_register(data) as registry:
        found = registry.alerts.inbox(query, now_us=now_us())
        counts = registry.alerts.counts(query.tenants, now_us=now_us())
    if as_json:
        told = {one.value: count for one, count in counts.items()}
        print_json(
            {"alerts": [_as_json(one.episode) | {"speaks_for": one.speaks_for} for one in found], "counts": told}
        )
        return
    for one in found:
        more = f", and for {one.speaks_for} more" if one.speaks_for else ""
        print_line(f"{_line(one.episode)}{more}")
    whose = "" if tenant is None else f" of {tenant}"  # the other options narrow the lines, not these figures
    print_line(f"in all{whose}: {', '.join(f'{count} {one.value}' for one, count in counts.items())}")


@app.command()
def show(number: NumberArgument, data: DataOption = None, *, as_json: JsonOption = False) -> None:
    """Show one alert: why, what its rule says, who did what, and the alerts that it speaks for."""
    with open_register(data) as registry:
        found = registry.alerts.file(number, now_us=now_us())
    if found is None:
        raise SuiteError(f"there is no alert {number}; see: lichtmast alert list --state cleared")
    if as_json:
        print_json(_file_as_json(found))
        return
    print_line(_line(found.episode))
    print_line(f"rule {found.rule.id}, version {found.rule.version}: {sentence(found.rule)}")
    for entry in found.entries:
        words = f": {entry.words}" if entry.words else ""
        print_line(f"  {moment(entry.at_us)}  {entry.kind.value.replace('_', ' ')} by {entry.by.name}{words}")
    for one in found.members:
        print_line(f"  speaks for {_line(one)}")


@app.command()
def ack(number: NumberArgument, data: DataOption = None, *, as_json: JsonOption = False) -> None:
    """Acknowledge an alert: somebody has it, and nobody else is woken."""
    with open_register(data) as registry:
        _tell(registry.alerts.acknowledge(number, by=operator_actor(), at_us=now_us()), as_json=as_json)


@app.command()
def shelve(
    number: NumberArgument,
    reason: Annotated[str, typer.Option(help="Why nobody needs to look.")],
    until: Annotated[
        datetime,
        typer.Option(parser=parse_moment, metavar="MOMENT", help="When it comes back, UTC: 2026-12-01T07:00."),
    ],
    data: DataOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Look away from an alert until a moment, for a reason; then it is back in the list."""
    until_us = int(until.replace(tzinfo=UTC).timestamp()) * 1_000_000
    with open_register(data) as registry:
        _tell(registry.alerts.shelve(number, until_us, reason, by=operator_actor(), at_us=now_us()), as_json=as_json)


@app.command()
def unshelve(number: NumberArgument, data: DataOption = None, *, as_json: JsonOption = False) -> None:
    """Take an alert off the shelf before its time."""
    with open_register(data) as registry:
        _tell(registry.alerts.unshelve(number, by=operator_actor(), at_us=now_us()), as_json=as_json)


@app.command()
def comment(
    number: NumberArgument,
    words: Annotated[str, typer.Argument(help="What there is to say.")],
    data: DataOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Say something about an alert, for whoever reads it next."""
    with open_register(data) as registry:
        _tell(registry.alerts.comment(number, words, by=operator_actor(), at_us=now_us()), as_json=as_json)


@app.command()
def assign(
    number: NumberArgument,
    owner: Annotated[str | None, typer.Argument(help="Whose it is. Left out: nobody's.", show_default=False)] = None,
    data: DataOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Say whose an alert is."""
    with open_register(data) as registry:
        _tell(registry.alerts.assign(number, owner, by=operator_actor(), at_us=now_us()), as_json=as_json)


@app.command()
def clear(
    number: NumberArgument,
    evidence: Annotated[str, typer.Option(help="How you know that it is over.")],
    data: DataOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """End an alert by hand, with the evidence that it is over."""
    with open_register(data) as registry:
        _tell(registry.alerts.clear(number, evidence, by=operator_actor(), at_us=now_us()), as_json=as_json)


def _tell(outcome: Episode | Refused, *, as_json: bool) -> None:
    """Say how it stands. Raises SuiteError where it was refused."""
    if isinstance(outcome, Refused):
        raise SuiteError(f"alert {outcome.episode.id}: {outcome.text}")
    if as_json:
        print_json(_as_json(outcome))
    else:
        print_line(_line(outcome))


def _line(one: Episode) -> str:
    owner = f" of {one.owner}" if one.owner else ""
    shelf = f" until {moment(one.shelved_until_us)}" if one.state is EpisodeState.SHELVED else ""
    times = f" ({one.count} times)" if one.count > 1 else ""
    work = ", work goes on there" if one.in_maintenance else ""
    where = f"{one.facts.tenant} {one.facts.name or one.subject}"
    why = one.because if one.ended_because is None else f"over: {one.ended_because}"
    return (
        f"{one.id}  {one.severity.value}, {one.state.value}{shelf}{owner}  {moment(one.raised_at_us)}{times}"
        f"  {where}: {one.rule_name}{work}: {why}"
    )


def _as_json(one: Episode) -> dict[str, Any]:
    facts = one.facts
    return {
        "alert": one.id,
        "version": one.version,
        "state": one.state.value,
        "severity": one.severity.value,
        "tenant": facts.tenant,
        "rule": one.rule_name,
        "rule_id": one.rule_id,
        "rule_version": one.rule_version,
        "subject": one.subject,
        "name": facts.name,
        "device": facts.device,
        "asset_id": facts.asset_id,
        "raised": moment(one.raised_at_us),
        "last_raised": moment(one.last_raised_at_us),
        "cleared": moment(one.cleared_at_us),
        "count": one.count,
        "value": one.value,
        "because": one.because,
        "ended_because": one.ended_because,
        "owner": one.owner,
        "acknowledged_by": one.acknowledged_by,
        "shelved_until": moment(one.shelved_until_us),
        "shelved_because": one.shelved_because,
        "in_maintenance": one.in_maintenance,
        "cause": one.cause_id,
    }


def _file_as_json(found: EpisodeFile) -> dict[str, Any]:
    history = [
        {"at": moment(one.at_us), "what": one.kind.value, "by": one.by.name, "words": one.words}
        for one in found.entries
    ]
    members = [_as_json(one) for one in found.members]
    return _as_json(found.episode) | {"sentence": sentence(found.rule), "history": history, "members": members}
