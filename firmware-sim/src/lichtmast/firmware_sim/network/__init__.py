"""A bad network for tests: loss, bursts, delay, reordering, duplicates, corruption, narrow bands, MTU, partitions.

`impaired` gives a network with an edge and a core, on namespaces where the machine allows them and as a relay on ::1
elsewhere. `Impairment` says what is done to packets, `Schedule` when, `counts` what really was done.
"""

from lichtmast.firmware_sim.network.counts import Counts, NetworkCounts
from lichtmast.firmware_sim.network.decider import Decider, Decision
from lichtmast.firmware_sim.network.errors import CarrierError, ImpairmentError, NamespaceError, NetworkError
from lichtmast.firmware_sim.network.impairment import Burst, Flapping, Impairment
from lichtmast.firmware_sim.network.lab import Network, RelayNetwork, TunNetwork, impaired, namespaces_refused
from lichtmast.firmware_sim.network.namespaces import Here, Namespace, Place
from lichtmast.firmware_sim.network.schedule import Direction, Schedule, Step

__all__ = [
    "Burst",
    "CarrierError",
    "Counts",
    "Decider",
    "Decision",
    "Direction",
    "Flapping",
    "Here",
    "Impairment",
    "ImpairmentError",
    "Namespace",
    "NamespaceError",
    "Network",
    "NetworkCounts",
    "NetworkError",
    "Place",
    "RelayNetwork",
    "Schedule",
    "Step",
    "TunNetwork",
    "impaired",
    "namespaces_refused",
]
