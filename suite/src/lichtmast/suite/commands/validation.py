"""`lichtmast validation`: what is believable, since when and by whom, and what other rules would have flagged.

Works on the register itself, beside a running Lichtmast too, which judges by a change within a second. The form of a
file of rules is docs/reference/validation.md.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from lichtmast.registry import Registry
from lichtmast.registry.limits import VALIDATION_TRIAL_DAYS_DEFAULT, VALIDATION_TRIAL_DAYS_MAX
from lichtmast.registry.validation import RulesVersion
from lichtmast.suite.clock import now_us
from lichtmast.suite.commands.data_folder import used_folder
from lichtmast.suite.commands.output import DataOption, JsonOption, console, messages, print_json
from lichtmast.suite.errors import OperatorError, SuiteError
from lichtmast.suite.folder import Folder
from lichtmast.suite.operator_actor import operator_actor
from lichtmast.suite.remote import Remote
from lichtmast.wire.profile import load_profiles
from lichtmast.wire.validation import read_rules, spelled

app = typer.Typer(name="validation", no_args_is_help=True, help="Rules of what is believable: show, set, try, history.")

_FILE_BYTES_MAX: Final = 4 * 1024**2
FileArgument = Annotated[Path, typer.Argument(help="Rules in TOML or JSON.", exists=True, dir_okay=False)]
VersionArgument = Annotated[int, typer.Argument(min=0, help="A version; 0 is the profiles alone.")]


@app.command()
def show(
    profile: Annotated[str | None, typer.Argument(help="One profile. Default: all.", show_default=False)] = None,
    *,
    version: Annotated[int | None, typer.Option(min=0, help="An older one.", show_default="the newest")] = None,
    file: Annotated[
        bool, typer.Option("--file", help="Print the document itself, in TOML: to save, change and set.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """What holds for each number that a profile sends. A * marks what the document says, not the profile."""
    known = load_profiles()
    if profile is not None and profile not in known:
        raise SuiteError(f"there is no profile {profile[:60]!r}; there are {', '.join(known)}")
    with _register(data) as registry:
        number = registry.validation.current().version if version is None else version
        document, who = _document(registry, number), registry.validation.version(number)
    if file:
        typer.echo(as_toml(document), nl=False)
        return
    rules = read_rules(document, number)
    profiles = {key: spelled(rules, one) for key, one in known.items() if profile in {None, key}}
    if as_json:
        print_json({"version": number, "document": document, "profiles": profiles})
        return
    _print("Version 0, the profiles alone." if who is None else _line(who))
    for key, outcomes in profiles.items():
        _show_profile(key, outcomes, document.get("profile", {}).get(key, {}))
    for datastream, fields in document.get("datastream", {}).items():
        _print(f"datastream {datastream}: " + ", ".join(f"{name} {_value(value)}*" for name, value in fields.items()))


@app.command(name="set")
def set_(
    file: FileArgument,
    note: Annotated[str, typer.Option(help="Why, for whoever reads the history.")],
    *,
    based_on: Annotated[
        int | None,
        typer.Option(
            "--based-on", min=0, help="The version that you changed; needed once there is one.", show_default=False
        ),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a file the rules, as a whole. A running Lichtmast judges by them within a second, without a restart."""
    document = read_document(file)
    with _register(data) as registry:
        newest = registry.validation.current().version
        if based_on is None and newest:
            # Nobody is overwritten without a word: a version is changed only by who says to know it.
            raise OperatorError(
                f"the rules are at version {newest}; print it with lichtmast validation show --file, change "
                f"that, and say --based-on {newest}"
            )
        rules = registry.validation.put(document, note, by=operator_actor(), at_us=now_us(), based_on=based_on or 0)
    if as_json:
        print_json({"version": rules.version})
    else:
        _print(f"Version {rules.version} holds.")


@app.command()
def history(*, data: DataOption = None, as_json: JsonOption = False) -> None:
    """The newest hundred versions: when, who and why."""
    with _register(data) as registry:
        versions = registry.validation.history()
    if as_json:
        print_json({"versions": [_as_json(one) for one in versions]})
        return
    for one in versions:
        _print(_line(one))
    if not versions:
        _print("Nobody set rules yet: the profiles alone say what is believable.")


@app.command()
def diff(
    before: VersionArgument, after: VersionArgument, *, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """What changed from one version to another, a line a field."""
    with _register(data) as registry:
        old, new = (_flat(_document(registry, number)) for number in (before, after))
    changes = {
        path: {"before": old.get(path), "after": new.get(path)}
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    }
    if as_json:
        print_json({"before": before, "after": after, "changes": changes})
        return
    for path, change in changes.items():
        _print(f"{path}: {_value(change['before'])} -> {_value(change['after'])}")
    if not changes:
        _print("Nothing changed.")


@app.command(name="try")
def try_(
    file: FileArgument,
    *,
    days: Annotated[
        float, typer.Option(min=0.01, max=VALIDATION_TRIAL_DAYS_MAX, help="How far back.")
    ] = VALIDATION_TRIAL_DAYS_DEFAULT,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hold a file of rules against what is stored, beside the rules that hold now; nothing is changed."""
    folder, document = used_folder(data), read_document(file)
    with messages.status("Trying"):
        remote = Remote.find(folder)
        told = (
            _try_here(folder, document, days)
            if remote is None
            else remote.post("/validation/trials", {"document": document, "days": days})
        )
    if as_json:
        print_json(told)
    else:
        _show_trial(told)


def read_document(file: Path) -> Mapping[str, Any]:
    """A file of rules, TOML unless its name ends in .json. Raises SuiteError."""
    try:
        if file.stat().st_size > _FILE_BYTES_MAX:
            raise SuiteError(f"{file} has more than {_FILE_BYTES_MAX} bytes: that is no file of rules")
        text = file.read_text(encoding="utf-8")
        document = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise SuiteError(f"{file} is not {'JSON' if file.suffix == '.json' else 'TOML'}: {error}") from error
    if not isinstance(document, dict):
        raise SuiteError(f"{file} is not a table of rules")
    return document


def as_toml(document: Mapping[str, Any]) -> str:
    """The document as a file that `set` takes back."""
    lines: list[str] = []
    for path, fields in _by_table(document).items():
        lines += [f"[{path}]", *(f"{name} = {_value(value)}" for name, value in fields.items()), ""]
    return "\n".join(lines)


def _value(value: object) -> str:
    """As TOML has it; a dash for what is not given."""
    if value is None:
        return "-"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {_value(one)}' for name, one in value.items())} }}"
    return json.dumps(value)


def _by_table(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    profiles = {
        f"profile.{profile}.{key}": fields
        for profile, tables in document.get("profile", {}).items()
        for key, fields in tables.items()
    }
    return profiles | {f"datastream.{number}": fields for number, fields in document.get("datastream", {}).items()}


def _flat(document: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{path}.{name}": value for path, fields in _by_table(document).items() for name, value in fields.items()}


def _document(registry: Registry, number: int) -> Mapping[str, Any]:
    found = registry.validation.version(number)
    if found is None and number:
        raise OperatorError(f"there is no version {number} of the rules; see: lichtmast validation history")
    return {} if found is None else found.document


def _try_here(folder: Folder, document: Mapping[str, Any], days: float) -> dict[str, Any]:
    # Loaded here: the store and the pipeline take longer than all other commands of this file.
    from lichtmast.ingest.validation.trial import try_rules  # noqa: PLC0415 - see above
    from lichtmast.store import DuckStore  # noqa: PLC0415 - see above

    with Registry.open(folder.registry) as registry:
        rules = registry.validation.draft(document)
        store = DuckStore.open(folder.store, clock_us=now_us)
        try:
            return try_rules(store, registry.directory(), rules, days, now_us())
        finally:
            store.close()


@contextmanager
def _register(data: Path | None) -> Iterator[Registry]:
    folder = used_folder(data)
    if not folder.registry.is_file():
        raise SuiteError(f"there is no register in {folder.path}; name the data folder with --data")
    with Registry.open(folder.registry) as registry:
        yield registry


def _as_json(one: RulesVersion) -> dict[str, Any]:
    return {"version": one.version, "note": one.note, "by": one.by.name, "at": _moment(one)}


def _line(one: RulesVersion) -> str:
    return f"Version {one.version}, {_moment(one)} by {one.by.name}: {one.note}"


def _moment(one: RulesVersion) -> str:
    return f"{datetime.fromtimestamp(one.at_us / 1e6, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _print(line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _show_profile(key: str, outcomes: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any]) -> None:
    """A line a capability, with what is checked and nothing else: no table of so many columns fits a terminal."""
    _print(f"\n{key}")
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    for capability, outcome in outcomes.items():
        own = given.get(capability, {})
        told = [f"{name} {_told(value)}{'*' * (name in own)}" for name, value in outcome.items() if value or value == 0]
        off = [f"{name} off*" for name, value in own.items() if value is False]
        table.add_row(f"  {capability}", Text(", ".join(told + off)))
    console.print(table)


def _told(value: Any) -> str:  # noqa: ANN401 - a number, or conversions as `spelled` has them
    if isinstance(value, list):
        offsets = ("" if one["offset"] == "0" else f" + {one['offset']}" for one in value)
        return ", ".join(f"{one['unit']} * {one['scale']}{offset}" for one, offset in zip(value, offsets, strict=True))
    return f"{value:g}"


def _show_trial(told: Mapping[str, Any]) -> None:
    tried, concerned = told["series"]["tried"], told["series"]["concerned"]
    if not concerned:
        _print("These rules flag what the present ones flag; only units that they accept can differ.")
        return
    some = "" if tried == concerned else f", {tried} of them read"
    _print(f"{told['readings']} readings of {concerned} series{some}, from {told['from']} to {told['to']}.")
    for one in told["changes"]:
        _print(
            f"{one['profile']}.{one['capability']} {one['flag']}: {one['now']} now, {one['tried']} by these rules; "
            f"{one['gained']} new, {one['lost']} no more"
        )
        for example in one["examples"]:
            what = "new" if example["gained"] else "no more"
            _print(
                f"  {what}: {example['result']:g} at {example['at']}, {example['device']}, series {example['series']}"
            )
    if not told["changes"]:
        _print("No flag would be another.")
