"""A session that stands: one device, as its certificate says, at one address."""

from typing import Final

from OpenSSL import SSL

from lichtmast.ingest.coap.peers import Address
from lichtmast.registry.identity import Admitted


class Session:
    """What the layer keeps of it. `endpoint` is its name in the CoAP core: no other session's, ever."""

    __slots__ = ("address", "admitted", "connection", "device", "endpoint", "heard_s", "random")

    def __init__(
        self,
        connection: SSL.Connection,
        admitted: Admitted,
        address: Address,
        random: bytes,
        number: int,
        now_s: float,
    ) -> None:
        self.connection: Final = connection
        self.admitted: Final = admitted
        self.device: Final = str(admitted.device)
        self.endpoint: Final[Address] = (self.device, number, 0, 0)
        self.address: Final = address
        self.random: Final = random
        self.heard_s = now_s
