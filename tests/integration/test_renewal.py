"""Certificates that change while readings come in: renewals, roll-overs, a restart, and the end that is announced.

Real agents against a real `lichtmast up --secure`. What they measured is what is stored, number by number: the audit
finds no gap, and their outboxes are empty.
"""

import asyncio
import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from identity_town import IdentityTown
from running_agent import RunningAgent
from running_lichtmast import lichtmast
from secure_town import TENANT, SecureTown, now_us, secure_town, wait_until

from lichtmast.registry import Registry
from lichtmast.registry.identity import CertificateRecord
from lichtmast.registry.pki import Authority
from lichtmast.registry.pki.limits import SKEW_US
from lichtmast.suite import own_certificates
from lichtmast.suite.folder import Folder
from lichtmast.suite.own_certificates import OwnCertificates
from lichtmast.suite.unlock import unlock_secret
from lichtmast.wire import DeviceId

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
RENEWED_AFTER_S = 15.0
"""In place of sixty days. At most four certificates an hour are issued to one device, so a run has to end in time."""
BACKDATED_S = SKEW_US / 1e6
LIFE_S = 90 * 86_400 + BACKDATED_S
STEP_S = 60.0
PACKS_ON_THE_WAY = 20


@pytest.fixture
def town(tmp_path: Path) -> Iterator[SecureTown]:
    with secure_town(tmp_path) as made:
        yield made


def hasty() -> list[str]:
    """The agent with another idea of when a certificate is old, in place of its command."""
    share = (BACKDATED_S + RENEWED_AFTER_S) / LIFE_S
    change = f"limits.RENEW_SHARE = {share!r}; limits.RENEW_SPREAD = 0.0"
    run = "sys.argv = sys.argv[1:]; from lichtmast.edge.__main__ import main; main()"
    return [sys.executable, "-c", f"import sys; from lichtmast.edge.identity import limits; {change}; {run}"]


@contextmanager
def at_work(town: SecureTown, *, prefix: list[str], **transports: str) -> Iterator[list[RunningAgent]]:
    """Agents by name, each by its transport, claimed and sending."""
    with ExitStack() as stack:
        agents = []
        for name, transport in transports.items():
            agent = town.agent(name, transport)
            stack.callback(agent.end)
            agent.prefix = prefix
            agent.start()
            claim(town, agent)
            agents.append(agent)
        for agent in agents:
            wait_stored(town, agent, 1)
        yield agents


def claim(town: SecureTown, agent: RunningAgent) -> None:
    """The engineer's scan."""
    answer = town.manager().post("/v1/claims", json={"label": agent.label, "assetId": town.lamppost().id})
    assert answer.status_code == 201, answer.text


def stored(town: SecureTown, agent: RunningAgent) -> int:
    """Packs of an agent that are in the store."""
    accounts = town.running.audit()["accounts"]
    return sum(one["stored"] for one in accounts if one["device"] == str(agent.device))


def wait_stored(town: SecureTown, agent: RunningAgent, packs_min: int) -> None:
    wait_until(lambda: stored(town, agent) >= packs_min, f"{packs_min} packs of {agent.device.device}", STEP_S)


def wait_more(town: SecureTown, *agents: RunningAgent) -> None:
    """Each of them goes on."""
    for agent in agents:
        wait_stored(town, agent, stored(town, agent) + 5)


def issued(town: SecureTown, device: DeviceId) -> list[CertificateRecord]:
    with Registry.open(town.running.folder.registry) as registry:
        return registry.identity.certificates(device)


def issuers(town: SecureTown, device: DeviceId) -> set[x509.Name]:
    return {x509.load_der_x509_certificate(one.der).issuer for one in issued(town, device)}


def roll(town: SecureTown, which: str) -> None:
    """As an operator does it, beside the running program; wait until that has taken it up."""
    shown = town.running.folder.certificates / "server.pem"
    before = shown.read_bytes()
    done = lichtmast("ca", "roll", which, data=town.running.folder.path)
    assert done.returncode == 0, done.stderr
    wait_until(lambda: shown.read_bytes() != before, f"the roll-over of {which} is in force")
    town.authority = Authority.open(town.running.folder.authority, unlock_secret(town.running.folder))


def settle(town: SecureTown, *agents: RunningAgent) -> dict[str, int]:
    """Stop the agents; what is stored of each. What is not stored waits in its outbox: nothing is anywhere else."""
    counts = {}
    for agent in agents:
        assert agent.stop() == 0
        left = agent.outbox()
        counts[agent.device.device] = stored(town, agent)
        assert counts[agent.device.device] + left["packs"] >= left["next_seq"] - 1, (counts, left)
        assert (left["packs"] <= PACKS_ON_THE_WAY, left["dropped_packs"], left["turned_away_drafts"]) == (True, 0, 0), (
            left
        )
    told = town.running.audit()
    assert told["balanced"], told["faults"]
    assert (told["missing"], told["dropped"], told["quarantined"]) == (0, 0, 0), told
    return counts


def test_certificates_renew_and_authorities_roll_over_under_load_and_no_pack_is_lost(town: SecureTown) -> None:
    with at_work(town, prefix=hasty(), meadow="mqtt", copse="coap") as agents:
        first = {one.device: issuers(town, one.device) for one in agents}
        roll(town, "devices")
        for one in agents:
            wait_until(lambda one=one: len(issuers(town, one.device)) == 2, f"{one.device} under both", STEP_S)  # type: ignore[misc]
        roll(town, "servers")
        roll(town, "root")
        town.running.kill_broker()  # so that everybody comes again, and meets the new certificates
        wait_more(town, *agents)
        with at_work(town, prefix=[], newcomer="mqtt") as newcomers:
            new = issuers(town, newcomers[0].device)
            assert new.isdisjoint(first[agents[0].device])
            counts = settle(town, *agents, *newcomers)
        certificates = {one.device.device: len(issued(town, one.device)) for one in agents}
    assert min(certificates.values()) >= 2
    assert min(counts.values()) >= 5


@pytest.mark.parametrize(
    ("thieves", "honest"),
    [
        ({"thief": "mqtt"}, {"honest": "coap"}),
        pytest.param({"thief": "mqtt", "quiet": "coap"}, {"honest": "mqtt", "other": "coap"}, marks=pytest.mark.faults),
    ],
    ids=["over MQTT", "over both"],
)
def test_who_is_revoked_while_lichtmast_is_down_stays_out_and_the_others_come_back_without_loss(
    town: SecureTown, thieves: dict[str, str], honest: dict[str, str]
) -> None:
    with at_work(town, prefix=[], **thieves, **honest) as agents:
        revoked, others = agents[: len(thieves)], agents[len(thieves) :]
        town.running.kill()
        with Registry.open(town.running.folder.registry) as registry:
            for one in revoked:
                registry.identity.revoke_certificates(one.device, at_us=now_us())
        town.running.start()
        before = [stored(town, one) for one in revoked]
        wait_more(town, *others)
        counters = {"mqtt": ("mqtt", "refused", "revoked"), "coap": ("coap", "dtls", "handshakes_failed", "revoked")}
        for door in thieves.values():
            wait_until(lambda door=door: town.count(*counters[door]) >= 1, f"refused at {door}", STEP_S)  # type: ignore[misc]
        for one in revoked:
            wait_until(lambda one=one: town.refused(one.device, *door_of(one)) >= 1, "shown to its manager", STEP_S)  # type: ignore[misc]
        wait_more(town, *others)
        assert [stored(town, one) for one in revoked] == before
        for one in revoked:
            one.end()
        settle(town, *others)


def door_of(agent: RunningAgent) -> tuple[str, str]:
    return ("mqtt" if agent.mqtt else "coap"), "revoked"


def test_the_end_of_an_operators_own_certificate_is_announced_at_30_7_and_1_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Folder(tmp_path / "data")
    folder.path.mkdir()
    own = OwnCertificates(folder, unlock_secret(folder), ["::1"], chance=0.5)
    operators = IdentityTown(tmp_path / "operator")
    monkeypatch.setattr(own_certificates, "CHECK_S", 0.01)
    caplog.set_level(logging.WARNING)
    page, key = operators.server("pages", ends_in=timedelta(days=31))
    own.watch(page, key)

    def announced() -> list[int]:
        told = [one for one in caplog.records if one.msg.startswith("certificate_ends_soon") and one.args[0] == page]  # type: ignore[index]
        return [one.args[1] for one in told]  # type: ignore[index,misc]

    async def look(days: float) -> None:
        operators.server("pages", ends_in=timedelta(days=days))
        seen = len(announced())
        running = asyncio.create_task(own.run(), name="certificates")
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5 if days > 30 else 10):
                while len(announced()) == seen:
                    await asyncio.sleep(0.005)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    for days in (31, 29.5, 6.5, 0.5):
        asyncio.run(look(days))
    assert announced() == [30, 7, 1]


def test_the_ends_of_all_certificates_are_shown_to_who_keeps_them(town: SecureTown) -> None:
    told = town.manager().get("/v1/certificates").json()
    shown = x509.load_pem_x509_certificate((town.running.folder.certificates / "server.pem").read_bytes())
    end = f"{shown.not_valid_after_utc:%Y-%m-%dT%H:%M:%S}"
    assert {one["door"]: one["notAfter"][:19] for one in told["server"]} == {"pages": end, "devices": end}
    assert {one["role"] for one in told["authority"]} == {"root", "devices", "servers"}
    assert town.manager().get(f"/v1/devices?tenant={TENANT}").is_success
