"""What an operator can set of the DTLS layer. Each field is described in docs/reference/coap.md."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lichtmast.ingest.coap.settings import CoapSettingsError
from lichtmast.registry.identity import Admission


@dataclass(frozen=True, slots=True)
class Dtls:
    """Who the door is, whom it trusts, and how much it holds. Valid by construction; raises CoapSettingsError."""

    certificate: Path
    """The server's chain in PEM, its own certificate first."""
    key: Path
    """Its private key in PEM."""
    device_trust: Path
    """The authorities in PEM that issue devices' certificates, and no others: any of them can name any device."""
    admission: Callable[[], Admission]
    """Who is admitted now."""
    sessions_max: int = 10_000
    """Sessions at one time (about 75 KB each); beyond it the one that is silent longest ends."""
    handshakes_max: int = 256
    """Handshakes in flight at one time; beyond it the oldest makes room."""
    handshakes_per_s: float = 300.0
    """How many handshakes may begin, sustained; two seconds' worth at once."""
    subnet_handshakes_per_s: float = 100.0
    """The same, of one /64."""
    ccm_8: bool = False
    """Whether devices that know no other suite than ECDHE-ECDSA-AES128-CCM8 are served."""
    on_refused: Callable[[str, str], None] | None = None
    """Hears of each certificate that is refused: whom it names, if anybody, and why."""

    def __post_init__(self) -> None:
        for name in ("sessions_max", "handshakes_max", "handshakes_per_s", "subnet_handshakes_per_s"):
            if getattr(self, name) <= 0:
                raise CoapSettingsError(f"{name} is {getattr(self, name)}; it must be above 0")
