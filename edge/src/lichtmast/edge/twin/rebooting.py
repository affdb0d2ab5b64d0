"""Starting anew: the settings' own command, or the end of this process, which its supervisor starts again."""

import asyncio
from collections.abc import Sequence
from typing import Final

from lichtmast.edge.twin.errors import RebootAskedError, RebootFailedError
from lichtmast.edge.twin.limits import REBOOT_COMMAND_S

REBOOT_EXIT_CODE: Final = 75
"""EX_TEMPFAIL of sysexits.h: not a failure, start me again. The systemd unit does so for every code but success."""


async def reboot(command: Sequence[str]) -> None:
    """Run the command and return when it has done its part; without one, raise RebootAskedError.

    Raises RebootFailedError where the command cannot be started, fails, or takes longer than REBOOT_COMMAND_S.
    """
    if not command:
        raise RebootAskedError("a reboot was commanded and there is no reboot_command; the process ends")
    nothing = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=nothing, stdout=nothing, stderr=nothing)
    except OSError as error:
        raise RebootFailedError(f"reboot_command {command[0]} cannot be started: {error.strerror}") from error
    try:
        async with asyncio.timeout(REBOOT_COMMAND_S):
            code = await process.wait()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise RebootFailedError(f"reboot_command {command[0]} took longer than {REBOOT_COMMAND_S:g} s") from error
    if code:
        raise RebootFailedError(f"reboot_command {command[0]} ended with {code}")
