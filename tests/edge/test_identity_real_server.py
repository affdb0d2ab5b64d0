"""The agent's exchange with the real EST server, register and authority: claim, renewal, roll-over and recovery."""

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from est_town import ENGINEER, TENANT, EstTown, serving

from lichtmast.api import TlsFiles
from lichtmast.edge.clock import SystemClock
from lichtmast.edge.identity import IdentityFolder, Moment
from lichtmast.edge.identity.exchange import Order, perform
from lichtmast.edge.identity.keys import make_key
from lichtmast.edge.identity.schedule import Outcome, Result, Step
from lichtmast.edge.identity.tls import Credentials, client_context, secure
from lichtmast.registry.pki import AuthorityKind
from lichtmast.wire import DeviceId
from lichtmast.wire.label import Label

pytestmark = pytest.mark.slow
DAY_US = 86_400 * 1_000_000


@dataclass
class Node:
    """A device that made its key, and whose label was printed in the workshop."""

    label: Label
    folder: IdentityFolder
    state: Path

    def does(self, step: Step, port: int, *, days: int = 0) -> Outcome:
        wall_us = SystemClock().wall_us() + days * DAY_US
        return perform(
            Order(step, self.label.text, "::1", port, str(self.state), str(self.folder.key), wall_us, is_trusted=True)
        )


@pytest.fixture
def town(tmp_path: Path) -> Iterator[EstTown]:
    with EstTown.open(tmp_path) as made:
        yield made


@pytest.fixture
def port(town: EstTown) -> Iterator[int]:
    with serving(town.est_app(), town.tls_files(), town.device_trust) as port:
        yield port


@pytest.fixture
def node(town: EstTown, tmp_path: Path) -> Node:
    return staged(town, tmp_path / "state", "lamp-0001")


def staged(town: EstTown, state: Path, name: str) -> Node:
    folder = IdentityFolder(state)
    folder.make()
    label = Label(DeviceId(TENANT, name), make_key(folder.key).pin, town.authority.root_pin)
    town.registry.identity.stage(label, "weather", at_us=town.now_us())
    return Node(label, folder, state)


def claim(town: EstTown, node: Node, asset: int = 0) -> None:
    town.registry.identity.open_claim(
        node.label, asset_id=town.assets[TENANT][asset].id, by=ENGINEER, at_us=town.now_us()
    )


def test_from_the_workshop_to_a_certificate_and_its_renewal(town: EstTown, node: Node, port: int) -> None:
    waiting = node.does(Step.ENROL, port)
    assert waiting.result is Result.LATER
    assert waiting.retry_s is not None
    claim(town, node)
    enrolled = node.does(Step.ENROL, port)
    assert enrolled.result is Result.DONE, enrolled.told
    again = node.does(Step.ENROL, port)
    assert again.certificate == enrolled.certificate  # the answer might have been lost
    town.shift_us = 60 * DAY_US
    renewed = node.does(Step.RENEW, port, days=60)
    assert renewed.result is Result.DONE, renewed.told
    assert renewed.certificate != enrolled.certificate
    admission = town.registry.identity.admission()
    assert renewed.certificate is not None
    assert admission.admits(node.label.device, int(renewed.certificate.serial, 16), town.now_us())


def test_a_device_that_nobody_staged_is_refused_with_a_reason(node: Node, port: int) -> None:
    label = Label(DeviceId(TENANT, "lamp-9999"), node.label.key_pin, node.label.root_pin)
    outcome = Node(label, node.folder, node.state).does(Step.ENROL, port)
    assert outcome.result is Result.REFUSED
    assert outcome.told.startswith("the EST server refuses: ")


def test_a_suspended_device_is_refused_and_goes_on_when_it_is_resumed(town: EstTown, node: Node, port: int) -> None:
    claim(town, node)
    assert node.does(Step.ENROL, port).result is Result.DONE
    town.registry.identity.suspend(node.label.device, by=ENGINEER, at_us=town.now_us())
    assert node.does(Step.RENEW, port).result is Result.REFUSED
    town.registry.identity.resume(node.label.device, by=ENGINEER, at_us=town.now_us())
    assert node.does(Step.RENEW, port).result is Result.DONE


def test_an_expired_device_waits_for_a_new_claim(town: EstTown, node: Node, port: int) -> None:
    claim(town, node)
    assert node.does(Step.ENROL, port).result is Result.DONE
    town.shift_us = 100 * DAY_US
    assert node.does(Step.ENROL, port).result is not Result.DONE
    claim(town, node)
    issued = town.authority.issue_server(["::1"], now_us=town.now_us())
    (town.folder / "later.pem").write_bytes(issued.chain_pem)
    (town.folder / "later.key").write_bytes(issued.key_pem)
    files = TlsFiles(town.folder / "later.pem", town.folder / "later.key")
    with serving(town.est_app(), files, town.device_trust) as later:
        outcome = node.does(Step.ENROL, later, days=100)
    assert outcome.certificate is not None, outcome.told
    assert outcome.certificate.not_after_us > town.now_us()


def test_the_authority_rolls_over_and_the_device_follows(town: EstTown, node: Node, port: int) -> None:
    claim(town, node)
    assert node.does(Step.ENROL, port).result is Result.DONE
    before = node.folder.load()
    town.authority.roll_issuing(AuthorityKind.DEVICES, now_us=town.now_us())
    town.authority.roll_root(now_us=town.now_us())
    town.write_trust()
    assert node.does(Step.REFRESH, port).result is Result.DONE
    with serving(town.est_app(), town.tls_files("rolled"), town.device_trust) as new:
        assert node.does(Step.REFRESH, new).result is Result.DONE
        outcome = node.does(Step.RENEW, new)
        assert outcome.result is Result.DONE, outcome.told
    assert node.folder.load().certificate != before.certificate


def test_what_it_keeps_opens_a_connection_as_the_links_make_it(town: EstTown, node: Node, port: int) -> None:
    """Strict X.509, TLS 1.3, our root alone: the real authority's certificates pass on both sides."""

    claim(town, node)
    assert node.does(Step.ENROL, port).result is Result.DONE
    kept = node.folder.load()
    assert kept.trust_file is not None
    context = client_context(
        kept.trust_file, Credentials(kept.trust_file, kept.certificate_file, node.folder.key), only_13=True
    )
    opened = socket.create_connection(("::1", port), 10)
    with secure(context, opened, "::1", Moment(SystemClock().wall_us(), is_trusted=True)) as secured:
        assert secured.version() == "TLSv1.3"
        assert isinstance(secured, ssl.SSLSocket)
