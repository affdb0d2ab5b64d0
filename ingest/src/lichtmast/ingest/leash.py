"""Run a program that ends when its parent does: `python -I -S leash.py PARENT PROGRAM ARGUMENT...`.

A supervisor that is killed cannot stop its child. On Linux the kernel does it: PR_SET_PDEATHSIG (prctl(2)) survives
execve. The parent tells its process id, because it may be dead before this program asks who it was. Elsewhere the
program is simply run, and the next start finds the port taken and says so.

Run as a file and without site packages, because it has to become the program at once. Imports nothing of ours.
"""

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """Ask the kernel for the signal, then become the program."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
        if os.getppid() != parent:  # it died before the call above: no signal will come any more
            raise SystemExit(1)
    os.execvp(program[0], program)  # noqa: S606 - the whole point: no shell


if __name__ == "__main__":
    main()
