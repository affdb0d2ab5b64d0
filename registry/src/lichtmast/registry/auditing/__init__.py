"""The log of changes: who changed what, from where, in a chain that cannot be mended unseen.

`append` writes an event in the transaction of the change it tells of; `AuditLog` reads and verifies. Will not: hold a
secret, or a person's data beyond the account name and what is marked as erasable.
"""

from lichtmast.registry.auditing.actor import LOCAL, LOCAL_COMMAND, SYSTEM, Actor, ActorKind
from lichtmast.registry.auditing.chain import append, append_all
from lichtmast.registry.auditing.event import Action, Event, LoggedEvent
from lichtmast.registry.auditing.log import AuditLog
from lichtmast.registry.auditing.verdict import AuditFault, AuditHead, AuditVerdict, BadEvent

__all__ = [
    "LOCAL",
    "LOCAL_COMMAND",
    "SYSTEM",
    "Action",
    "Actor",
    "ActorKind",
    "AuditFault",
    "AuditHead",
    "AuditLog",
    "AuditVerdict",
    "BadEvent",
    "Event",
    "LoggedEvent",
    "append",
    "append_all",
]
