"""Who runs a command on this machine, as the log of changes names it."""

import os
import pwd

from lichtmast.registry.auditing import Actor, ActorKind


def operator_actor() -> Actor:
    """The account that runs this process; the kernel's word, not the environment's."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # a container without an account for it
        name = f"uid {uid}"
    return Actor(ActorKind.COMMAND, name)
