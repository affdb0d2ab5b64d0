"""The certificates that this server shows, and the files that its doors read them from.

Made anew at each start and at two thirds of their life; when the authority is rolled over beside us, its new trust and
a new certificate are in force within CHECK_S. An operator's own certificate for the pages is watched too: that one we
cannot renew, so its end is announced 30, 7 and 1 days before.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from lichtmast.registry.auditing import SYSTEM
from lichtmast.registry.pki import (
    Authority,
    AuthorityAction,
    AuthorityError,
    AuthorityKind,
    log_authority,
    server_certificate_due,
)
from lichtmast.suite.clock import now_us
from lichtmast.suite.folder import Folder

_log = logging.getLogger(__name__)

CHECK_S: Final = 5.0
"""How often a few small files are looked at; a roll-over is in force so long after it at most."""

Reload = Callable[[], Awaitable[None]]
"""Has a door read its files again."""


class OwnCertificates:
    """The authority in force, and three files: `certificate`, `key` and `device_trust`. Raises AuthorityError."""

    def __init__(self, folder: Folder, secret: bytes, names: Sequence[str], *, chance: float) -> None:
        self._folder = folder
        self._secret = secret
        self._names = tuple(names)
        self._chance = chance
        self._watched: dict[Path, set[int]] = {}
        self._doors: dict[str, Reload] = {}
        self._behind: set[str] = set()
        self._keys: list[Path] = []
        self._told_to_roll: set[AuthorityKind] = set()
        self._stale = False
        self.certificate = folder.certificates / "server.pem"
        self.key = folder.certificates / "server.key"
        self.device_trust = folder.certificates / "device-trust.pem"
        self._authority = self._made_or_open()
        self._write(now_us())

    def authority(self) -> Authority:
        """The one in force."""
        return self._authority

    def watch(self, certificate: Path, key: Path) -> None:
        """Announce the end of an operator's own certificate, and reload the doors when one of the files changes."""
        self._watched[certificate] = set()
        self._keys.append(key)

    def on_change(self, door: str, reload: Reload) -> None:
        """Have a door read its files again when they changed, until it does."""
        self._doors[door] = reload

    async def run(self) -> None:
        """Renew, follow and announce until cancelled."""
        changed_at = self._changed_at()
        while True:
            await asyncio.sleep(CHECK_S)
            try:
                renewed = await asyncio.to_thread(self.refresh, now_us())
            except (AuthorityError, OSError) as error:
                _log.error("certificates_not_renewed reason=%s", error)
                renewed = False
            self._announce(now_us())
            now = self._changed_at()
            if renewed or now != changed_at:
                changed_at = now
                self._behind.update(self._doors)
            await self._reload()

    def refresh(self, at_us: int) -> bool:
        """Follow the authority, and renew what is due; tells whether a file changed."""
        if self._authority.changed_on_disk():
            self._stale = True  # until the files are written: what fails halfway is done again at the next look
            # Opened, never made: devices trust the one that was there, and what vanished comes back from a backup.
            self._authority = Authority.open(self._folder.authority, self._secret)
        if self._authority.forget_ended(now_us=at_us):
            self._stale = True
        for kind in self._authority.roll_due(at_us):
            if kind not in self._told_to_roll:
                self._told_to_roll.add(kind)
                _log.warning("authority_ends_soon kind=%s next=lichtmast ca roll %s", kind, kind)
        due = server_certificate_due(self.certificate.read_bytes(), now_us=at_us, chance=self._chance, announced=())
        renews = self._stale or due.renew
        if renews:
            self._write(at_us)
            self._stale = False
        return renews

    def _made_or_open(self) -> Authority:
        where = self._folder.authority
        if not Authority.is_made(where):
            at_us = now_us()
            made = Authority.create(where, self._secret, organisation="Lichtmast", now_us=at_us)
            log_authority(self._folder.registry, AuthorityAction.MADE, "root", by=SYSTEM, at_us=at_us, after={})
            _log.warning("authority_made folder=%s", where)
            return made
        return Authority.open(where, self._secret)

    def _write(self, at_us: int) -> None:
        made = self._authority.issue_server(self._names, now_us=at_us)
        self._folder.certificates.mkdir(mode=0o700, parents=True, exist_ok=True)
        _replace(self.key, made.key_pem)
        _replace(self.certificate, made.chain_pem)
        _replace(self.device_trust, self._authority.device_trust_pem)
        self._watched[self.certificate] = set()

    async def _reload(self) -> None:
        """Each door by itself, and again the next time where it did not: none waits for what another cannot read."""
        for door in sorted(self._behind):
            try:
                await self._doors[door]()
            except Exception as error:  # noqa: BLE001 - as above
                _log.error("door_keeps_its_old_certificate door=%s reason=%s", door, error)
            else:
                self._behind.discard(door)

    def _announce(self, at_us: int) -> None:
        for path, announced in self._watched.items():
            try:
                told = server_certificate_due(path.read_bytes(), now_us=at_us, chance=self._chance, announced=announced)
            except (AuthorityError, OSError) as error:
                _log.error("certificate_unreadable file=%s reason=%s", path, error)
                continue
            if told.announce_days is not None:
                announced.add(told.announce_days)
                _log.error("certificate_ends_soon file=%s days=%d next=replace it", path, told.announce_days)

    def _changed_at(self) -> dict[Path, int]:
        watched = (*self._watched, *self._keys)
        return {path: path.stat().st_mtime_ns for path in watched if path.exists()}


def _replace(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    draft = path.with_suffix(path.suffix + ".new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123 - the mode must hold from the first byte
        file.write(content)
    draft.replace(path)
