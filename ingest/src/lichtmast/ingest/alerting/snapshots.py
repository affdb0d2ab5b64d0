"""The newest snapshot of what was heard, as one file. It can always be done without: the log is then read again."""

from pathlib import Path
from typing import Final

import numpy as np

from lichtmast.ingest.alerting.baseline import write_arrays
from lichtmast.ingest.alerting.engine import Place
from lichtmast.ingest.alerting.follower import Snapshot

VERSION: Final = 1
_NAME: Final = "heard.npz"


def write_snapshot(folder: Path, snapshot: Snapshot) -> None:
    """Put it in the place of the one before."""
    place = snapshot.place
    told = {
        "version": np.array(VERSION),
        "positions": np.array([place.readings_upto, place.observations_position]),
        "log_name": np.frombuffer(place.log_name.encode(), np.uint8),
    }
    write_arrays(folder / _NAME, {**told, **snapshot.state})


def read_snapshot(folder: Path) -> Snapshot | None:
    """The one that is there; None where there is none that can be read."""
    try:
        with np.load(folder / _NAME) as held:
            state = {name: held[name] for name in held.files}
        if int(state.pop("version")) != VERSION:
            return None
        readings_upto, observations_position = state.pop("positions").tolist()
        log_name = bytes(state.pop("log_name")).decode()
    except (OSError, ValueError, KeyError, EOFError):
        return None
    return Snapshot(Place(log_name, readings_upto, observations_position), state)
