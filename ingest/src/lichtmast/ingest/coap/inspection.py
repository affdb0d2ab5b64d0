"""What the door learns about a payload before it answers: whose it claims to be, and whether it will be refused.

A quick look, not the pipeline's judgement: what passes here can still be refused behind the log.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lichtmast.wire.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Inspection:
    """`sender` is `tenant/device`, or empty where nobody is known. `detail` says what to mend; empty when fine."""

    sender: str
    refusal: Refusal | None
    detail: str


Inspect = Callable[[bytes, int, str], Inspection]
"""Looks at (payload, content format, authenticated sender or empty) and never raises; see `Inspection`."""
