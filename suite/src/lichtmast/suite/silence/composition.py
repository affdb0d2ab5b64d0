"""The silence ladder of one running Lichtmast, put together."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lichtmast.registry.contacts import ContactBook
from lichtmast.suite.clock import now_us
from lichtmast.suite.silence.contacts import ContactKeeper
from lichtmast.suite.silence.desk import SilenceDesk
from lichtmast.suite.silence.silence_file import read_silence

if TYPE_CHECKING:
    from lichtmast.suite.service import Service


@dataclass(frozen=True, slots=True)
class Silence:
    """The desk that answers, and the keeper of contacts, whose `run()` is to be a task."""

    desk: SilenceDesk
    keeper: ContactKeeper


@contextmanager
def silence(service: "Service") -> Iterator[Silence]:
    """For as long as the block lasts. Raises SuiteError where silence.toml is wrong."""
    settings = read_silence(service.folder.path)
    with ContactBook.open(service.folder.registry) as book:
        yield Silence(
            SilenceDesk(service, book, settings, now_us),
            ContactKeeper(service.broker, book, now_us, service.door.sighted),
        )
