"""Values that betray every change: each is a keyed hash of who sent it, in which pack, at which place.

A row that was altered, swapped with another or invented cannot carry the right value by chance (1 in 2^40). Whoever
knows the seed can say what each must be, without a record.
"""

from hashlib import blake2b
from typing import Final

from lichtmast.firmware_sim.checker.evidence import Value
from lichtmast.firmware_sim.device import DeviceSpec
from lichtmast.firmware_sim.instrument import Measurement, Sound
from lichtmast.wire.profile import Capability, ResultKind, load_profiles
from lichtmast.wire.senml import Reading

_STEPS: Final = 2**40
"""So many values fit between minimum and maximum. JSON, CBOR, CSV and DuckDB keep each double exactly."""


def sealed_value(seed: int, device: str, epoch: int, seq: int, capability: Capability) -> Value:
    """The value of this capability in this pack: within the profile's range, a truth value, or sixteen letters."""
    name = f"{seed}\x1f{device}\x1f{epoch}\x1f{seq}\x1f{capability.suffix}"
    drawn = blake2b(name.encode(), digest_size=8).digest()
    match capability.kind:
        case ResultKind.BOOLEAN:
            return bool(drawn[0] & 1)
        case ResultKind.TEXT:
            return drawn.hex()
    if capability.minimum is None or capability.maximum is None:
        raise ValueError(f"{capability.suffix} has no range; a number of a profile has one")
    share = (int.from_bytes(drawn, "big") % _STEPS + 0.5) / _STEPS
    return capability.minimum + share * (capability.maximum - capability.minimum)


class Sealed(Sound):
    """An instrument that measures sealed values; `copies` is how often each pack is sent (one: once)."""

    def __init__(self, spec: DeviceSpec, *, seed: int, copies: int = 1) -> None:
        self._device = str(spec.device)
        self._capabilities = load_profiles()[spec.profile].uplinks
        self._seed = seed
        self._copies = copies

    def measure(self, at_us: int, epoch: int, seq: int) -> Measurement:
        """What the key of the pack says."""
        readings = [
            Reading(one.suffix, sealed_value(self._seed, self._device, epoch, seq, one), one.unit, at_us)
            for one in self._capabilities
        ]
        return Measurement(readings, copies=self._copies)
