"""From log messages to steps, also over the end of a process: where to read on, what to relive, what to skip. No I/O.

The register's memory says how far everything is saved. A snapshot, which may be older or missing, says what had been
heard by then. So the log is read from behind the snapshot; up to the saved position it is relived and its outcome, long
saved, thrown away; there the remembered standings take their place, and from there on everything counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy.typing as npt

from lichtmast.ingest import observations
from lichtmast.ingest.alerting.engine import Engine, Place
from lichtmast.ingest.alerting.intake import Intake
from lichtmast.ingest.alerting.plan import Plan
from lichtmast.registry.alerts.steps import EngineMemory, EnginePosition, Standing, Step

BEGINNING: Final = Place()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What had been heard when the logs were read up to `place`."""

    place: Place
    state: Mapping[str, npt.NDArray[Any]]


class Follower:
    """Feeds an engine with messages. Give `take` every message behind `read_after`, in order, after `begin`."""

    def __init__(self, engine: Engine, memory: EngineMemory, snapshot: Snapshot | None = None) -> None:
        self.engine = engine
        self._memory: EngineMemory | None = memory
        saved = memory.position
        self.saved_position = 0 if saved is None else saved.observations_position
        usable = (
            snapshot is not None and saved is not None and snapshot.place.observations_position <= self.saved_position
        )
        self._place = snapshot.place if usable and snapshot is not None else BEGINNING
        if usable and snapshot is not None:
            engine.recall(snapshot.state)
        self._intake = Intake(self._place.log_name, self._place.readings_upto)

    @property
    def read_after(self) -> int:
        """The position in OBSERVATIONS behind which to read; 0 means all that the log holds."""
        return self._place.observations_position

    @property
    def reliving(self) -> bool:
        """Whether what is read now was saved long ago."""
        return self._memory is not None

    def begin(self, after: int | None = None) -> Step | None:
        """Start; with `after`, count nothing up to that position of a log that is new to it."""
        if after is not None:
            self._place = Place("", 0, after)
        return self._settle() if self._place.observations_position >= self.saved_position else None

    def take(self, position: int, payload: bytes) -> list[Step]:
        """The steps that a message leads to, to be saved in order; none where it only adds to a batch or is relived."""
        owed = self._settle() if position > self.saved_position else None
        step = self._evaluate(position, payload)
        if self._memory is not None:
            step = None
            if position == self.saved_position:
                owed = self._settle()
        return [one for one in (owed, step) if one is not None]

    def _evaluate(self, position: int, payload: bytes) -> Step | None:
        table = observations.decode(payload)
        now_us = observations.part_of(table).now_us
        if now_us is not None:
            if not self._intake.between_batches:
                return None  # it came amidst a batch; the next tick tells the time as well
            self._place = self._place._replace(observations_position=position)
            return self.engine.tick(now_us, self._place)
        rows = self._intake.take(table)
        if self._intake.between_batches:
            self._place = Place(self._intake.log_name, self._intake.upto, position)
        return None if rows is None else self.engine.step(rows, self._place)

    def _settle(self) -> Step | None:
        """Everything saved has been relived: stand where the register says, and count from here on."""
        memory, self._memory = self._memory, None
        if memory is None:
            return None
        saved = memory.position
        if saved is not None:
            # The register's word counts, where a snapshot or the log that was relived knows less.
            known = self._intake.upto if self._intake.log_name == saved.log_name else 0
            upto, position = max(saved.readings_upto, known), self._place.observations_position
            self._intake = Intake(saved.log_name, upto)
            self._place = Place(saved.log_name, upto, max(position, self.saved_position))
            if not self.engine.listening.watermark_us:
                self.engine.listening.watermark_us = self.engine.listening.awake_us = saved.watermark_us
        step = self.engine.restore(memory.standings, self._place)
        return step if step.transitions or step.standings else None

    def renew(self, plan: Plan) -> Step | None:
        """Go on with other rules or another directory; None while reliving, when nothing is to be saved by it."""
        step = self.engine.renew(plan, self._place)
        return None if self.reliving else step

    def stand_as(self, standings: Sequence[Standing]) -> Step:
        """Stand as the register says, where all that was found is saved."""
        return self.engine.restore(standings, self._place)

    def standing_still(self) -> Step:
        """A step that changes nothing but says where it stands: the first of all, so that the next life knows."""
        return Step(EnginePosition(*self._place, self.engine.listening.watermark_us))

    def snapshot(self) -> Snapshot | None:
        """What is heard by now; None amidst a batch, or while reliving."""
        if self.reliving or not self._intake.between_batches:
            return None
        return Snapshot(self._place, self.engine.state())
