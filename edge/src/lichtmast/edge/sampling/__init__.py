"""Sampling: when to measure, what an interval's samples become, and what of counted people may be told."""

from lichtmast.edge.sampling.collecting import collect
from lichtmast.edge.sampling.counting import CountingRule
from lichtmast.edge.sampling.fitting import faults_of
from lichtmast.edge.sampling.measured import Measured
from lichtmast.edge.sampling.sampler import Report, Sampler, SamplerStatistics, Suppressed
from lichtmast.edge.sampling.schedule import Schedule
from lichtmast.edge.sampling.settings import (
    ActuatorSettings,
    DriverSettings,
    Output,
    ReadingSettings,
    fixed_suffixes,
    read_drivers,
    with_wishes,
)

__all__ = [
    "ActuatorSettings",
    "CountingRule",
    "DriverSettings",
    "Measured",
    "Output",
    "ReadingSettings",
    "Report",
    "Sampler",
    "SamplerStatistics",
    "Schedule",
    "Suppressed",
    "collect",
    "faults_of",
    "fixed_suffixes",
    "read_drivers",
    "with_wishes",
]
