"""The end of a device: everything that it kept is overwritten and deleted, and it is checked that nothing is left.

A card may keep old copies of what was overwritten, wherever it moved them: whoever gives a device away also retires it
on the server, so that its key opens nothing any more.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from lichtmast.edge.errors import EdgeError
from lichtmast.edge.identity import limits

_PATTERN: Final = b"\0"


class WipeError(EdgeError):
    """Something could not be wiped; the message names it."""


def wipe(folder: Path, others: Sequence[Path] = ()) -> list[Path]:
    """Overwrite and delete all files of a folder, the folder, and other files; returns what was wiped.

    A link is deleted, and what it points to left alone. Raises WipeError.
    """
    wiped: list[Path] = []
    for path in (*_files(folder), *others):
        try:
            if not path.is_symlink():
                _overwrite(path)
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise WipeError(f"{path} cannot be wiped: {error.strerror}; {len(wiped)} files are gone already") from error
        wiped.append(path)
    try:
        for one in sorted((one for one in folder.rglob("*")), key=lambda one: -len(one.parts)):
            one.rmdir()
        if folder.exists():
            folder.rmdir()
    except OSError as error:
        raise WipeError(f"{folder} cannot be removed: {error.strerror}; its files are wiped") from error
    left = [str(one) for one in (folder, *others) if one.exists() or one.is_symlink()]
    if left:
        raise WipeError(f"still there: {', '.join(left)}; is the agent running? Stop it, and wipe again")
    return wiped


def _files(folder: Path) -> Iterator[Path]:
    """The key first: should the power go half way, it is gone."""
    found = [one for one in folder.rglob("*") if one.is_symlink() or not one.is_dir()]
    yield from sorted(found, key=lambda one: (one.suffix != ".pem", str(one)))


def _overwrite(path: Path) -> None:
    with path.open("r+b", buffering=0) as file:
        left = file.seek(0, os.SEEK_END)
        file.seek(0)
        while left > 0:
            left -= file.write(_PATTERN * min(left, limits.WIPE_CHUNK_BYTES))
        os.fsync(file.fileno())
