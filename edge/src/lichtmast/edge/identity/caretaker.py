"""The task that looks after the identity: runs the schedule, does its steps in processes of their own, says what is.

Will not: read a certificate, or hold the key: both are files that TLS reads.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final, Never

from lichtmast.edge.identity import limits
from lichtmast.edge.identity.errors import CertificateError
from lichtmast.edge.identity.keeping import Certificate, IdentityFolder, Kept
from lichtmast.edge.identity.refusals import MEANINGS, Refusal
from lichtmast.edge.identity.schedule import Outcome, Result, Schedule, Step
from lichtmast.edge.identity.tls import Credentials, Moment
from lichtmast.wire.label import Label, pin_text

_LOG: Final = logging.getLogger(__name__)
_LOOK_S: Final = 3_600.0
"""A floor moves without anybody saying so; nothing of the schedule is in more of a hurry."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What an exchange needs to know of the settings."""

    label: Label
    host: str
    port: int
    folder: IdentityFolder


@dataclass(frozen=True, slots=True)
class IdentityStatistics:
    """How it is: `status` is `ready`, `waiting`, `refused` or `unreachable`; texts are for people. No secrets."""

    status: str
    told: str
    key_pin: str
    root_pin: str
    serial: str
    not_after_s: float | None
    renewal_s: float | None
    clock: str
    refusal: str
    steps: int
    failures: int


class Caretaker:
    """Looks after one identity. `moment` says what time it is; `on_certificate` is called when a new one is there.

    `on_told` gets the name of an event and a reason when something happens that people should know.
    """

    def __init__(
        self,
        errand: Errand,
        *,
        seed: int,
        now_s: Callable[[], float],
        moment: Callable[[], Moment],
        on_certificate: Callable[[], None],
        on_told: Callable[[str, str], None],
    ) -> None:
        self._errand = errand
        self._now_s, self._moment = now_s, moment
        self._on_certificate, self._on_told = on_certificate, on_told
        self._schedule = Schedule(seed=seed)
        self._kept: Kept = errand.folder.load()
        self._changed = asyncio.Event()
        self._last: Outcome | None = None
        self._refusal: Refusal | None = None
        self._steps = self._failures = 0

    def moment(self) -> Moment:
        """Now, as certificates are judged: a floor is never before our own certificate begins."""
        told = self._moment()
        own = self._kept.certificate
        if told.is_trusted or own is None:
            return told
        return Moment(max(told.wall_us, own.not_before_us), is_trusted=False)

    def credentials(self) -> Credentials:
        """What a link shows. Raises CertificateError while there is nothing to show; it says why."""
        kept = self._kept
        if kept.certificate is None or kept.trust_file is None:
            raise CertificateError(f"this device has no certificate yet: {self._told()}")
        return Credentials(kept.trust_file, kept.certificate_file, self._errand.folder.key)

    def judged(self, refusal: Refusal | None) -> None:
        """What a link heard of the server: a refusal, or None where it was let in."""
        if refusal is None and self._refusal is None:
            return
        if refusal is not self._refusal:
            self._refusal = refusal
            if refusal is not None:
                _LOG.warning("connection_refused", extra={"refusal": refusal.value, "reason": MEANINGS[refusal].told})
                self._on_told("connection_refused", f"{refusal.value}: {MEANINGS[refusal].told}")
        self._schedule.judged(refusal, self._now_s())
        self._changed.set()

    def look_nowait(self) -> None:
        """The clock is another: perhaps something is due."""
        self._changed.set()

    def statistics(self) -> IdentityStatistics:
        """How it is."""
        own, moment = self._kept.certificate, self.moment()
        expired = own is not None and moment.wall_us >= own.not_after_us
        status = "ready"
        if own is None or expired or self._refusal is not None:
            last = Result.LATER if self._last is None else self._last.result
            status = {Result.REFUSED: "refused", Result.UNREACHABLE: "unreachable"}.get(last, "waiting")
        return IdentityStatistics(
            status=status,
            told=self._told(),
            key_pin=pin_text(self._errand.label.key_pin),
            root_pin=pin_text(self._errand.label.root_pin),
            serial="" if own is None else own.serial,
            not_after_s=None if own is None else own.not_after_us / 1e6,
            renewal_s=None if own is None else self._schedule.renewal_us(own) / 1e6,
            clock="trusted" if moment.is_trusted else "floor",
            refusal="" if self._refusal is None else self._refusal.value,
            steps=self._steps,
            failures=self._failures,
        )

    async def run(self) -> Never:
        """Look after it until cancelled."""
        if self._kept.damage:
            _LOG.warning("identity_damaged", extra={"reason": self._kept.damage})
            self._on_told("identity_damaged", self._kept.damage)
        while True:
            self._changed.clear()
            own, wall_us, now_s = self._kept.certificate, self.moment().wall_us, self._now_s()
            step = self._schedule.due(own, wall_us, now_s)
            if step is not None:
                await self._do(step)
                continue
            wake_s = min(self._schedule.wake_s(own, wall_us, now_s), _LOOK_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(wake_s + 0.001):
                    await self._changed.wait()

    async def _do(self, step: Step) -> None:
        outcome = await perform_apart(self._errand, step, self.moment())
        self._steps += 1
        self._failures += outcome.result in (Result.REFUSED, Result.UNREACHABLE)
        self._schedule.ended(step, outcome, self._now_s())
        before = self._last
        self._last = outcome
        kept = await asyncio.to_thread(self._errand.folder.load)
        is_new = kept.certificate != self._kept.certificate
        self._kept = kept
        if is_new and kept.certificate is not None:
            name = "certificate_renewed" if step is Step.RENEW else "certificate_received"
            _LOG.warning(name, extra={"serial": kept.certificate.serial})
            self._on_told(name, f"serial {kept.certificate.serial}")
        elif before is None or (before.result, before.told) != (outcome.result, outcome.told):
            name = {Result.DONE: "identity_confirmed", Result.LATER: "identity_waits"}.get(
                outcome.result, "identity_failed"
            )
            _LOG.log(
                logging.INFO if outcome.result is Result.DONE else logging.WARNING,
                name,
                extra={"step": step.value, "reason": outcome.told},
            )
            if outcome.result is Result.REFUSED:
                self._on_told("enrolment_refused", outcome.told)
        if is_new or (outcome.result is Result.DONE and self._refusal is not None):
            self._on_certificate()

    def _told(self) -> str:
        """One sentence for whoever stands at the pole."""
        if self._refusal is not None:
            return MEANINGS[self._refusal].told
        if self._last is None:
            return "" if self._kept.certificate is not None else "the EST server was not asked yet"
        return self._last.told


async def perform_apart(errand: Errand, step: Step, moment: Moment) -> Outcome:
    """Do one step in a process of its own; one that takes too long is ended."""
    order = {
        "step": step.value,
        "label": errand.label.text,
        "host": errand.host,
        "port": errand.port,
        "state": str(errand.folder.path.parent),
        "key": str(errand.folder.key),
        **asdict(moment),
    }
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "lichtmast.edge.identity",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
    except OSError as error:  # no memory or no file left for a moment: measuring goes on, and this is tried again
        return Outcome(Result.UNREACHABLE, f"no process for the exchange can be started: {error.strerror or error}")
    try:
        async with asyncio.timeout(limits.STEP_S):
            answer, _ = await process.communicate(json.dumps(order).encode())
    except TimeoutError:
        return Outcome(Result.UNREACHABLE, f"the EST server kept us waiting for {limits.STEP_S:.0f} s")
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return _outcome(answer)


def _outcome(answer: bytes) -> Outcome:
    try:
        told = json.loads(answer)
        own = told["certificate"]
        return Outcome(
            Result(told["result"]),
            told["told"],
            None if own is None else Certificate(**own),
            None if told["refusal"] is None else Refusal(told["refusal"]),
            told["retry_s"],
        )
    except (ValueError, TypeError, KeyError):
        return Outcome(Result.UNREACHABLE, "the exchange ended without an outcome; run lichtmast-edge selftest")
