"""Faults of the agent, for real: killed at every step, its disk full, failing or rotten, its clock jumping or absent.

The agent measures with a witness that keeps its own journal, and speaks to the broker through a tap; the checker holds
the tap's books against the store (I1 to I4), the witness's journal against the packs. Quick forms run always, the long
ones with `scripts/test --faults`. A run whose fault did not bite fails as vacuous.
"""

import itertools
import json
import os
import random
import re
import shlex
import sqlite3
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from edge_faults import CardDisk, Scene, TimeServer, Verdict, kept, wait_for
from paho.mqtt import publish
from running_agent import RunningAgent
from running_lichtmast import Running
from witness import READINGS, install_witness

from lichtmast.edge.__main__ import main
from lichtmast.edge.twin.keeper import Keeper
from lichtmast.suite.folder import Folder
from lichtmast.wire import topics
from lichtmast.wire.faultpoint import EXIT_CODE, POINTS
from lichtmast.wire.quality import Quality
from lichtmast.wire.twin import Answer, Command, Desired, Dim, Event

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SEED = 20261122
STEPS = {
    "edge.before_put": 4,
    "edge.after_put": 4,
    "edge.before_send": 4,
    "edge.after_send": 4,
    "edge.before_settle": 2,
    "edge.after_settle": 2,
}
"""Every point on the way of a pack, and at which pass the agent dies there."""
CONFIGURATION = {"edge.config_written", "edge.config_renamed"}
"""The points of a configuration die in tests/edge/test_twin_keeper.py."""
JUMPS = ("1970", "+1 day", "-1 hour", "2038")
HOT = """
[[rule]]
kind = "threshold"
name = "hot"
target = "/lamp/0/command"
level = 0.625
sensor = "/lamp/0/temperature"
above = 50
hold_s = 10
"""
"""A local rule that the test makes act: the witness says that it is warm."""
IN_MEMORY = 20
"""Samples that a death may cost: those of the interval that had not ended, and of the draft on its way to the disk."""


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("PYTHONPATH", str(install_witness(tmp_path / "witness")))
    running = Running(Folder.choose(tmp_path / "data"), tmp_path / "output.log")
    try:
        with Scene.set_up(running, tmp_path, seed=SEED) as one:
            yield one
    finally:
        if running.process is not None and running.process.poll() is None:
            running.process.kill()
            running.process.wait()


def wait_died(scene: Scene) -> bool:
    """Whether the agent died at its point, and of nothing else."""
    process = scene.agent.process
    assert process is not None
    return process.wait(40) == EXIT_CODE


def test_every_point_of_the_agent_has_a_case() -> None:
    assert STEPS.keys() | CONFIGURATION == {name for name in POINTS if name.startswith("edge.")}
    keeper = (Path(__file__).parents[1] / "edge/test_twin_keeper.py").read_text()
    assert all(name in keeper for name in CONFIGURATION)


@pytest.mark.parametrize("passes", [0, *(pytest.param(more, marks=pytest.mark.faults) for more in (1, 7, 20))])
def test_f1_dying_between_any_two_steps_of_a_pack_loses_and_doubles_nothing(scene: Scene, passes: int) -> None:
    died = 0
    for point, at in STEPS.items():
        scene.agent.start({"LICHTMAST_FAULTS": f"{point}=exit@{at + passes}"})
        died += wait_died(scene)
        scene.look()
    scene.agent.start()
    scene.wait_acked(3)
    scene.drain()
    scene.run.bites |= {"points died at": died == len(STEPS), "packs sent again": scene.tap.repeated}
    verdict = scene.judge()
    lost_only_memory(verdict, deaths=len(STEPS))


@pytest.mark.parametrize(
    ("kills", "seed"), [pytest.param(30, seed, marks=pytest.mark.faults) for seed in range(SEED, SEED + 3)]
)
def test_f1_kills_at_random_moments_lose_and_double_nothing(scene: Scene, kills: int, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - chooses moments
    for _ in range(kills):
        scene.agent.start()
        wanted = len(scene.samples()) + chance.randrange(5, 40) if scene.journal.exists() else 10
        wait_for(lambda wanted=wanted: scene.journal.exists() and len(scene.samples()) >= wanted, "samples")  # type: ignore[misc]
        scene.agent.kill()
        scene.look()
    scene.agent.start()
    scene.wait_acked(3)
    scene.drain()
    scene.run.bites["packs that waited at a kill"] = sum(len(one.waiting) for one in scene.numbers_seen[:kills])
    lost_only_memory(scene.judge(), deaths=kills)


@pytest.fixture
def card(scene: Scene) -> Iterator[CardDisk]:
    """The agent's state folder is a small ext4 of its own."""
    if os.geteuid() != 0:
        pytest.skip("a disk of its own needs root")
    one = CardDisk(scene.agent.state, scene.scratch / "images")
    scene.agent.prefix = one.prefix
    yield one
    scene.agent.end()
    one.close()


def full_settings(policy: str) -> str:
    return f"""{HOT}
[outbox]
bytes = 262_144
drop = "{policy}"
"""


@pytest.mark.parametrize("policy", ["oldest", pytest.param("newest", marks=pytest.mark.faults)])
def test_f8_a_full_disk_drops_by_the_policy_and_counts_and_the_lamp_obeys(
    scene: Scene, card: CardDisk, policy: str
) -> None:
    agent, tap = scene.agent, scene.tap
    state = card.seen_from_here
    agent.more, agent.interval_s = full_settings(policy), 0.1
    card.leave(256_000)
    agent.start()
    scene.wait_acked(5)
    tap.swallow = True  # packs are lost on the way; commands and events pass
    wait_for(lambda: len(scene.look(state).waiting) >= 30, "packs that wait")
    card.fill()
    before = scene.look(state)

    def is_biting() -> bool:
        now = scene.look(state)
        if policy == "oldest":
            return bool(now.waiting) and now.waiting[0] > before.next_seq + 20
        return len(scene.numbers_seen) > 8 and {one.next_seq for one in scene.numbers_seen[-8:]} == {now.next_seq}

    wait_for(is_biting, "the policy had to act", 120)  # how much it had claimed before differs
    # Within a commit SQLite may cut off what the agent then claims again.
    wait_for(lambda: card.free_bytes() < 8_192, "a disk that is still full", 10)
    obeys(scene)
    held = scene.look(state)
    tap.swallow = False
    tap.cut()  # else it waits for its PUBACKs
    tap.open = True
    card.clear()
    scene.wait_acked(len(held.waiting) + 10, 90)
    scene.drain(state)
    dropped = {seq for _, seq in tap.dropped}
    scene.run.bites["packs that waited on a full disk"] = len(held.waiting)
    verdict = scene.judge()
    assert verdict.report.counts.dropped == len(dropped)
    if policy == "oldest":
        assert len(dropped) > 20
        assert max(dropped) < min(held.waiting), "something went that was not the oldest"
        assert {seq for _, seq in tap.packs} | dropped == set(range(1, scene.numbers_seen[-1].next_seq))
    else:
        assert dropped == set(), "numbers without holes"
        assert len(verdict.untold) > 20
        assert set(range(before.next_seq, held.next_seq)) <= {seq for _, seq in tap.packs}, "the oldest stayed"


@pytest.mark.faults
def test_f9_a_disk_that_turns_read_only_loses_no_sample_and_the_lamp_obeys(scene: Scene, card: CardDisk) -> None:
    agent, tap, state = scene.agent, scene.tap, card.seen_from_here
    agent.more = HOT
    agent.start()
    scene.wait_acked(5)
    card.go_read_only()
    wait_for(lambda: events_named(scene, "outbox_broken") != [], "the agent says that its disk fails")
    at_failure = scene.look(state)
    samples, sent = len(scene.samples()), tap.seqs(at_failure.epoch)
    obeys(scene)
    now = scene.look(state)
    assert now == at_failure
    assert max(tap.seqs(now.epoch)) < now.next_seq, "a number was sent that is not on the disk"
    scene.run.bites |= {
        "samples on a dead disk": len(scene.samples()) - samples,
        "packs before": len(sent),
    }
    assert agent.process is not None
    assert agent.process.poll() is None
    card.repair()
    wait_for(lambda: events_named(scene, "outbox_recovered") != [], "the agent says that its disk works")
    scene.wait_acked(5)
    scene.drain(state)
    lost_only_memory(scene.judge(), deaths=0)


@pytest.mark.faults
def test_f17_a_torn_commit_is_as_if_it_never_was_and_costs_nothing_else(scene: Scene) -> None:
    chance = random.Random(SEED)  # noqa: S311 - chooses places
    log = scene.agent.state / "outbox.sqlite-wal"
    torn = 0
    tears: list[Callable[[int], bytes | None]] = [bytes, chance.randbytes, lambda _: None]
    for tear in tears:
        scene.agent.start({"LICHTMAST_FAULTS": "edge.after_put=exit@5"})
        assert wait_died(scene)
        whole = scene.look()
        start, end = last_commit(log)  # of a pack that nobody heard of: the power may as well go before its fsync
        at = chance.randrange(start, end)
        with log.open("r+b") as file:
            rest = tear(end - at)
            if rest is None:
                file.truncate(at)
            else:
                file.seek(at)
                file.write(rest)
        cut = kept(scene.agent.state / "outbox.sqlite", scene.scratch)
        assert cut.epoch == whole.epoch
        assert cut.next_seq == whole.next_seq - 1
        torn += 1
        scene.numbers_seen[-1] = cut
    start_s = time.monotonic()
    scene.agent.start()
    assert time.monotonic() - start_s <= 10
    scene.wait_acked(5)
    scene.drain()
    scene.run.bites["commits torn"] = torn
    lost_only_memory(scene.judge(), deaths=2 * torn)  # that of the process, and the commit that was torn


@pytest.mark.parametrize(("seconds", "names"), [(1.5, JUMPS[:2]), pytest.param(25, JUMPS, marks=pytest.mark.faults)])
def test_f10_a_clock_that_jumps_moves_no_reading_and_stops_no_timer(
    scene: Scene, seconds: float, names: tuple[str, ...]
) -> None:
    now_s = int(time.time())
    jumps = dict(zip(JUMPS, (86_400 - now_s, 86_400, -3_600, 2**31 + 60 - now_s), strict=True))
    lie = scene.scratch / "faketimerc"
    environment = lying_clock(lie)
    scene.agent.prefix = quick("limits.CLOCK_POLL_S = limits.CLOCK_POLL_UNTRUSTED_S = 0.5")
    jump_to(lie, 0)
    scene.agent.start(environment)
    scene.wait_acked(3)
    for name in names:
        offset_s = jumps[name]
        jump_to(lie, offset_s)
        begun, since_s, told = len(scene.samples()), time.monotonic(), len(scene.tap.states)
        wait_for(lambda: time.monotonic() - since_s >= seconds, "the jump to last", 60)  # noqa: B023
        taken = list(scene.samples().values())[begun:]
        scene.run.bites[f"samples after {name}"] = sum(
            abs(one.seen_us - one.true_us - offset_s * 1e6) < 10e6 for one in taken
        )
        if name != "1970":  # that is before the floor, and is simply not believed
            wait_for(lambda: any(one.at_s is None for one in scene.tap.states[told:]), "distrust told")  # noqa: B023
        pauses_us = [later.true_us - earlier.true_us for earlier, later in itertools.pairwise(taken)]
        assert max(pauses_us) < 1.5e6, "the timers stood still"
        jump_to(lie, 0)
        if name != "1970":
            wait_for(lambda: scene.tap.states[-1].at_s is not None, "trust to return")
        scene.wait_acked(2)
    scene.run.bites["refused as before the floor"] = int(scene.tap.states[-1].reports["time"]["refused"])
    scene.drain()
    lost_only_memory(scene.judge(error_s=2.0), deaths=0)


def test_f12_without_a_time_source_readings_are_kept_and_get_their_time_later(scene: Scene) -> None:
    """Two boots that begin in 1970: in the first nobody ever tells the time, in the second somebody does at last."""
    lie = scene.scratch / "faketimerc"
    environment = lying_clock(lie)
    jump_to(lie, 60 - int(time.time()))
    shorter = "sntp.START_S = sntp.ANSWER_S = 0.5; sntp.POLL_MIN_S = 1.0"
    with TimeServer() as server:
        scene.agent.more = f'[clock]\nsource = "sntp"\nservers = ["[::1]:{server.port}"]\n'
        scene.agent.prefix = [*rebooted(scene.scratch / "boot-1", 40), *quick(shorter)]
        scene.agent.start(environment)
        wait_for(lambda: scene.look().unstamped >= 5, "packs without a time")
        scene.agent.kill()
        of_first_boot = set(scene.look().waiting)
        scene.agent.prefix = [*rebooted(scene.scratch / "boot-2", 20), *quick(shorter)]
        scene.agent.start(environment)
        wait_for(lambda: scene.look().unstamped >= len(of_first_boot) + 5, "packs without a time")
        wait_for(lambda: server.ignored > 0, "requests that nobody answered")
        assert scene.tap.packs == {}
        server.answers = True
        scene.wait_acked(10)
        scene.drain()
    uncertain = {seq for (_, seq), pack in scene.tap.packs.items() if (pack.time_error_s or 0) > 2}
    scene.run.bites |= {"packs of the boot without time": len(uncertain), "requests ignored": server.ignored}
    verdict = scene.judge(error_s=2.0)
    assert uncertain == of_first_boot
    lost_only_memory(verdict, deaths=1)
    flagged = scene.stored_with(Quality.TIME_UNCERTAIN)
    assert flagged == len(uncertain) * READINGS


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.faults)])
def test_f19_settings_cut_at_any_byte_are_refused_in_words_or_whole(
    tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = RunningAgent(tmp_path / "agent", ("::1", 1883), coap=("::1", 5683))
    agent.more = HOT.replace("/lamp/0/temperature", "/lamp/0/power")
    agent.write_settings()
    whole = agent.settings.read_bytes()
    monkeypatch.setattr(sys, "argv", ["lichtmast-edge", "check", "--json", "--settings", str(agent.settings)])
    refused, sound = 0, []
    for size in [*range(0, len(whole), step), len(whole)]:
        agent.settings.write_bytes(whole[:size])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        if ended.value.code == 0:
            sound.append(json.loads(told.out))
        else:
            assert ended.value.code == 2, f"cut to {size} bytes: {told.err}"
            assert re.fullmatch(f"lichtmast-edge: {re.escape(str(agent.settings))}: .+\n", told.err), told.err
            refused += 1
    assert refused > 0
    assert sound[-1]["actuators"] == ["/lamp/0/command"]
    for one in sound:  # a cut between two tables leaves fewer of them, and each whole
        assert all(one[name] == sound[-1][name] for name in ("device", "profile", "interval_s", "links"))


def test_f19_a_configuration_that_is_cut_is_noticed_and_the_settings_are_in_force(scene: Scene) -> None:
    file = scene.agent.state / "configuration"
    scene.agent.start()
    scene.wait_acked(1)
    assert scene.agent.stop() == 0
    Keeper(file).store(Desired(5, interval_s=1.5).encode())
    whole = file.read_bytes()
    for size in (len(whole), len(whole) - 1, 40):
        file.write_bytes(whole[:size])
        told, damaged = len(scene.tap.states), len(events_named(scene, "configuration_damaged"))
        scene.agent.start()
        wait_for(lambda told=told: len(scene.tap.states) > told, "a state")  # type: ignore[misc]
        state = scene.tap.states[told]
        if size == len(whole):
            assert (state.version, state.interval_s) == (5, 1.5)
        else:
            assert (state.version, state.interval_s) == (0, 0.4)
            wait_for(
                lambda damaged=damaged: len(events_named(scene, "configuration_damaged")) > damaged,  # type: ignore[misc]
                "the damage told",
            )
        assert scene.agent.stop() == 0


@pytest.mark.parametrize("flips", [2, pytest.param(40, marks=[pytest.mark.faults, pytest.mark.timeout(900)])])
def test_f25_flipped_bits_in_the_outbox_are_found_told_and_declared(scene: Scene, flips: int) -> None:
    chance = random.Random(SEED)  # noqa: S311 - chooses places
    file = scene.agent.state / "outbox.sqlite"
    found = 0
    scene.agent.start()
    scene.wait_acked(3)
    for _ in range(flips):
        scene.tap.cut()
        waiting = len(scene.look().waiting)
        wait_for(lambda waiting=waiting: len(scene.look().waiting) >= waiting + 6, "packs that wait")  # type: ignore[misc]
        assert scene.agent.stop() == 0
        before = scene.look()
        victim = chance.choice(sorted(set(before.waiting) - scene.tap.seqs(before.epoch)))
        flip_in_row(file, victim, chance)
        scene.tap.open = True
        told = len(events_named(scene, "outbox_damaged"))
        scene.agent.start()
        wait_for(lambda told=told: len(events_named(scene, "outbox_damaged")) > told, "damage told upstream")  # type: ignore[misc]
        wait_for(lambda key=(before.epoch, victim): key in scene.tap.dropped, "the number declared")  # type: ignore[misc]
        found += 1
    scene.drain()
    scene.run.bites["rows damaged"] = found
    verdict = scene.judge()
    assert verdict.report.counts.dropped == flips


@pytest.mark.faults
def test_f25_a_flipped_bit_in_the_structure_costs_no_sound_pack_its_readings(scene: Scene) -> None:
    file = scene.agent.state / "outbox.sqlite"
    scene.agent.start()
    scene.wait_acked(3)
    scene.tap.swallow = True
    wait_for(lambda: len(scene.tap.packs) == len(scene.tap.acked), "no pack between here and there")
    scene.tap.cut()
    wait_for(lambda: len(scene.look().waiting) >= 6, "packs that wait")
    assert scene.agent.stop() == 0
    before = scene.look()
    raw = bytearray(file.read_bytes())
    with closing(sqlite3.connect(file)) as opened:
        (root,) = opened.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'waiting'").fetchone()
    raw[(root - 1) * 4096] ^= 0x40  # the kind of the index's page
    file.write_bytes(raw)
    scene.tap.open, scene.tap.swallow = True, False
    scene.agent.start()
    wait_for(lambda: events_named(scene, "outbox_damaged") != [], "damage told upstream")
    scene.wait_acked(len(before.waiting))
    scene.drain()
    after = scene.look()
    scene.run.bites["files replaced"] = int(after.epoch != before.epoch)
    verdict = scene.judge(salvaged=True)
    lost_only_memory(verdict, deaths=1)
    assert (file.parent / "outbox.sqlite.damaged").exists()


@pytest.mark.parametrize("times", [pytest.param(10, marks=pytest.mark.faults)])
def test_f27_upgrades_under_load_fail_no_pack(scene: Scene, times: int) -> None:
    """Each restart is an upgrade; every second time the old agent does not end in order."""
    for number in range(times):
        scene.agent.start()
        scene.wait_acked(5)
        if number % 2:
            scene.agent.kill()
        else:
            assert scene.agent.stop() == 0
        scene.look()
    scene.agent.start()
    scene.wait_acked(5)
    scene.drain()
    scene.run.bites["restarts with packs on their way"] = sum(bool(one.waiting) for one in scene.numbers_seen[:times])
    verdict = scene.judge()
    assert verdict.report.counts.acknowledged == verdict.report.counts.stored == verdict.report.counts.attempted
    lost_only_memory(verdict, deaths=times)


def lost_only_memory(verdict: Verdict, deaths: int) -> None:
    """What never was on the disk may be gone, once for each death of the process; nothing else."""
    assert len(verdict.gaps) <= deaths, verdict.gaps
    assert all(one <= IN_MEMORY for one in verdict.gaps), verdict.gaps
    assert len(verdict.told) > len(verdict.untold)


def obeys(scene: Scene) -> None:
    """See the lamp take a level by command, answered, and after that by its own rule.

    An agent whose packs vanish leaves the link now and then; a command that is sent meanwhile reaches nobody.
    """
    scene.agent.control.write_text('{"warmth": 90}')
    ordered: set[str] = set()

    def has_obeyed() -> bool:
        if int((time.monotonic() - began_s) / 6) >= len(ordered):
            ordered.add(f"bright-{len(ordered)}")
            order(scene, Command(max(ordered), Dim(0.375, time.time() + 4), time.time() + 60))
        return 0.375 in scene.levels()

    began_s = time.monotonic()
    wait_for(has_obeyed, "the lamp obeys a command")
    wait_for(lambda: any(isinstance(one, Answer) and one.id in ordered for one in scene.tap.events), "an answer")
    wait_for(lambda: scene.levels()[-1] == 0.625, "the lamp follows its rule")


def quick(changes: str) -> list[str]:
    """The agent with some of its waiting times shortened, in place of its command."""
    imports = "import sys; from lichtmast.edge import limits; from lichtmast.edge.timekeeping import limits as sntp"
    run = "sys.argv = sys.argv[1:]; from lichtmast.edge.__main__ import main; main()"
    return [sys.executable, "-c", f"{imports}; {changes}; {run}"]


def lying_clock(lie: Path) -> dict[str, str]:
    """What makes a process see another wall clock than there is; monotonic clocks and files stay true."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        pytest.skip("libfaketime is not installed: scripts/system-packages --install")
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(lie),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        # Else it takes a monotonic deadline for one on the wall clock, and threads that wait for their turn in Python
        # spin and starve the one whose turn it is.
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    }


def jump_to(lie: Path, offset_s: int) -> None:
    """Move the wall clock that the agent sees; the whole file or nothing, as it is read all the time."""
    fresh = lie.with_suffix(".new")
    fresh.write_text(f"{offset_s:+d}\n")
    fresh.rename(lie)


def rebooted(boot_id: Path, uptime_s: int) -> list[str]:
    """Words that make a process see another boot: its id, and a boot time clock that began so long ago."""
    boot_id.write_text(f"{uuid.uuid4()}\n")
    offset_s = uptime_s - int(time.clock_gettime(time.CLOCK_BOOTTIME))
    mount = f'mount --bind {shlex.quote(str(boot_id))} /proc/sys/kernel/random/boot_id && exec "$@"'
    return ["unshare", "--mount", "--time", "--boottime", str(offset_s), "sh", "-c", mount, "sh"]


def events_named(scene: Scene, name: str) -> list[Event]:
    return [one for one in scene.tap.events if isinstance(one, Event) and one.name == name]


def order(scene: Scene, command: Command) -> None:
    """Publish as the server does, past the tap."""
    running = scene.run.running
    found = re.search(
        r'user: "(lichtmast)", password: "([^"]+)"', (running.folder.broker / "nats-server.conf").read_text()
    )
    assert found is not None
    publish.single(
        topics.cmd_topic(scene.agent.device),
        command.encode(),
        qos=1,
        hostname="::1",
        port=running.mqtt_port,
        auth={"username": found[1], "password": found[2]},
    )


def last_commit(log: Path) -> tuple[int, int]:
    """Where the frames of the last transaction begin and end ("Database File Format", section 4)."""
    raw = log.read_bytes()
    salts, starts = raw[16:24], [32]
    at = 32
    while raw[at + 8 : at + 16] == salts:
        at += 24 + 4096
        if int.from_bytes(raw[at - 4096 - 20 : at - 4096 - 16]):
            starts.append(at)
    return starts[-2], starts[-1]


def flip_in_row(file: Path, seq: int, chance: random.Random) -> None:
    """Turn one bit of the payload of a pack, also in what free pages still have of it."""
    with closing(sqlite3.connect(file)) as opened:
        (payload,) = opened.execute("SELECT payload FROM pack WHERE seq = ?", (seq,)).fetchone()
    raw = bytearray(file.read_bytes())
    place, bit = chance.randrange(len(payload)), 1 << chance.randrange(8)
    found = [one.start() for one in re.finditer(re.escape(payload), raw)]
    assert found != []
    for at in found:
        raw[at + place] ^= bit
    file.write_bytes(raw)
