"""Who may use which route of /v1: roles that handlers ask for at the object, and rows of the table of needs.

The rows of claims, devices and oversight are here; the other rooms have theirs beside their handlers, and
`lichtmast.api.v1.router` puts them together.
"""

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
MANAGERS: Final = (Role.MANAGER,)
"""Who decides what is watched, and what may be looked away from."""
ADMINS: Final = (Role.ADMIN,)
"""Who says where messages go."""
STEWARDS: Final = (Role.MANAGER, Role.ADMIN)
"""Who does what cannot be undone."""
OVERSEERS: Final = (Role.AUDITOR, Role.ADMIN)
KEEPERS: Final = (Role.MANAGER, Role.AUDITOR, Role.ADMIN)

DEVICE: Final = "/v1/devices/{tenant}/{name}"

DEVICE_NEEDS: Final[Needs] = {
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
