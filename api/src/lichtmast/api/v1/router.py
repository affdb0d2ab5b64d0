"""Which address of /v1 is answered by what."""

from fastapi import APIRouter

from lichtmast.api.v1.claims import Claims
from lichtmast.api.v1.devices import Devices
from lichtmast.api.v1.ground import Ground
from lichtmast.api.v1.needs import DEVICE
from lichtmast.api.v1.oversight import Oversight


def v1_router(ground: Ground) -> APIRouter:
    """The routes of V1_NEEDS. Whoever includes them makes sure that the caller is known (`lichtmast.api.access`)."""
    claims = Claims(ground)
    devices = Devices(ground, claims)
    oversight = Oversight(ground)
    router = APIRouter()
    for method, path, endpoint in (
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
    ):
        router.add_route(path, endpoint, methods=[method], include_in_schema=False)
    return router
