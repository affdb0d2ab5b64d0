"""A driver for fault runs that keeps a journal of its own: what it measured is known before the agent has it.

It becomes a distribution on the agent's path, with an entry point, as anybody's driver is. The journal lies outside of
whatever the test kills or fills.
"""

from pathlib import Path

WITNESS = '''
import json, os, time
from pathlib import Path
from lichtmast.edge.drivers.errors import DriverError
from lichtmast.edge.drivers.port import Channel


class Witness:
    """Counts its reads over all its lives; each is in the journal, with the kernel's own time, before it is told."""

    def __init__(self, options, context):
        self._journal, self._control = Path(options["journal"]), Path(options["control"])
        self._file = None

    @property
    def channels(self):
        return (
            Channel("upto", "number", "J"), Channel("since", "number", "s"), Channel("warmth", "number", "Cel"),
            Channel("power", "number", "W"), Channel("voltage", "number", "V"), Channel("level", "number", "/", True),
        )

    def _note(self, text):
        if self._file is None:
            raw = self._journal.read_bytes() if self._journal.exists() else b""
            self._number = raw.count(b"read ")
            self._file = os.open(self._journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            if raw and not raw.endswith(b"\\n"):
                os.write(self._file, b"\\n")
        os.write(self._file, text.encode())
        # The modification time is the kernel's: no library that lies about the clock comes between.
        return os.fstat(self._file).st_mtime_ns // 1000

    def read(self):
        told = json.loads(self._control.read_text()) if self._control.exists() else {}
        if told.get("silent"):
            raise DriverError("silent, as the test wants")
        true_us = self._note("read ")
        self._number += 1
        self._note(f"{self._number} {true_us} {time.time_ns() // 1000}\\n")
        number = float(self._number)
        return {"upto": number, "since": number, "warmth": told.get("warmth", 10.0), "power": 40.0, "voltage": 230.0}

    def write(self, channel, value):
        self._note(f"write {value}\\n")

    def close(self):
        pass
'''
WITNESSED = """
[[driver]]
name = "witness"
kind = "witness"
journal = "{journal}"
control = "{control}"
[[driver.reading]]
channel = "upto"
statistics = {{ max = "/lamp/0/energy" }}
sample_s = 0.1
[[driver.reading]]
channel = "since"
statistics = {{ min = "/lamp/0/operating-time" }}
sample_s = 0.1
[[driver.reading]]
channel = "warmth"
suffix = "/lamp/0/temperature"
sample_s = 0.1
[[driver.reading]]
channel = "power"
suffix = "/lamp/0/power"
sample_s = 0.1
[[driver.reading]]
channel = "voltage"
suffix = "/lamp/0/voltage"
sample_s = 0.1
[[driver.actuator]]
channel = "level"
suffix = "/lamp/0/command"
"""
"""Each pack says with two readings which samples it is made of: from which number (min) up to which (max)."""
READINGS = 5
"""So many readings has a pack of the witness."""


def install_witness(folder: Path) -> Path:
    """Make the driver as a distribution that any Python finds with this folder on its path."""
    folder.mkdir()
    (folder / "fault_witness.py").write_text(WITNESS)
    about = folder / "fault_witness-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: fault-witness\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[lichtmast.edge.drivers]\nwitness = fault_witness:Witness\n")
    return folder
