"""Which address of /v1 is answered by what, and who may use it."""

from typing import Final

from fastapi import APIRouter

from lichtmast.api.access.need import Needs
from lichtmast.api.access.routes import Routes
from lichtmast.api.v1 import alerts, channels, quarantine, rules, silence, validation, windows
from lichtmast.api.v1.claims import Claims
from lichtmast.api.v1.devices import Devices
from lichtmast.api.v1.ground import Ground
from lichtmast.api.v1.needs import DEVICE, DEVICE_NEEDS
from lichtmast.api.v1.oversight import Oversight

V1_NEEDS: Final[Needs] = {
    **DEVICE_NEEDS,
    **alerts.NEEDS,
    **rules.NEEDS,
    **windows.NEEDS,
    **channels.NEEDS,
    **quarantine.NEEDS,
    **validation.NEEDS,
    **silence.NEEDS,
}


def v1_router(ground: Ground) -> APIRouter:
    """The routes of V1_NEEDS. Whoever includes them makes sure that the caller is known (`lichtmast.api.access`)."""
    router = APIRouter()
    for method, path, endpoint in (
        *_devices(ground),
        *alerts.Alerts(ground).routes(),
        *rules.Rules(ground).routes(),
        *windows.Windows(ground).routes(),
        *channels.Channels(ground).routes(),
        *quarantine.Quarantine(ground).routes(),
        *validation.Validation(ground).routes(),
        *silence.Silence(ground, ground.why_silent).routes(),
    ):
        router.add_route(path, endpoint, methods=[method], include_in_schema=False)
    return router


def _devices(ground: Ground) -> Routes:
    claims = Claims(ground)
    devices = Devices(ground, claims)
    oversight = Oversight(ground)
    return [
        ("POST", "/v1/claims", claims.open),
        ("GET", "/v1/claims", claims.list),
        ("GET", "/v1/claims/{claim_id}", claims.show),
        ("DELETE", "/v1/claims/{claim_id}", claims.cancel),
        ("GET", "/v1/devices", devices.list),
        ("GET", DEVICE, devices.show),
        ("POST", f"{DEVICE}/suspension", devices.suspend),
        ("DELETE", f"{DEVICE}/suspension", devices.resume),
        ("POST", f"{DEVICE}/retirement", devices.retire),
        ("POST", f"{DEVICE}/replacement", devices.replace),
        ("POST", f"{DEVICE}/move", devices.move),
        ("POST", f"{DEVICE}/certificate-revocations", devices.revoke),
        ("GET", "/v1/assets", oversight.assets),
        ("GET", "/v1/audit-events", oversight.events),
        ("GET", "/v1/certificates", oversight.certificates),
    ]
