"""The file of labels: the truth about a town, one JSON object a line, for whoever measures how well faults are found.

First what is going to happen (`event`, `fault`), then every reading (`reading`) or pack (`pack`) that is spoilt, as it
is made. docs/reference/scenario.md has the fields.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from lichtmast.firmware_sim.instrument import Label


def line_of(label: Label) -> Mapping[str, Any]:
    """A label as it stands in the file."""
    whole: dict[str, Any] = {
        "type": "pack" if label.suffix is None else "reading",
        "fault": label.fault,
        "device": str(label.device),
        "epoch": label.epoch,
        "seq": label.seq,
        "sent_us": label.sent_us,
        "true_us": label.true_us,
    }
    if label.suffix is not None:
        whole |= {"suffix": label.suffix, "sent": label.sent, "true": label.true}
    return whole


class LabelFile:
    """A file that is written from its beginning."""

    def __init__(self, path: Path, truth: Iterable[Mapping[str, Any]]) -> None:
        self._file = path.open("w", encoding="ascii")
        self.written = 0
        for one in truth:
            self._write(one)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def note(self, label: Label) -> None:
        """One more line."""
        self._write(line_of(label))
        self.written += 1

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
