"""The data folder of a command that only reads: a folder that is not there, or empty, is a wrong name."""

import os
from pathlib import Path

from lichtmast.suite.errors import SuiteError
from lichtmast.suite.folder import VARIABLE, Folder


def used_folder(data: Path | None) -> Folder:
    """The folder that `Folder.choose` would choose. Raises SuiteError where no Lichtmast ever ran; makes nothing."""
    asked = Folder((data or Path(os.environ.get(VARIABLE) or "data")).absolute())
    # One that runs has a register too.
    if not asked.registry.is_file() and not asked.store.is_dir():
        raise SuiteError(f"there is no register in {asked.path}; name the data folder with --data")
    return Folder.choose(data)
