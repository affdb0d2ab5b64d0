"""What fault runs on a bad network share: the two namespaces and the router between them.

Where the machine refuses namespaces these tests are skipped, which is a failure in CI.
"""

from collections.abc import Iterator

import pytest

from lichtmast.firmware_sim.network import TunNetwork, impaired, namespaces_refused

SEED = 20261121


@pytest.fixture
def tun() -> Iterator[TunNetwork]:
    """A network that is good until the test makes it bad: an edge, a core, and a router that sees every packet."""
    refused = namespaces_refused()
    if refused:
        pytest.skip(refused)
    with impaired(seed=SEED, carrier="tun") as network:
        yield network
