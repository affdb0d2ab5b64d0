"""Which certificates make up the authority now: one small JSON file that is replaced as a whole.

Every key and certificate lies in a file of its own under a name that is used once. What this file does not name
does not exist, so renaming it into place is the only moment of a change.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from lichtmast.registry.pki.certifying import AuthorityKind
from lichtmast.registry.pki.errors import AuthorityError, KeyDamagedError, KeyMissingError
from lichtmast.registry.pki.vault import read_whole, write_whole

FILE: Final = "authority.json"
KEY: Final = ".key"
CERTIFICATE: Final = ".pem"
_VERSION: Final = 1
_Typed = TypeVar("_Typed")
NAME: Final = re.compile(r"(root|devices|servers)-[0-9a-f]{32}|cross-[0-9a-f]{32}-[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Member:
    """An authority by the name of its files; since when another one signs in its place, if one does."""

    name: str
    superseded_us: int | None = None


@dataclass(frozen=True, slots=True)
class State:
    """All of it, oldest first: the last of each kind signs. `revision` grows with every change."""

    organisation: str
    revision: int
    members: dict[AuthorityKind, tuple[Member, ...]]
    crosses: tuple[str, ...] = ()

    def active(self, kind: AuthorityKind) -> str:
        """The name of the one that signs."""
        return self.members[kind][-1].name

    def certificate_names(self) -> list[str]:
        """The names of all certificates."""
        return [one.name for members in self.members.values() for one in members] + list(self.crosses)

    def key_names(self) -> list[str]:
        """The names of all keys that still have something to sign: of the roots only the newest."""
        issuing = (AuthorityKind.DEVICES, AuthorityKind.SERVERS)
        return [self.active(AuthorityKind.ROOT)] + [one.name for kind in issuing for one in self.members[kind]]


def write_state(folder: Path, state: State) -> None:
    """Make it the state, at once and for good."""
    members = {
        kind.value: [{"name": one.name, "superseded_us": one.superseded_us} for one in state.members[kind]]
        for kind in AuthorityKind
    }
    document = {
        "version": _VERSION,
        "revision": state.revision,
        "organisation": state.organisation,
        **members,
        "crosses": list(state.crosses),
    }
    write_whole(folder / FILE, json.dumps(document, ensure_ascii=False, indent=2).encode() + b"\n")


def read_state(folder: Path) -> State:
    """What `write_state` wrote. Raises AuthorityError."""
    path = folder / FILE
    try:
        return _state(json.loads(read_whole(path)))
    except KeyMissingError as error:
        raise AuthorityError(
            f"there is no certificate authority in {folder}; make one with lichtmast ca init"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise KeyDamagedError(f"{path} is cut or altered; take the folder from a backup") from error


def missing(folder: Path) -> str:
    """What is said where there is no authority."""
    return f"there is no certificate authority in {folder}; make one with lichtmast ca init"


def _state(document: dict[str, Any]) -> State:
    if document["version"] != _VERSION:
        raise ValueError("another version")
    state = State(
        _typed(document["organisation"], str),
        _typed(document["revision"], int),
        {kind: tuple(_member(one) for one in document[kind.value]) for kind in AuthorityKind},
        tuple(_typed(name, str) for name in document["crosses"]),
    )
    names = state.certificate_names()
    if not all(state.members.values()) or not all(map(NAME.fullmatch, names)) or len(set(names)) != len(names):
        raise ValueError("an authority is missing, named twice, or named like none of ours")
    return state


def _member(document: dict[str, Any]) -> Member:
    superseded_us = document["superseded_us"]
    return Member(_typed(document["name"], str), None if superseded_us is None else _typed(superseded_us, int))


def _typed(value: object, kind: type[_Typed]) -> _Typed:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value
