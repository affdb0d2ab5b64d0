"""Who may use which route of /v1: the rows of the table of needs, and the roles that handlers ask for at the object."""

from typing import Final

from lichtmast.api.access.need import Need, Needs
from lichtmast.registry.people import Role

READERS: Final = tuple(Role)
FIELD: Final = (Role.ENGINEER, Role.MANAGER)
"""Who hangs devices, an engineer inside the area and time of the grant."""
CLAIM_READERS: Final = (*FIELD, Role.AUDITOR, Role.ADMIN)
"""A claim says where an engineer stood: not for everybody who may look at devices."""
GUARDS: Final = (Role.ENGINEER, Role.MANAGER, Role.ADMIN)
"""Who can shut a device out, and let it in again."""
STEWARDS: Final = (Role.MANAGER, Role.ADMIN)
"""Who does what cannot be undone."""
OVERSEERS: Final = (Role.AUDITOR, Role.ADMIN)
KEEPERS: Final = (Role.MANAGER, Role.AUDITOR, Role.ADMIN)

DEVICE: Final = "/v1/devices/{tenant}/{name}"

V1_NEEDS: Final[Needs] = {
    ("POST", "/v1/claims"): Need.of(*FIELD),
    ("GET", "/v1/claims"): Need.of(*CLAIM_READERS),
    ("GET", "/v1/claims/{claim_id}"): Need.of(*CLAIM_READERS),
    ("DELETE", "/v1/claims/{claim_id}"): Need.of(*FIELD),
    ("GET", "/v1/devices"): Need.of(*READERS),
    ("GET", DEVICE): Need.of(*READERS),
    ("POST", f"{DEVICE}/suspension"): Need.of(*GUARDS),
    ("DELETE", f"{DEVICE}/suspension"): Need.of(*GUARDS),
    ("POST", f"{DEVICE}/retirement"): Need.of(*STEWARDS),
    ("POST", f"{DEVICE}/replacement"): Need.of(*FIELD),
    ("POST", f"{DEVICE}/move"): Need.of(*FIELD),
    ("POST", f"{DEVICE}/certificate-revocations"): Need.of(*STEWARDS),
    ("GET", "/v1/assets"): Need.of(*READERS),
    ("GET", "/v1/audit-events"): Need.of(*OVERSEERS),
    ("GET", "/v1/certificates"): Need.of(*KEEPERS),
}
