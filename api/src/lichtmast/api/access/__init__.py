"""Who may use which address: sessions, tokens, roles, and the table that every route of the API stands in."""

from lichtmast.api.access.caller import Caller, caller_of
from lichtmast.api.access.need import Need, Needs

__all__ = ["Caller", "Need", "Needs", "caller_of"]
