"""Packs that are wrong on purpose, so that a demonstration shows its quarantine and a test knows what belongs there.

Two kinds. *Numbered* packs are sound SenML with an epoch and a number, but not what the device's profile allows: the
server names them as refused in its acknowledgement. *Unnumbered* ones are no pack at all: the server can keep the
bytes, but has no number to answer with.
"""

import json
from collections.abc import Callable
from typing import Final

from lichtmast.wire import senml
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.profile import Profile, ResultKind
from lichtmast.wire.refusal import Refusal

NUMBERED: Final = (Refusal.UNKNOWN_NAME, Refusal.WRONG_TYPE, Refusal.WRONG_UNIT)
"""What a server says to the numbered flaws, in turn: one reading each that the device's profile does not allow."""

UNNUMBERED: Final[tuple[tuple[Refusal, Callable[[str, float, int], bytes]], ...]] = (
    (Refusal.UNDECODABLE, lambda urn, t, n: f'[{{"bn":"{urn}","bt":{t},"n":"/cut/{n}","v":1'.encode()),
    (Refusal.NOT_A_PACK, lambda urn, t, n: json.dumps({"bn": urn, "bt": t, "n": f"/object/{n}", "v": 1}).encode()),
    (Refusal.BAD_VALUE, lambda urn, t, n: json.dumps([{"bn": urn, "bt": t, "n": f"/empty/{n}"}]).encode()),
    (Refusal.DUPLICATE_KEY, lambda urn, t, n: f'[{{"bn":"{urn}","bt":{t},"n":"/twice/{n}","v":1,"v":2}}]'.encode()),
    (Refusal.BAD_VALUE, lambda urn, t, n: f'[{{"bn":"{urn}","bt":{t},"n":"/nan/{n}","v":NaN}}]'.encode()),
    (
        Refusal.MUST_UNDERSTAND,
        lambda urn, t, n: json.dumps([{"bn": urn, "bt": t, "n": f"/must/{n}", "v": 1, "x_": 1}]).encode(),
    ),
    (
        Refusal.UNKNOWN_UNIT,
        lambda urn, t, n: json.dumps([{"bn": urn, "bt": t, "n": f"/unit/{n}", "u": "furlong", "v": 1}]).encode(),
    ),
    (Refusal.UNDECODABLE, lambda _urn, _t, n: b"\x00\xff\xfe firmware fault " + str(n).encode()),
)
"""(what a server says, how the bytes are made from URN, time and turn). The turn makes every one of them unique."""


def numbered(turn: int, profile: Profile, time_us: int) -> senml.Reading:
    """The reading of the numbered flaw of this turn; the device wraps it into a pack like any other."""
    number = next(one for one in profile.uplinks if one.kind is ResultKind.NUMBER)
    match NUMBERED[turn % len(NUMBERED)]:
        case Refusal.WRONG_TYPE:
            return senml.Reading(number.suffix, "firmware fault", None, time_us)
        case Refusal.WRONG_UNIT:
            return senml.Reading(number.suffix, 1.0, "kg" if number.unit != "kg" else "m", time_us)
        case _:
            return senml.Reading("/no-such-sensor/0/level", 1.0, None, time_us)


def unnumbered(turn: int, device: DeviceId, time_us: int) -> bytes:
    """The unnumbered flaw of this turn."""
    _, make = UNNUMBERED[turn % len(UNNUMBERED)]
    return make(device.urn, time_us / 1e6, turn)
