"""`lichtmast alert`, `rule` and `channel`: on the register itself, with words, JSON and exit codes."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from alert_shelf import RULE, begin_alert, failed_delivery
from typer.testing import CliRunner, Result

from lichtmast.registry import DeviceStatus, NewDevice, Registry
from lichtmast.registry.auditing import LOCAL_COMMAND
from lichtmast.registry.importing import import_source
from lichtmast.store import DuckStore
from lichtmast.store.port import LEDGER_SCHEMA, OBSERVATION_SCHEMA, QUARANTINE_SCHEMA, Batch
from lichtmast.suite.__main__ import app, expected
from lichtmast.suite.clock import now_us
from lichtmast.suite.folder import Folder
from lichtmast.wire import DeviceId
from lichtmast.wire.topics import READINGS_STREAM

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
TENANT = "gm0402"
HOT = """
[[rule]]
name = "too hot"
severity = "critical"
scope = { capability = "temperature" }
condition = { kind = "threshold", above = 35.0, for_s = 600 }
[[rule]]
name = "silent"
severity = "warning"
condition = { kind = "absence" }
"""
Run = Callable[..., Result]
Told = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    made = Folder.choose(tmp_path_factory.mktemp("alerts") / "data")
    (made.path / "palen.csv").write_text("id,naam,lon,lat\nP1,Kerkstraat 1,5.17,52.22\n")
    with Registry.open(made.registry) as registry:
        registry.ensure_tenant(TENANT, "Hilversum")
        registry.ensure_tenant("gm0344", "Utrecht")
        registry.import_assets(TENANT, import_source("csv", made.path / "palen.csv"), dry_run=False)
    return made


@pytest.fixture
def register(folder: Folder) -> Iterator[Registry]:
    with Registry.open(folder.registry) as registry:
        yield registry


@pytest.fixture
def run(folder: Folder) -> Run:
    return lambda *words: CliRunner().invoke(app, [*map(str, words), "--data", str(folder.path)])


@pytest.fixture
def told(run: Run) -> Callable[..., dict[str, Any]]:
    def call(*words: object) -> dict[str, Any]:
        done = run(*words, "--json")
        assert done.exit_code == 0, done.output + repr(done.exception)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return call


def refused(done: Result) -> str:
    """The one line that the command tells instead."""
    assert isinstance(done.exception, expected()), done.output
    assert done.stdout == ""
    return str(done.exception)


def unfolded(done: Result) -> str:
    """What a usage error says, without the frame that Rich folds it into."""
    return " ".join(done.output.replace("│", " ").split())


def test_an_alert_is_taken_up_and_ended_and_says_who_did_it(run: Run, told: Told, register: Registry) -> None:
    place = register.things(TENANT)[0]
    number = begin_alert(register, TENANT, place, 1, now_us())
    other = begin_alert(register, TENANT, place, 2, now_us())
    assert [one["alert"] for one in told("alert", "list", "--tenant", TENANT)["alerts"]] == [other, number]
    assert told("alert", "ack", number)["state"] == "acknowledged"
    assert "has acknowledged it already" in refused(run("alert", "ack", number))
    told("alert", "comment", number, "the door is open")
    assert told("alert", "assign", number, "anna")["owner"] == "anna"
    assert told("alert", "list", "--owner", "anna")["alerts"][0]["alert"] == number
    told("alert", "shelve", number, "--reason", "a crew comes", "--until", "2026-12-01T07:00")
    shelf = run("alert", "shelve", number, "--reason", "x", "--until", "2020-01-01")
    assert "give another end" in refused(shelf)
    slip = run("alert", "shelve", number, "--reason", "x", "--until", "tomorrow")
    assert slip.exit_code == 2
    assert "UTC and look like 2026-12-01T07:00" in unfolded(slip)
    assert told("alert", "unshelve", number)["state"] == "new"
    over = told("alert", "clear", number, "--evidence", "it burns")
    assert (over["state"], over["ended_because"]) == ("cleared", "it burns")
    assert "it is over: it burns" in refused(run("alert", "ack", number))
    shown = told("alert", "show", number)
    assert [one["what"] for one in shown["history"]][1:3] == ["acknowledged", "commented"]
    assert "Kerkstraat 1" in run("alert", "list").stdout
    assert run("alert", "list", "--severity", "critical", "--tenant", TENANT).stdout.startswith("in all of gm0402: 1 n")
    words = run("alert", "show", number).stdout
    assert "commented by" in words
    assert not [line for line in words.splitlines() if line.rstrip().endswith(":")], "no words, no colon"
    assert "the door is open" in words
    assert "no alert 999" in refused(run("alert", "show", 999))
    event = register.audit_log.read(subject=str(number), limit=1)[0]
    assert (event.actor_kind, event.action) == ("command", "alert.acknowledged")


def test_rules_of_a_file_are_added_listed_switched_and_removed(
    run: Run,
    told: Told,
    tmp_path: Path,
) -> None:
    (tmp_path / "rules.toml").write_text(HOT)
    for verb in ("add", "try"):
        assert "tenant: is missing; name the municipality with --tenant" in refused(
            run("rule", verb, tmp_path / "rules.toml")
        )
    added = told("rule", "add", tmp_path / "rules.toml", "--tenant", TENANT)["rules"]
    assert [one["name"] for one in added] == ["too hot", "silent"]
    assert told("rule", "add", tmp_path / "rules.toml", "--tenant", TENANT)["rules"] == added, "an equal one stays"
    number = added[0]["rule"]
    assert "above 35 for 10 minutes" in run("rule", "list").stdout
    assert "Switched off" in told("rule", "off", number)["sentence"]
    assert told("rule", "on", number)["version"] == 3
    shown = told("rule", "show", number)
    assert [one["version"] for one in shown["versions"]] == [3, 2, 1]
    saved = tmp_path / "one.json"
    saved.write_text(run("rule", "show", number, "--document").stdout.replace("critical", "warning"))
    assert "somebody has changed it" in refused(run("rule", "add", saved, "--based-on", 1))
    assert told("rule", "add", saved, "--based-on", 3)["rules"][0]["version"] == 4
    told("rule", "remove", number)
    for verb in ("show", "on", "remove"):
        assert "see: lichtmast rule list" in refused(run("rule", verb, number))


def test_the_rules_to_begin_with_are_a_file_that_can_be_added(told: Told, tmp_path: Path) -> None:
    printed = CliRunner().invoke(app, ["rule", "defaults"]).stdout
    (tmp_path / "rules.toml").write_text(printed)
    added = told("rule", "add", tmp_path / "rules.toml", "--tenant", "gm0344")["rules"]
    assert len(added) == printed.count("[[rule]]") > 3
    assert {one["tenant"] for one in added} == {"gm0344"}


def test_the_rules_of_the_guide_are_rules(told: Told, tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", (REPOSITORY / "docs/how-to/alerts.md").read_text(), re.DOTALL)
    (tmp_path / "rules.toml").write_text(block)
    added = told("rule", "add", tmp_path / "rules.toml", "--tenant", TENANT)["rules"]
    assert [one["name"] for one in added] == ["lamp too hot", "silent", "feeder is out"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[rule]]\nname = 1", "name: must be"),
        ("rule = 5", "must be a list of rules"),
        ("=", "is not TOML"),
        (HOT.replace("above", "abov"), "condition.abov"),
    ],
)
def test_a_file_that_is_wrong_adds_nothing_and_says_where(
    run: Run, register: Registry, tmp_path: Path, text: str, why: str
) -> None:
    (tmp_path / "rules.toml").write_text(text)
    before = register.alerts.rules()
    assert why in refused(run("rule", "add", tmp_path / "rules.toml", "--tenant", TENANT))
    assert register.alerts.rules() == before


def test_a_rule_is_tried_on_a_stopped_lichtmast(folder: Folder, told: Told, run: Run, tmp_path: Path) -> None:
    with Registry.open(folder.registry) as registry:
        place = registry.things(TENANT)[0].id
        wanted = NewDevice(DeviceId(TENANT, "lm-tried"), "weather", place, DeviceStatus.ACTIVE)
        registry.register_devices([wanted], at_us=now_us())
        (heated,) = [one.id for one in registry.datastreams_of(place) if one.unit == "Cel"]
    heat_for_an_hour(folder, heated)
    (tmp_path / "rules.toml").write_text(HOT)
    words = ("rule", "try", tmp_path / "rules.toml", "--tenant", TENANT, "--days")
    trial = told(*words, "1")["trials"][0]
    assert (trial["fired"], trial["complete"]) == (1, True)
    assert trial["episodes"][0]["subject"] == f"datastream/{heated}"
    said = run(*words, "1").stdout
    assert "It would have fired once." in said
    assert f"{trial['readings']} readings were looked at" in said
    assert trial["readings"] > 100
    assert told(*words, "0.1")["trials"][0]["fired"] == 0, "it was longer ago"


def heat_for_an_hour(folder: Folder, stream: int) -> None:
    """A day of mild readings with an hour of heat in the middle."""
    now = now_us()
    ages_min = range(23 * 60, 30, -5)
    times = [now - age * 60_000_000 for age in ages_min]
    heat = [40.0 if 11 * 60 < age < 12 * 60 else 15.0 for age in ages_min]
    nothing, good = [None] * len(times), [0] * len(times)
    columns = [[stream] * len(times), times, heat, nothing, good, [one + 1_000_000 for one in times]]
    table = pa.table(columns, schema=OBSERVATION_SCHEMA)
    store = DuckStore.open(folder.store, clock_us=now_us)
    try:
        none = (LEDGER_SCHEMA.empty_table(), QUARANTINE_SCHEMA.empty_table())
        store.commit(Batch(table, *none, READINGS_STREAM, 1))
    finally:
        store.close()


def test_a_channel_is_made_with_its_secret_once_and_what_was_given_up_is_sent_again(
    run: Run,
    told: Told,
    register: Registry,
) -> None:
    made = told("channel", "add", "on-call", "--tenant", TENANT, "--kind", "webhook",
                "--target", "https://hooks.example.nl/x", "--quiet", "22:00-07:00")  # fmt: skip
    assert made["secret"].startswith("whsec_")
    assert made["quiet"] == {"from": "22:00", "until": "07:00"}
    again = told("channel", "add", "on-call", "--tenant", TENANT, "--kind", "webhook",
                 "--target", "https://hooks.example.nl/y")  # fmt: skip
    assert (again["channel"], "secret" in again) == (made["channel"], False)
    desk = told("channel", "add", "desk", "--tenant", TENANT, "--kind", "mqtt", "--escalate-to", "on-call")
    assert desk["escalate"] == {"after_s": 900, "to": "on-call"}
    assert "after 15 min to on-call" in run("channel", "list").stdout
    place = register.things(TENANT)[0]
    number = failed_delivery(register, TENANT, place, desk["channel"], now_us())
    assert [one["delivery"] for one in told("channel", "deliveries", "--state", "failed")["deliveries"]] == [number]
    assert told("channel", "retry", number)["state"] == "waiting"
    assert "only a failed one" in refused(run("channel", "retry", number))
    assert "escalate" in refused(run("channel", "remove", made["channel"])), "another one leads to it"
    told("channel", "remove", desk["channel"])
    told("channel", "remove", made["channel"])
    assert "quiet" in refused(run("channel", "add", "x", "--tenant", TENANT, "--kind", "mqtt", "--quiet", "always"))


def test_a_test_needs_a_lichtmast_that_runs(run: Run) -> None:
    assert "no Lichtmast runs" in refused(run("channel", "test", 1))
    assert "lichtmast channel list" in unfolded(run("channel", "test", "on-call"))


def test_a_wrong_folder_gets_no_register(tmp_path: Path) -> None:
    table = str(tmp_path / "readings.csv")
    for words in (
        ["alert", "list"], ["rule", "list"], ["channel", "list"], ["audit"], ["audit", "--log"], ["export", table],
        ["quarantine", "list"], ["quarantine", "show", "1/0"], ["quarantine", "replay", "--all"],
        ["channel", "test", "1"], ["validation", "history"],
        ["device", "show", "gm0402/lm-1"], ["device", "retire", "gm0402/lm-1"],
    ):  # fmt: skip
        done = CliRunner().invoke(app, [*words, "--data", str(tmp_path / "empty")])
        assert "there is no register" in refused(done)
        assert not list(tmp_path.iterdir()), "neither a folder nor a file was made"


def test_a_lamppost_is_offered_by_the_id_that_the_register_gave_it(run: Run) -> None:
    words = ("device", "add", f"{TENANT}/lm-near", "--profile", "weather", "--asset")
    assert "did you mean id:P1?" in refused(run(*words, "P1"))
    assert "import it first" in refused(run(*words, "P2"))
    assert run(*words, "id:P1").exit_code == 0


def test_what_others_wrote_moves_no_cursor(run: Run, register: Registry) -> None:
    document = RULE | {"tenant": TENANT, "name": "x-hot"}
    register.alerts.put_rule(document, by=LOCAL_COMMAND, at_us=now_us())
    number = begin_alert(register, TENANT, register.things(TENANT)[0], 7, now_us())
    register.alerts.comment(number, "line one\nline two", by=LOCAL_COMMAND, at_us=now_us())
    shown = run("alert", "show", number).stdout
    assert "line one line two" in shown
