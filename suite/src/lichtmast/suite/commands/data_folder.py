"""The data folder of a command that works on what is there: a folder that is missing, or empty, is a wrong name."""

import os
from pathlib import Path

from lichtmast.suite.errors import SuiteError
from lichtmast.suite.folder import VARIABLE, Folder


def used_folder(data: Path | None) -> Folder:
    """The folder that `Folder.choose` would choose. Raises SuiteError where no Lichtmast ever ran; makes nothing."""
    asked = Folder((data or Path(os.environ.get(VARIABLE) or "data")).absolute())
    if not (asked.registry.is_file() or asked.store.is_dir() or asked.authority.is_dir()):
        raise SuiteError(f"there is no register in {asked.path}; name the data folder with --data")
    return Folder.choose(data)
