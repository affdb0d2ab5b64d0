"""A town from a scenario file: who lives there, what happens, what breaks, and the truth about it.

`read_scenario` reads the file, `cast_scenario` hangs its devices on assets, `simulate` lets them speak in virtual time;
`Town` lets the same cast deliver for real. `LabelFile` keeps the truth.
"""

from lichtmast.firmware_sim.scenario.casting import Cast, Role, cast_scenario
from lichtmast.firmware_sim.scenario.geojson import read_points
from lichtmast.firmware_sim.scenario.labels import LabelFile, line_of
from lichtmast.firmware_sim.scenario.parts import FaultKind, Scenario
from lichtmast.firmware_sim.scenario.reading import parse_scenario, read_scenario
from lichtmast.firmware_sim.scenario.simulation import Said, simulate
from lichtmast.firmware_sim.scenario.table import ScenarioError

__all__ = [
    "Cast",
    "FaultKind",
    "LabelFile",
    "Role",
    "Said",
    "Scenario",
    "ScenarioError",
    "cast_scenario",
    "line_of",
    "parse_scenario",
    "read_points",
    "read_scenario",
    "simulate",
]
