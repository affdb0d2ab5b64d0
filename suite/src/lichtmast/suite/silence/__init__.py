"""Why a device is quiet: a ladder of rungs, each a judge over facts, and the probes and records that gather those.

`ladder` and `path` judge, `desk` gathers and answers, `contacts` remembers from where devices were heard.
"""

from lichtmast.suite.silence.composition import Silence, silence
from lichtmast.suite.silence.contacts import ContactKeeper
from lichtmast.suite.silence.desk import Answer, SilenceDesk
from lichtmast.suite.silence.routes import silence_routes
from lichtmast.suite.silence.silence_file import SilenceSettings, read_silence

__all__ = [
    "Answer",
    "ContactKeeper",
    "Silence",
    "SilenceDesk",
    "SilenceSettings",
    "read_silence",
    "silence",
    "silence_routes",
]
