"""The management API at /v1: devices and claims, alerts and who is told of them, rules, and the log of changes.

JSON in and out, errors as problem details, by the Dutch API design rules. Who asks is found out in
`lichtmast.api.access`; here each handler asks for the object. Will not: write observations, or manage people.
"""

from lichtmast.api.v1.ground import Ground
from lichtmast.api.v1.refusals import RefusalBook, SeenRefusal
from lichtmast.api.v1.router import V1_NEEDS, v1_router

__all__ = ["V1_NEEDS", "Ground", "RefusalBook", "SeenRefusal", "v1_router"]
