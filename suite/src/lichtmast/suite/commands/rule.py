"""`lichtmast rule`: what is watched, in words; add, change and try rules of alerts, and switch them on and off.

In the register itself, so it works beside a running Lichtmast, which goes by a change within seconds, and on a stopped
one. A file of rules is TOML or JSON: one rule, or several as `[[rule]]` (docs/reference/alerts.md).
"""

import json
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from lichtmast.registry import Registry, UnknownRecordError
from lichtmast.registry.alerts import AlertRule, document_of, parse_rule, sentence
from lichtmast.suite.clock import now_us
from lichtmast.suite.commands.data_folder import used_folder
from lichtmast.suite.commands.output import DataOption, JsonOption, print_json
from lichtmast.suite.commands.register import TenantOption, moment, open_register, print_line
from lichtmast.suite.errors import SuiteError
from lichtmast.suite.folder import Folder
from lichtmast.suite.limits import RULE_FILE_BYTES_MAX, TRIAL_DAYS_DEFAULT, TRIAL_DAYS_MAX
from lichtmast.suite.operator_actor import operator_actor
from lichtmast.suite.remote import Remote

app = typer.Typer(name="rule", no_args_is_help=True, help="Rules of alerts: list, show, add, try, on, off, remove.")

SHOWN_MAX: Final = 40
NumberArgument = Annotated[int, typer.Argument(metavar="RULE", min=1, help="Its number in `rule list`.")]
FileArgument = Annotated[Path, typer.Argument(help="Rules in TOML or JSON.", exists=True, dir_okay=False)]
ForOption = Annotated[
    str | None,
    typer.Option("--tenant", help="The municipality, for rules that name none, such as gm0402.", show_default=False),
]


@app.command(name="list")
def list_(tenant: TenantOption = None, data: DataOption = None, *, as_json: JsonOption = False) -> None:
    """Show every rule as a sentence."""
    with open_register(data) as registry:
        found = registry.alerts.rules(tenant)
    if as_json:
        print_json({"rules": [_as_json(one) for one in found]})
        return
    for one in found:
        print_line(_line(one))
    if not found:
        print_line(
            "No rule yet; some to begin with: lichtmast rule defaults > rules.toml; then: lichtmast rule try, add"
        )


@app.command()
def show(
    number: NumberArgument,
    data: DataOption = None,
    *,
    document: Annotated[
        bool, typer.Option("--document", help="Print the rule itself, in JSON: to save, change and add.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a rule and its versions, the newest first."""
    with open_register(data) as registry:
        rule = _known(registry, number)
        versions = registry.alerts.rule_versions(number)
    if document:
        typer.echo(json.dumps(document_of(rule), ensure_ascii=False, indent=2))
        return
    history = [
        {
            "version": one.rule.version,
            "at": moment(one.at_us),
            "by": one.by.name,
            "sentence": sentence(one.rule),
            "document": document_of(one.rule),
        }
        for one in versions
    ]
    if as_json:
        print_json(_as_json(rule) | {"versions": history})
        return
    print_line(_line(rule))
    for line in history:
        print_line(f"  version {line['version']}, {line['at']} by {line['by']}: {line['sentence']}")


@app.command()
def add(
    file: FileArgument,
    tenant: ForOption = None,
    data: DataOption = None,
    *,
    based_on: Annotated[
        int | None,
        typer.Option(
            min=0, help="Of one rule: the version that you saw, 0 for none.", show_default="whatever there is"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Add the rules of a file: all of them, or none. One of the same name gets a new version; an equal one stays."""
    documents = read_rules(file, tenant)
    if based_on is not None and len(documents) != 1:
        raise typer.BadParameter("--based-on belongs to a file with one rule")
    with open_register(data) as registry:
        by, at_us = operator_actor(), now_us()
        if based_on is None:
            added = registry.alerts.put_rules(documents, by=by, at_us=at_us)
        else:
            added = [registry.alerts.put_rule(documents[0], by=by, at_us=at_us, based_on=based_on)]
    if as_json:
        print_json({"rules": [_as_json(one) for one in added]})
        return
    for one in added:
        print_line(_line(one))


@app.command(name="try")
def try_(
    file: FileArgument,
    tenant: ForOption = None,
    data: DataOption = None,
    *,
    days: Annotated[float, typer.Option(min=0.01, max=TRIAL_DAYS_MAX, help="How far back.")] = TRIAL_DAYS_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Say when the rules of a file would have fired lately. Nothing is changed, and nobody is told."""
    folder = used_folder(data)
    documents = read_rules(file, tenant)
    with open_register(data) as registry:
        remote = Remote.find(folder)
        told = [
            _try_here(folder, registry, one, days)
            if remote is None
            else remote.post("/alerts/trials", {"document": one, "days": days})
            for one in documents
        ]
    if as_json:
        print_json({"trials": told})
        return
    for one in told:
        print_line(one["sentence"])
        print_line(f"  {one['readings']} readings were looked at, until {one['until']}")
        for episode in one["episodes"][:SHOWN_MAX]:
            until = episode["until"] or "now"
            print_line(f"  {episode['from']} until {until}, {episode['subject']}: {episode['because']}")
        if one["fired"] > SHOWN_MAX:
            print_line(f"  and {one['fired'] - SHOWN_MAX} more, in --json")


@app.command()
def defaults(*, as_json: JsonOption = False) -> None:
    """Print the rules that a municipality begins with, as a file: to read, change, try and add."""
    text = files("lichtmast.ingest.alerting").joinpath("default_rules.toml").read_text(encoding="utf-8")
    if as_json:
        print_json(tomllib.loads(text))
    else:
        typer.echo(text, nl=False)


@app.command()
def on(number: NumberArgument, data: DataOption = None, *, as_json: JsonOption = False) -> None:
    """Switch a rule on."""
    _switch(number, data, enabled=True, as_json=as_json)


@app.command()
def off(number: NumberArgument, data: DataOption = None, *, as_json: JsonOption = False) -> None:
    """Switch a rule off; its alerts end."""
    _switch(number, data, enabled=False, as_json=as_json)


@app.command()
def remove(number: NumberArgument, data: DataOption = None, *, as_json: JsonOption = False) -> None:
    """Delete a rule: its alerts end, its versions stay readable."""
    with open_register(data) as registry:
        rule = _known(registry, number)
        registry.alerts.delete_rule(number, by=operator_actor(), at_us=now_us())
    if as_json:
        print_json(_as_json(rule))
    else:
        print_line(f"rule {rule.id}, {rule.name} of {rule.tenant}, is deleted")


def read_rules(file: Path, tenant: str | None) -> list[Mapping[str, Any]]:
    """The rules of a file, each with its municipality. Raises SuiteError or AlertRuleError."""
    kind = "JSON" if file.suffix == ".json" else "TOML"
    try:
        if file.stat().st_size > RULE_FILE_BYTES_MAX:
            raise SuiteError(f"{file} has more than {RULE_FILE_BYTES_MAX} bytes: that is no file of rules")
        text = file.read_text(encoding="utf-8")
        document = json.loads(text) if kind == "JSON" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SuiteError(f"{file} is not {kind}: {error}") from error
    if not isinstance(document, dict):
        raise SuiteError(f"{file} is not a rule; it is a table, as in docs/reference/alerts.md")
    several = document.get("rule", [document])
    if not isinstance(several, list) or not all(isinstance(one, dict) for one in several):
        raise SuiteError(f"{file}: rule must be a list of rules, as in [[rule]]")
    if tenant is None and not all("tenant" in one for one in several):
        raise SuiteError(f"{file}: tenant: is missing; name the municipality with --tenant, such as gm0402")
    return [one if tenant is None else {"tenant": tenant} | one for one in several]


def _known(registry: Registry, number: int) -> AlertRule:
    """A rule. Raises SuiteError, which names the command that lists them."""
    try:
        return registry.alerts.rule(number)
    except UnknownRecordError as error:
        raise SuiteError(f"there is no rule {number}; see: lichtmast rule list") from error


def _try_here(folder: Folder, registry: Registry, document: Mapping[str, Any], days: float) -> dict[str, Any]:
    rule = parse_rule(document)
    # Loaded here: the store and the engine take longer than all other commands of this file.
    from lichtmast.store import DuckStore  # noqa: PLC0415 - see above
    from lichtmast.suite.alert_trial import trial_told  # noqa: PLC0415 - see above

    store = DuckStore.open(folder.store, clock_us=now_us)
    try:
        return trial_told(store, registry, rule, days, now_us())
    finally:
        store.close()


def _switch(number: int, data: Path | None, *, enabled: bool, as_json: bool) -> None:
    with open_register(data) as registry:
        _known(registry, number)
        rule = registry.alerts.switch_rule(number, enabled=enabled, by=operator_actor(), at_us=now_us())
    if as_json:
        print_json(_as_json(rule))
    else:
        print_line(_line(rule))


def _line(rule: AlertRule) -> str:
    return f"{rule.id}  {rule.name}, {rule.tenant}, version {rule.version}: {sentence(rule)}"


def _as_json(rule: AlertRule) -> dict[str, Any]:
    return {
        "rule": rule.id,
        "version": rule.version,
        "tenant": rule.tenant,
        "name": rule.name,
        "enabled": rule.enabled,
        "sentence": sentence(rule),
        "document": document_of(rule),
    }
