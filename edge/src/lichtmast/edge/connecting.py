"""From the settings to what connects: the links, and who looks after the certificate that they show."""

from collections.abc import Callable

from lichtmast.edge.clock import Clock
from lichtmast.edge.identity import Credentials, IdentityFolder, Moment
from lichtmast.edge.identity.caretaker import Caretaker, Errand
from lichtmast.edge.identity.errors import CertificateError
from lichtmast.edge.preparing import Prepared
from lichtmast.edge.settings import Settings
from lichtmast.edge.uplink import Link
from lichtmast.edge.uplink.securing import Identity
from lichtmast.wire.label import Label


def make_links(settings: Settings, identity: Identity | None) -> list[Link]:
    """The links of the settings; each imports its library only when it is there."""
    links: list[Link] = []
    for name in settings.uplink.order:
        host, port = settings.uplink.endpoints[name]
        secured = identity if name in settings.uplink.tls else None
        if name == "mqtt":
            from lichtmast.edge.uplink.mqtt import MqttLink  # noqa: PLC0415 - a library that CoAP does not need

            links.append(MqttLink(settings.device.id, host, port, secured))
        else:
            from lichtmast.edge.uplink.coap import CoapLink  # noqa: PLC0415 - a library that MQTT does not need

            links.append(CoapLink(host, port, secured))
    return links


def make_caretaker(
    prepared: Prepared,
    clock: Clock,
    moment: Callable[[], Moment],
    *,
    on_certificate: Callable[[], None],
    on_told: Callable[[str, str], None],
) -> Caretaker | None:
    """Who looks after the certificate; None where the settings give this device no label."""
    label = prepared.settings.identity.label
    if label is None:
        return None
    return Caretaker(
        errand_of(prepared.settings, label),
        seed=prepared.seed,
        now_s=clock.monotonic_s,
        moment=moment,
        on_certificate=on_certificate,
        on_told=on_told,
    )


def errand_of(settings: Settings, label: Label) -> Errand:
    """What the identity needs to know of the settings."""
    told = settings.identity
    return Errand(label, told.host, told.port, IdentityFolder(settings.device.state, told.key))


class FiledIdentity:
    """The identity as the files have it, for a self-test beside no running agent."""

    def __init__(self, folder: IdentityFolder, moment: Moment) -> None:
        self._folder, self._moment = folder, moment

    def credentials(self) -> Credentials:
        """What a link shows. Raises CertificateError while there is nothing."""
        kept = self._folder.load()
        if kept.certificate is None or kept.trust_file is None:
            raise CertificateError("this device has no certificate yet; lichtmast-edge run asks for one")
        return Credentials(kept.trust_file, kept.certificate_file, self._folder.key)

    def moment(self) -> Moment:
        """Now."""
        return self._moment
