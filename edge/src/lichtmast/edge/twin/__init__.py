"""The device's twin: what it should do, how it does it, and the rules by which a lamp burns when nobody can be asked.

`Twin` (executor) takes wishes and commands and moves the lamps; its parts are pure: `configuration`, `commands`,
`rules` with `sun`, and `lighting`. `keeper` writes the two small files so that a power cut leaves the old or the new.

Will not: decide which documents are well formed; that is lichtmast.wire.twin.
"""

from lichtmast.edge.twin.configuration import Abilities, Configuration, from_settings
from lichtmast.edge.twin.errors import KeepError, RebootAskedError, RebootFailedError
from lichtmast.edge.twin.executor import Hands, Twin
from lichtmast.edge.twin.rebooting import REBOOT_EXIT_CODE, reboot

__all__ = [
    "REBOOT_EXIT_CODE",
    "Abilities",
    "Configuration",
    "Hands",
    "KeepError",
    "RebootAskedError",
    "RebootFailedError",
    "Twin",
    "from_settings",
    "reboot",
]
