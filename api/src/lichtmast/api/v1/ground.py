"""What the routes stand on: the register, the store and the clock, handed in once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lichtmast.api.catalogue import Catalogue
from lichtmast.api.v1.refusals import RefusalBook
from lichtmast.api.workers import Workers
from lichtmast.registry import Registry
from lichtmast.registry.pki import Authority
from lichtmast.store.port import ObservationStore


@dataclass(frozen=True, slots=True)
class Ground:
    """One for the whole router. `authority` and `server_certificates` are asked anew each time: both change."""

    registry: Registry
    store: ObservationStore
    catalogue: Callable[[], Catalogue]
    """Blocks: it is called in a worker."""
    workers: Workers
    clock_us: Callable[[], int]
    authority: Callable[[], Authority | None] = lambda: None
    """None in development, where nothing is encrypted: then the city on a label is not compared."""
    server_certificates: Callable[[], Mapping[str, bytes]] = dict
    """The PEM chains that this server shows, by the name of the door."""
    refusals: RefusalBook = field(default_factory=RefusalBook)
