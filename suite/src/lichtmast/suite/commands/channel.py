"""`lichtmast channel`: to whom notifications of alerts go, whether they arrive, and what was given up.

In the register itself, beside a running Lichtmast or a stopped one; a test needs the running one, which sends.
"""

from typing import Annotated, Any

import typer

from lichtmast.registry.notifying import Channel, ChannelKind, DeliveryRecord, DeliveryState, parse_channel, secret_text
from lichtmast.registry.people import Seal
from lichtmast.suite.clock import now_us
from lichtmast.suite.commands.data_folder import used_folder
from lichtmast.suite.commands.output import DataOption, JsonOption, print_json
from lichtmast.suite.commands.register import TenantOption, moment, open_register, print_line
from lichtmast.suite.errors import OperatorError
from lichtmast.suite.operator_actor import operator_actor
from lichtmast.suite.remote import Remote
from lichtmast.suite.unlock import unlock_secret

app = typer.Typer(name="channel", no_args_is_help=True, help="Channels of notifications: list, add, test, remove.")


def _number(text: str) -> int:
    """A name has one in each municipality; a number is one channel."""
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 19):  # noqa: PLR2004 - what the register can hold
        raise typer.BadParameter(f"{text!r} is not the number of a channel; see: lichtmast channel list")
    return int(text)


NumberArgument = Annotated[int, typer.Argument(metavar="CHANNEL", parser=_number, help="Its number in `channel list`.")]


@app.command(name="list")
def list_(tenant: TenantOption = None, data: DataOption = None, *, as_json: JsonOption = False) -> None:
    """Show the channels that are in use."""
    with open_register(data) as registry:
        found = registry.notifying.channels(tenant)
    if as_json:
        print_json({"channels": [_as_json(one) for one in found]})
        return
    for one in found:
        print_line(_line(one))
    if not found:
        print_line("No channel yet; add one with: lichtmast channel add NAME --tenant gm0402 --kind email --target …")


@app.command()
def add(  # noqa: PLR0913 - one parameter an option
    name: Annotated[str, typer.Argument(help="Small letters, digits and hyphens, such as on-call.")],
    tenant: Annotated[str, typer.Option(help="The municipality, such as gm0402.")],
    kind: Annotated[ChannelKind, typer.Option(help="How it is reached.")],
    data: DataOption = None,
    *,
    target: Annotated[str, typer.Option(help="The e-mail address or the webhook's.", show_default="none")] = "",
    language: Annotated[str, typer.Option(help="nl or en.")] = "nl",
    severity: Annotated[str, typer.Option(help="info, warning or critical: this and worse.")] = "warning",
    rule: Annotated[list[str] | None, typer.Option(help="Only this rule's; repeatable.", show_default="all")] = None,
    quiet: Annotated[
        str | None,
        typer.Option(metavar="FROM-UNTIL", help="Quiet hours, such as 22:00-07:00.", show_default="none"),
    ] = None,
    escalate_to: Annotated[
        str | None, typer.Option(help="The channel that hears it where nobody acknowledges.", show_default="none")
    ] = None,
    escalate_after: Annotated[int, typer.Option(min=1, help="Minutes until then.")] = 15,
    as_json: JsonOption = False,
) -> None:
    """Make a channel, or change the one of this name. The secret of a webhook is printed once."""
    document: dict[str, Any] = {"name": name, "kind": kind.value, "language": language, "severity": severity}
    if target:
        document["target"] = target
    if rule:
        document["rules"] = rule
    if quiet is not None:
        first, _, last = quiet.partition("-")
        document["quiet"] = {"from": first, "until": last}
    if escalate_to is not None:
        document["escalate"] = {"after_s": escalate_after * 60, "to": escalate_to}
    draft = parse_channel(tenant, document)
    with open_register(data) as registry:
        seal = Seal.from_secret(unlock_secret(used_folder(data)))
        channel, secret = registry.notifying.put(draft, seal, by=operator_actor(), at_us=now_us())
    shown = None if secret is None else secret_text(secret)
    if as_json:
        print_json(_as_json(channel) | ({} if shown is None else {"secret": shown}))
        return
    print_line(_line(channel))
    if shown is not None:
        print_line(f"Secret, shown once; the receiver checks signatures with it: {shown}")


@app.command(name="test")
def send_test(number: NumberArgument, data: DataOption = None, *, as_json: JsonOption = False) -> None:
    """Send a test message through the running Lichtmast, and print what the other side said. Exit code 1 for a no."""
    folder = used_folder(data)
    remote = Remote.find(folder)
    if remote is None:
        raise OperatorError(f"no Lichtmast runs on {folder.path}; start it with: lichtmast up --data {folder.path}")
    told = remote.post(f"/alerts/channels/{number}/tests", {})
    if as_json:
        print_json(told)
    else:
        print_line(f"{'sent' if told['accepted'] else 'not sent'}: {told['words']}")
    raise typer.Exit(0 if told["accepted"] else 1)


@app.command()
def remove(number: NumberArgument, data: DataOption = None, *, as_json: JsonOption = False) -> None:
    """Take a channel out of use; what waits for it is dropped."""
    with open_register(data) as registry:
        channel = registry.notifying.channel(number)
        registry.notifying.remove(number, by=operator_actor(), at_us=now_us())
    if as_json:
        print_json(_as_json(channel))
    else:
        print_line(f"channel {number}, {channel.draft.name} of {channel.draft.tenant}, is removed")


@app.command()
def deliveries(
    tenant: TenantOption = None,
    data: DataOption = None,
    *,
    state: Annotated[DeliveryState | None, typer.Option(help="Only these.", show_default="all")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="At most so many.")] = 40,
    as_json: JsonOption = False,
) -> None:
    """Show what was sent, what waits and what was given up, the newest first."""
    with open_register(data) as registry:
        found = registry.notifying.deliveries(tenant, state=state, limit=limit)
    if as_json:
        print_json({"deliveries": [_delivery_as_json(one) for one in found]})
        return
    for one in found:
        print_line(_delivery_line(one))


@app.command()
def retry(
    number: Annotated[int, typer.Argument(metavar="DELIVERY", min=1, help="Its number in `channel deliveries`.")],
    data: DataOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Send a message again that was given up."""
    with open_register(data) as registry:
        again = registry.notifying.retry(number, by=operator_actor(), at_us=now_us())
    if as_json:
        print_json(_delivery_as_json(again))
    else:
        print_line(_delivery_line(again))


def _line(one: Channel) -> str:
    draft = one.draft
    quiet = draft.quiet and f", quiet {_clock(draft.quiet.from_minute)} to {_clock(draft.quiet.until_minute)}"
    escalates = draft.escalate_to and f", after {(draft.escalate_after_s or 0) // 60} min to {draft.escalate_to}"
    rules = f", rules {', '.join(draft.rules)}" if draft.rules else ""
    target = f" {draft.target}" if draft.target else ""
    return (
        f"{one.id}  {draft.name}, {draft.tenant}: {draft.kind.value}{target}, {draft.severity} and worse"
        f"{rules}{quiet or ''}{escalates or ''}"
    )


def _as_json(one: Channel) -> dict[str, Any]:
    draft = one.draft
    quiet = draft.quiet and {"from": _clock(draft.quiet.from_minute), "until": _clock(draft.quiet.until_minute)}
    return {
        "channel": one.id,
        "tenant": draft.tenant,
        "name": draft.name,
        "kind": draft.kind.value,
        "target": draft.target,
        "language": draft.language,
        "severity": draft.severity,
        "rules": list(draft.rules),
        "quiet": quiet,
        "escalate": draft.escalate_to and {"after_s": draft.escalate_after_s, "to": draft.escalate_to},
    }


def _delivery_line(one: DeliveryRecord) -> str:
    answer = f": {one.answer}" if one.answer else ""
    return (
        f"{one.id}  {one.state.value}, {moment(one.due_at_us)}, alert {one.notice.episode_id} {one.notice.event}"
        f" on {one.channel}, {one.attempts} attempts{answer}"
    )


def _delivery_as_json(one: DeliveryRecord) -> dict[str, Any]:
    return {
        "delivery": one.id,
        "alert": one.notice.episode_id,
        "event": one.notice.event,
        "channel": one.channel,
        "channel_id": one.channel_id,
        "state": one.state.value,
        "due": moment(one.due_at_us),
        "attempts": one.attempts,
        "next_try": moment(one.next_try_at_us),
        "answer": one.answer,
        "ended": moment(one.ended_at_us),
    }


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
