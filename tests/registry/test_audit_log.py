"""The log of changes: every change is in it, and nobody alters it unseen."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from lichtmast.registry import AssetRecord, ConflictError, DeviceStatus, ImportReport, NewDevice, Registry
from lichtmast.registry.auditing import (
    LOCAL_COMMAND,
    Action,
    Actor,
    ActorKind,
    AuditFault,
    BadEvent,
    Event,
    append,
    append_all,
)
from lichtmast.registry.auditing.log import erase_sensitive
from lichtmast.registry.database import open_engine, writing
from lichtmast.registry.limits import ACTOR_CHARACTERS_MAX, EVENT_BYTES_MAX
from lichtmast.wire import DeviceId

DEVICE = DeviceId("gm0402", "lamp-0001")
WHO = Actor(ActorKind.USER, "jansen", "2001:db8::7")


INSERT_WITH_A_GAP = """
INSERT INTO audit_event (seq, at_us, actor_kind, actor, source, action, subject_kind, subject, prev_hash, hash)
VALUES (99, 1, 'user', 'x', '', 'a.b', 'c', 'd', X'', X'')
"""


def path_of(registry: Registry) -> Path:
    return Path(str(registry._engine.url.database))


@contextmanager
def intruder(registry: Registry) -> Iterator[sqlite3.Connection]:
    """Somebody with the file and without our rules: the triggers are gone."""
    with closing(sqlite3.connect(path_of(registry))) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        with connection:
            yield connection


def log_some(registry: Registry, count: int, *, sensitive: bool = False) -> None:
    place = {"longitude": 5.17, "latitude": 52.22} if sensitive else None
    events = [
        Event("test.made", "thing", f"thing-{number}", WHO, 1000 + number, "gm0402", None, {"n": number}, place)
        for number in range(count)
    ]
    with writing(registry._engine) as connection:
        append_all(connection, events)


def test_every_change_of_the_register_is_an_event_with_who_and_from_where(
    registry: Registry, import_file: Callable[..., ImportReport]
) -> None:
    start = registry.audit_log.head().seq
    registry.ensure_tenant("gm0344", by=WHO, at_us=1)
    registry.ensure_tenant("gm0344", "Utrecht", by=WHO, at_us=2)
    assert import_file("csv", "straat;nummer;lon;lat\nKerkstraat;1;5,17;52,22\nKerkstraat;2;5,18;52,22\n").committed
    first, second = registry.things("gm0402")
    registry.register_device(DEVICE, "weather", asset_id=first.id, at_us=3, by=WHO)
    registry.deploy_device(DEVICE, second.id, at_us=4, by=WHO)
    registry.set_device_status(DEVICE, DeviceStatus.ACTIVE, at_us=5, by=WHO)
    registry.replace_device(DEVICE, DeviceId("gm0402", "lamp-0002"), at_us=6, by=WHO)
    told = registry.audit_log.read(start)
    assert [(one.action, one.subject, one.tenant) for one in told] == [
        ("tenant.added", "gm0344", "gm0344"),
        ("tenant.renamed", "gm0344", "gm0344"),
        ("assets.imported", "gm0402", "gm0402"),
        ("device.registered", "gm0402/lamp-0001", "gm0402"),
        ("device.moved", "gm0402/lamp-0001", "gm0402"),
        ("device.status", "gm0402/lamp-0001", "gm0402"),
        ("device.replaced", "gm0402/lamp-0001", "gm0402"),
        ("device.registered", "gm0402/lamp-0002", "gm0402"),
    ]
    assert [one.at_us for one in told] == [1, 2, 7, 3, 4, 5, 6, 6]
    by = {(one.actor_kind, one.actor, one.source) for one in told if one.action != "assets.imported"}
    assert by == {("user", "jansen", "2001:db8::7")}
    moved = told[4]
    assert (json.loads(moved.before or ""), json.loads(moved.after or "")) == (
        {"asset": first.id},
        {"asset": second.id},
    )
    assert registry.audit_log.verify().is_whole


def test_what_changes_nothing_and_what_fails_is_no_event(registry: Registry, lampposts: list[AssetRecord]) -> None:
    registry.register_device(DEVICE, "weather", asset_id=lampposts[0].id, at_us=3)
    head = registry.audit_log.head()
    registry.ensure_tenant("gm0402")
    registry.register_device(DEVICE, "weather", asset_id=lampposts[0].id, at_us=4)
    registry.deploy_device(DEVICE, lampposts[0].id, at_us=5)
    registry.set_device_status(DEVICE, DeviceStatus.REGISTERED, at_us=5)
    with pytest.raises(ConflictError):
        registry.deploy_device(DEVICE, lampposts[-1].id, at_us=6)  # it has ended
    assert registry.audit_log.head() == head


def test_each_of_many_devices_has_its_own_event(registry: Registry) -> None:
    start = registry.audit_log.head().seq
    wanted = [NewDevice(DeviceId("gm0402", f"lamp-{number:04}"), "weather") for number in range(300)]
    registry.register_devices(wanted, at_us=1)
    told = registry.audit_log.read(start, 1000)
    assert [one.subject for one in told] == [str(one.device) for one in wanted]
    assert [one.seq for one in told] == list(range(start + 1, start + 301))
    assert registry.audit_log.verify().events == start + 300


def test_an_event_is_hashed_as_the_reference_says(registry: Registry) -> None:
    log_some(registry, 1)
    event = registry.audit_log.read(newest_first=True, limit=1)[0]
    line = (
        f'["lichtmast-audit-1",{event.seq},1000,"user","jansen","2001:db8::7","test.made","thing","thing-0","gm0402",'
        f'null,"{{\\"n\\":0}}",null,"{event.prev_hash}"]'
    )
    assert sha256(line.encode()).hexdigest() == event.hash == registry.audit_log.head().hash


ALTERED = [
    "at_us = at_us + 1",
    "actor_kind = 'system'",
    "actor = 'devries'",
    "source = 'local'",
    "action = 'test.other'",
    "subject_kind = 'other'",
    "subject = 'thing-9'",
    "tenant = NULL",
    "tenant = 'gm0344'",
    "before = '{}'",
    "after = NULL",
    "after = '{\"n\":9}'",
    "after = X'00'",
    "sealed = NULL",
    "sealed = zeroblob(32)",
    "prev_hash = zeroblob(32)",
    "hash = zeroblob(32)",
    "hash = 'text'",
]


@pytest.mark.parametrize("what", ALTERED)
def test_an_altered_event_is_found(registry: Registry, what: str) -> None:
    log_some(registry, 5, sensitive=True)
    bad = registry.audit_log.head().seq - 2
    with intruder(registry) as connection:
        connection.execute(f"UPDATE audit_event SET {what} WHERE seq = ?", (bad,))  # noqa: S608 - a constant above
    assert registry.audit_log.verify().first_bad == BadEvent(bad, AuditFault.ALTERED)


def test_an_event_that_was_taken_out_is_found(registry: Registry) -> None:
    log_some(registry, 5)
    gone = registry.audit_log.head().seq - 2
    with intruder(registry) as connection:
        connection.execute("DELETE FROM audit_event WHERE seq = ?", (gone,))
    assert registry.audit_log.verify().first_bad == BadEvent(gone + 1, AuditFault.REMOVED)


def test_an_event_taken_out_and_the_rest_renumbered_is_found(registry: Registry) -> None:
    log_some(registry, 5)
    gone = registry.audit_log.head().seq - 2
    with intruder(registry) as connection:
        connection.execute("DELETE FROM audit_event WHERE seq = ?", (gone,))
        for seq in (gone + 1, gone + 2):
            connection.execute("UPDATE audit_event SET seq = seq - 1 WHERE seq = ?", (seq,))
    assert registry.audit_log.verify().first_bad == BadEvent(gone, AuditFault.ALTERED)


def test_an_event_that_was_put_in_with_a_right_hash_of_its_own_is_found(registry: Registry) -> None:
    log_some(registry, 5)
    head = registry.audit_log.head()
    before = registry.audit_log.read(head.seq - 3, 1)[0]
    with intruder(registry) as connection:
        connection.execute("UPDATE audit_event SET seq = seq + 100 WHERE seq > ?", (before.seq,))
        connection.execute("UPDATE audit_event SET seq = seq - 99 WHERE seq > ?", (before.seq,))
        forged = Event("test.forged", "thing", "thing-x", WHO, 1002, "gm0402")
        _write_forged(connection, before.seq + 1, before.hash, forged)
    # The forged one fits behind its neighbour; the one after it does not.
    assert registry.audit_log.verify().first_bad == BadEvent(before.seq + 2, AuditFault.ALTERED)


def test_events_in_another_order_are_found(registry: Registry) -> None:
    log_some(registry, 5)
    head = registry.audit_log.head().seq
    with intruder(registry) as connection:
        connection.execute("UPDATE audit_event SET seq = 0 WHERE seq = ?", (head - 2,))
        connection.execute("UPDATE audit_event SET seq = ? WHERE seq = ?", (head - 2, head - 1))
        connection.execute("UPDATE audit_event SET seq = ? WHERE seq = 0", (head - 1,))
    assert registry.audit_log.verify().first_bad == BadEvent(head - 2, AuditFault.ALTERED)


def test_an_event_hashed_anew_breaks_at_the_next(registry: Registry) -> None:
    log_some(registry, 5)
    head = registry.audit_log.head()
    before, target = registry.audit_log.read(head.seq - 3, 2)
    with intruder(registry) as connection:
        connection.execute("DELETE FROM audit_event WHERE seq = ?", (target.seq,))
        _write_forged(connection, target.seq, before.hash, Event("test.forged", "thing", "x", WHO, 1, "gm0402"))
    assert registry.audit_log.verify().first_bad == BadEvent(target.seq + 1, AuditFault.OUT_OF_PLACE)


def test_an_end_that_was_cut_off_is_found_by_a_hash_that_was_kept(registry: Registry) -> None:
    log_some(registry, 3)
    kept = registry.audit_log.head()
    log_some(registry, 3)
    assert registry.audit_log.verify(kept.hash).is_whole
    with intruder(registry) as connection:
        connection.execute("DELETE FROM audit_event WHERE seq >= ?", (kept.seq,))
    assert registry.audit_log.verify().is_whole, "a cut alone cannot be seen from inside"
    assert registry.audit_log.verify(kept.hash).first_bad == BadEvent(kept.seq - 1, AuditFault.CUT)


def test_a_log_written_anew_is_found_by_a_hash_that_was_kept(registry: Registry) -> None:
    log_some(registry, 3)
    kept = registry.audit_log.head().hash
    with intruder(registry) as connection:
        connection.execute("DELETE FROM audit_event")
    log_some(registry, 4)
    assert registry.audit_log.verify().is_whole
    assert registry.audit_log.verify(kept).first_bad is not None


def test_the_file_itself_refuses_to_change_or_forget_an_event(registry: Registry) -> None:
    log_some(registry, 3, sensitive=True)
    with closing(sqlite3.connect(path_of(registry))) as connection:
        for statement in (
            "UPDATE audit_event SET actor = 'nobody'",
            "UPDATE audit_event SET seq = 99 WHERE seq = 1",
            "DELETE FROM audit_event",
            "DELETE FROM audit_event WHERE seq = 1",
            "INSERT OR REPLACE INTO audit_event SELECT * FROM audit_event WHERE seq = 1",
            "REPLACE INTO audit_event SELECT * FROM audit_event WHERE seq = 2",
            INSERT_WITH_A_GAP,
            "UPDATE audit_sensitive SET text = '{}'",
        ):
            with pytest.raises(sqlite3.IntegrityError, match=r"append-only|numbered without gaps"):
                connection.execute(statement)
    assert registry.audit_log.verify().is_whole


def test_what_is_erasable_goes_and_the_chain_holds(registry: Registry) -> None:
    log_some(registry, 4, sensitive=True)
    whole = registry.audit_log.verify()
    assert (whole.is_whole, whole.erased) == (True, 0)
    with writing(registry._engine) as connection:
        assert erase_sensitive(connection, 1002) == 2
    after = registry.audit_log.verify(whole.head.hash)
    assert (after.is_whole, after.erased) == (True, 2)
    old, *_, new = registry.audit_log.read(whole.head.seq - 4, 4)
    assert (old.sensitive, old.salt) == (None, None)
    assert json.loads(new.sensitive or "") == {"longitude": 5.17, "latitude": 52.22}


def test_what_was_erased_is_not_in_the_file_any_more(registry: Registry) -> None:
    def content() -> bytes:
        with closing(sqlite3.connect(path_of(registry))) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return path_of(registry).read_bytes()

    log_some(registry, 4, sensitive=True)
    assert b'"longitude":5.17' in content()
    with writing(registry._engine) as connection:
        assert erase_sensitive(connection, 10_000) == 4
    assert b'"longitude":5.17' not in content()


@pytest.mark.parametrize("what", ["text = '{\"longitude\":4.0}'", "salt = zeroblob(16)", "text = X'00'", "salt = 'x'"])
def test_an_altered_erasable_part_is_found(registry: Registry, what: str) -> None:
    log_some(registry, 3, sensitive=True)
    bad = registry.audit_log.head().seq - 1
    with intruder(registry) as connection:
        connection.execute(f"UPDATE audit_sensitive SET {what} WHERE seq = ?", (bad,))  # noqa: S608 - a constant
    assert registry.audit_log.verify().first_bad == BadEvent(bad, AuditFault.ERASABLE_ALTERED)


def test_equal_positions_of_two_events_are_sealed_differently(registry: Registry) -> None:
    log_some(registry, 2, sensitive=True)
    one, two = registry.audit_log.read(registry.audit_log.head().seq - 2)
    assert one.sensitive == two.sensitive
    assert one.sealed != two.sealed


@pytest.mark.slow
def test_two_processes_that_log_at_once_leave_one_chain(registry: Registry) -> None:
    start = registry.audit_log.head().seq
    engines = [open_engine(path_of(registry)) for _ in range(4)]

    def work(number: int) -> None:
        for step in range(25):
            with writing(engines[number]) as connection:
                append(connection, Event("test.raced", "thing", f"{number}-{step}", LOCAL_COMMAND, step))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    for engine in engines:
        engine.dispose()
    verdict = registry.audit_log.verify()
    assert (verdict.is_whole, verdict.events) == (True, start + 100)
    assert len({one.subject for one in registry.audit_log.read(start, 1000)}) == 100


def test_a_change_that_is_rolled_back_leaves_no_event(registry: Registry) -> None:
    head = registry.audit_log.head()

    def fail_after_logging() -> None:
        with writing(registry._engine) as connection:
            append(connection, Event("test.made", "thing", "x", WHO, 1))
            connection.exec_driver_sql("INSERT INTO tenant (code) VALUES (NULL)")

    with pytest.raises(IntegrityError):
        fail_after_logging()
    assert registry.audit_log.head() == head


def test_pages_are_by_number_moment_tenant_and_subject(registry: Registry) -> None:
    start = registry.audit_log.head().seq
    log_some(registry, 6)
    with writing(registry._engine) as connection:
        append(connection, Event("test.made", "thing", "thing-3", WHO, 2000, "gm0344"))
    log = registry.audit_log
    assert [one.subject for one in log.read(start, 2)] == ["thing-0", "thing-1"]
    assert [one.subject for one in log.read(start + 2, 2)] == ["thing-2", "thing-3"]
    assert [one.seq for one in log.read(start, tenant="gm0344")] == [start + 7]
    assert [one.seq for one in log.read(start, subject="thing-3")] == [start + 4, start + 7]
    assert [one.seq for one in log.read(start, since_us=1005)] == [start + 6, start + 7]
    assert [one.seq for one in log.read(limit=2, newest_first=True)] == [start + 7, start + 6]
    assert [one.seq for one in log.read(start + 6, 2, newest_first=True)] == [start + 5, start + 4]
    for limit in (0, 10_001):
        with pytest.raises(ValueError, match="a page has"):
            log.read(limit=limit)


def test_an_export_is_whole_and_for_its_owner_alone(registry: Registry, tmp_path: Path) -> None:
    log_some(registry, 3, sensitive=True)
    target = tmp_path / "log.jsonl"
    verdict = registry.audit_log.export(target)
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert verdict.is_whole
    assert len(lines) == verdict.events
    assert lines[-1]["hash"] == verdict.head.hash
    assert target.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.glob("*.part")) == []
    with pytest.raises(ValueError, match="jsonl"):
        registry.audit_log.export(target, "csv")


def test_the_reference_shows_how_another_program_verifies_an_export(registry: Registry, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/reference/audit-log.md").read_text()
    program = page.partition("```python\n")[2].partition("```")[0]
    log_some(registry, 3, sensitive=True)
    target = tmp_path / "log.jsonl"
    registry.audit_log.export(target)
    names: dict[str, object] = {}
    exec(compile(program, "audit-log.md", "exec"), names)  # noqa: S102 - our own example
    check = names["first_bad"]
    assert callable(check)
    assert check(target) is None
    target.write_text(target.read_text().replace("thing-1", "thing-9"))
    assert check(target) == registry.audit_log.head().seq - 1


def test_every_action_stands_in_the_reference() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/audit-log.md").read_text()
    assert [one.value for one in Action if f"`{one.value}`" not in page] == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: Actor(ActorKind.USER, ""),
        lambda: Actor(ActorKind.USER, "x" * (ACTOR_CHARACTERS_MAX + 1)),
        lambda: Actor(ActorKind.USER, "jansen\nroot"),
        lambda: Actor(ActorKind.USER, "jan\x1b[2Jsen"),
        lambda: Actor(ActorKind.USER, "jansen", ""),
        lambda: Actor(ActorKind.USER, "jansen", "2001:db8::7\r\n"),
        lambda: Event("made", "thing", "x", WHO, 1),
        lambda: Event("test.", "thing", "x", WHO, 1),
        lambda: Event("test.made now", "thing", "x", WHO, 1),
        lambda: Event("test.made", "thing", "x\ny", WHO, 1),
        lambda: Event("test.made", "thing", "x", WHO, 1, after={"text": "y" * EVENT_BYTES_MAX}),
        lambda: Event("test.made", "thing", "x", WHO, 1, after={"number": float("nan")}),
    ],
)
def test_what_would_spoil_the_log_is_refused_before_it_is_written(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"actor|action|subject|event|JSON"):
        make()


def test_a_name_and_an_event_of_exactly_the_limit_are_taken(registry: Registry) -> None:
    who = Actor(ActorKind.USER, "x" * ACTOR_CHARACTERS_MAX)
    event = Event("test.made", "thing", "x", who, 1, after={"t": "y" * (EVENT_BYTES_MAX - 9)})
    with writing(registry._engine) as connection:
        append(connection, event)
    assert registry.audit_log.verify().is_whole


def _write_forged(connection: sqlite3.Connection, seq: int, prev_hash: str, event: Event) -> None:
    line = ["lichtmast-audit-1", seq, event.at_us, event.by.kind.value, event.by.name, event.by.source]
    line += [event.action, event.subject_kind, event.subject, event.tenant, None, None, None, prev_hash]
    digest = sha256(json.dumps(line, separators=(",", ":")).encode()).digest()
    row = [*line[1:-1], bytes.fromhex(prev_hash), digest]
    connection.execute(f"INSERT INTO audit_event VALUES ({','.join('?' * len(row))})", row)  # noqa: S608 - question marks
