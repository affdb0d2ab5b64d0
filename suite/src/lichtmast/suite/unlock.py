"""The secret that unlocks the keys of the data folder: where it comes from, and how it is made.

The authority's keys lie encrypted in the data folder, so that a copy of it gives nobody the authority. What unlocks
them should come from elsewhere: a file that only the service can read, or systemd's credentials.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from lichtmast.suite.errors import UnlockError
from lichtmast.suite.folder import Folder

VARIABLE: Final = "LICHTMAST_UNLOCK_FILE"
CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
CREDENTIAL: Final = "lichtmast-unlock"
BYTES_MIN: Final = 32
SECRET_BYTES: Final = 48
BYTES_MAX: Final = 1_023
_OTHERS: Final = 0o077
_OTHERS_OF_A_CREDENTIAL: Final = 0o037
"""systemd lets the service's user in by an access control list, whose mask shows as the group's right to read."""


def unlock_secret(folder: Folder) -> bytes:
    """The secret of LICHTMAST_UNLOCK_FILE, else of the systemd credential, else of the data folder's `unlock` file.

    The last is made where it is missing: fine for a beginning, and docs/reference/running.md says how to move it out.
    Raises UnlockError.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return _read(Path(named))
    credential = Path(os.environ.get(CREDENTIALS, os.devnull)) / CREDENTIAL
    if credential.is_file():
        return _read(credential, others=_OTHERS_OF_A_CREDENTIAL)
    if not folder.unlock.exists():
        if folder.authority.exists():
            raise UnlockError(
                f"the keys of {folder.path} are locked, and the secret that unlocks them is elsewhere; name its file "
                f"in {VARIABLE}, as for the service"
            )
        _make(folder.unlock)
    return _read(folder.unlock)


def _read(path: Path, others: int = _OTHERS) -> bytes:
    try:
        mode = path.stat().st_mode
        secret = path.read_bytes().strip()
    except OSError as error:
        raise UnlockError(f"the unlock file {path} cannot be read: {error.strerror}") from error
    if mode & others:
        raise UnlockError(f"the unlock file {path} can be read by others; chmod 600 {path}")
    if not BYTES_MIN <= len(secret) <= BYTES_MAX:
        raise UnlockError(f"the unlock file {path} holds {len(secret)} bytes; it needs {BYTES_MIN} to {BYTES_MAX}")
    return secret


def _make(path: Path) -> None:
    """Make the file whole or not at all: two programs that begin at once agree on one secret."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:  # noqa: PTH123 - the mode must hold from the first byte
            file.write(secrets.token_urlsafe(SECRET_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another program was first
            path.hardlink_to(draft)
    except OSError as error:
        raise UnlockError(f"the unlock file {path} cannot be made: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
