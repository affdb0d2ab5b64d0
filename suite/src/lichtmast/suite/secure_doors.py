"""What only a Lichtmast has in which everything is encrypted: who asks whom, and who hears of a new certificate."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lichtmast.api import Broadcaster, open_socket, serve
from lichtmast.api.est import create_est_app
from lichtmast.ingest.callout import Callout
from lichtmast.suite.clock import now_us
from lichtmast.suite.gatekeeper import AnswerWhenAdmitted
from lichtmast.suite.own_certificates import Reload
from lichtmast.suite.secured import Secured
from lichtmast.suite.settings import SecureSettings
from lichtmast.suite.tasks import Tasks

if TYPE_CHECKING:
    from lichtmast.suite.service import Service


def open_secure_doors(tasks: Tasks, service: "Service", secure: Secured, chosen: SecureSettings) -> int:
    """Start the auth callout, the gatekeeper, the care for certificates and enrolment; the port where devices enrol."""
    broker, door = service.broker, service.door
    callout = Callout(broker, secure.gatekeeper.admission, on_refused=secure.note_mqtt)
    secure.gatekeeper.on_change(callout.renew)
    secure.gatekeeper.on_change(door.renew)
    tasks.start(callout.run(), "callout")
    tasks.start(secure.gatekeeper.run(), "gatekeeper")

    def at_once(reload: Callable[[], None]) -> Reload:
        async def reloaded() -> None:
            reload()

        return reloaded

    async def distrust() -> None:
        await asyncio.to_thread(
            service.registry.identity.revoke_distrusted, secure.certificates.authority(), at_us=now_us()
        )

    doors = secure.certificates
    doors.on_change("admission", distrust)
    doors.on_change("mqtt", broker.reload)
    doors.on_change("coap", at_once(door.reload))
    doors.on_change("est", at_once(secure.est_tls.reload))
    doors.on_change("pages", at_once(secure.page_tls.reload))
    tasks.start(secure.certificates.run(), "certificates")
    listener = open_socket(service.settings.host, chosen.est_port, "--est-port")
    est = create_est_app(service.registry, secure.certificates.authority, now_us, on_refused=secure.note_est)

    def counted() -> dict[str, Any]:
        return {
            "revision": secure.gatekeeper.admission().revision,
            "mqtt": asdict(callout.statistics()),
            "coap": asdict(door.statistics()),
            "est": asdict(est.state.statistics()),
        }

    service.doors = counted
    trust = secure.certificates.device_trust
    held = AnswerWhenAdmitted(est, secure.gatekeeper)
    tasks.start(serve(held, [listener], Broadcaster(), tls=secure.est_tls, client_trust=trust), "enrolment")
    port: int = listener.getsockname()[1]
    return port
