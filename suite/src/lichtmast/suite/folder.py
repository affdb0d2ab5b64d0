"""The data folder: where everything of one Lichtmast is, and where each room's part lies."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lichtmast.suite.errors import FolderError

VARIABLE: Final = "LICHTMAST_DATA"
REGISTER: Final = "registry.sqlite"


@dataclass(frozen=True, slots=True)
class Folder:
    """A data folder. Its parts can be copied for a backup while Lichtmast is down."""

    path: Path

    @classmethod
    def choose(cls, given: Path | None) -> "Folder":
        """The folder that was given, else LICHTMAST_DATA, else ./data; made where it is missing."""
        path = given or Path(os.environ.get(VARIABLE) or "data")
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if (path / REGISTER).exists() and path.stat().st_mode & 0o077:
                path.chmod(0o700)  # made before there were people in the register
        except OSError as error:
            raise FolderError(
                f"data folder {path} cannot be made: {error.strerror}; choose another with --data"
            ) from error
        return cls(path.resolve())

    @property
    def broker(self) -> Path:
        """Configuration, log file and streams of the broker."""
        return self.path / "broker"

    @property
    def store(self) -> Path:
        """Observations, pack ledger and quarantine."""
        return self.path / "store"

    @property
    def registry(self) -> Path:
        """The register."""
        return self.path / REGISTER

    @property
    def alerts(self) -> Path:
        """What the alert engine has worked out; it is made anew where it is missing."""
        return self.path / "alerts"

    @property
    def authority(self) -> Path:
        """The certificate authority: its certificates, and its keys, encrypted."""
        return self.path / "authority"

    @property
    def certificates(self) -> Path:
        """The certificates and keys that this server shows, and what it trusts devices by."""
        return self.path / "certificates"

    @property
    def unlock(self) -> Path:
        """What unlocks the keys, where nothing else was named; readable by its owner alone."""
        return self.path / "unlock"

    @property
    def operator(self) -> Path:
        """Where the running Lichtmast says how its own commands reach it; readable by its owner alone."""
        return self.path / "operator.json"
