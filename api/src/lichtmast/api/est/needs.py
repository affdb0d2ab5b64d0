"""The routes of EST in the table of needs: they sign nobody in, they check a key or a certificate by themselves."""

from typing import Final

from lichtmast.api.access.need import Need, Needs

ROOT: Final = "/.well-known/est"

EST_NEEDS: Final[Needs] = {
    ("GET", f"{ROOT}/cacerts"): Need.PUBLIC,
    ("GET", f"{ROOT}/csrattrs"): Need.PUBLIC,
    ("POST", f"{ROOT}/simpleenroll"): Need.OWN_CHECK,
    ("POST", f"{ROOT}/simplereenroll"): Need.OWN_CHECK,
}
