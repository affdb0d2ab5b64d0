"""What is done to packets on their way, as values: one `Impairment` holds every knob for one direction.

Will not do it: `decider` decides, `router` and `relay` carry out.
"""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Final, TypeVar

from lichtmast.firmware_sim.network import limits
from lichtmast.firmware_sim.network.errors import ImpairmentError

_T = TypeVar("_T", "Impairment", "Burst", "Flapping")
_SHARES: Final = ("loss", "reorder", "duplicate", "corrupt")


@dataclass(frozen=True, slots=True)
class Burst:
    """Loss in bursts (Gilbert and Elliott): a packet enters the bad state with `enter`, leaves it with `leave`.

    In the bad state `loss` of the packets are lost. The mean burst is 1 / `leave` packets.
    """

    enter: float
    leave: float
    loss: float = 1.0

    def __post_init__(self) -> None:
        _check_shares(self, ("enter", "leave", "loss"))
        if not self.enter or not self.leave:
            raise ImpairmentError("burst needs enter and leave above 0; without a burst leave the table out")


@dataclass(frozen=True, slots=True)
class Flapping:
    """A link that works for `up_s`, is dead for `down_s`, and so on; it starts working."""

    up_s: float
    down_s: float

    def __post_init__(self) -> None:
        if not (0 < self.up_s <= limits.DELAY_S_MAX and 0 < self.down_s <= limits.DELAY_S_MAX):
            raise ImpairmentError(f"flapping needs up_s and down_s above 0 and up to {limits.DELAY_S_MAX:g} s")


@dataclass(frozen=True, slots=True)
class Impairment:
    """Every knob for one direction; the default lets everything pass.

    `loss`, `reorder`, `duplicate` and `corrupt` are shares of the packets, 0 to 1. Jitter alone keeps the order (dense
    traffic therefore sees its longer half): only `reorder` holds a packet back by `reorder_s`, so that later ones
    overtake it. `corrupt` flips `corrupt_bits` bits behind the IP header. `mtu_bytes` turns larger packets away and,
    with `too_big`, tells their sender (ICMPv6 type 2).
    """

    loss: float = 0.0
    burst: Burst | None = None
    delay_s: float = 0.0
    jitter_s: float = 0.0
    reorder: float = 0.0
    reorder_s: float = 0.05
    duplicate: float = 0.0
    corrupt: float = 0.0
    corrupt_bits: int = 1
    rate_bit_s: int | None = None
    queue_bytes: int = limits.QUEUE_BYTES
    mtu_bytes: int | None = None
    too_big: bool = True
    blackhole: bool = False
    flapping: Flapping | None = None

    def __post_init__(self) -> None:
        _check_shares(self, _SHARES)
        for name in ("delay_s", "jitter_s", "reorder_s"):
            if not 0 <= getattr(self, name) <= limits.DELAY_S_MAX:
                raise ImpairmentError(f"{name} is {getattr(self, name)!r}; give 0 to {limits.DELAY_S_MAX:g} s")
        if self.jitter_s > self.delay_s:
            raise ImpairmentError(
                f"jitter_s {self.jitter_s:g} is above delay_s {self.delay_s:g}; no packet comes early"
            )
        if not 1 <= self.corrupt_bits <= limits.CORRUPT_BITS_MAX:
            raise ImpairmentError(f"corrupt_bits is {self.corrupt_bits}; give 1 to {limits.CORRUPT_BITS_MAX}")
        if self.rate_bit_s is not None and self.rate_bit_s <= 0:
            raise ImpairmentError("rate_bit_s must be above 0; to let nothing pass use blackhole")
        if self.queue_bytes < limits.LINK_MTU_BYTES:
            raise ImpairmentError(f"queue_bytes is {self.queue_bytes}; below {limits.LINK_MTU_BYTES} no packet fits")
        if self.mtu_bytes is not None and not limits.MTU_BYTES_MIN <= self.mtu_bytes <= limits.PACKET_BYTES_MAX:
            raise ImpairmentError(
                f"mtu_bytes is {self.mtu_bytes}; IPv6 needs {limits.MTU_BYTES_MIN} or more (RFC 8200 section 5)"
            )

    @property
    def of_packets_only(self) -> tuple[str, ...]:
        """The knobs turned here that mean nothing to a byte stream, where a relay ends TCP itself."""
        names = (*_SHARES, "burst", "mtu_bytes")
        return tuple(name for name in names if getattr(self, name))

    @staticmethod
    def from_table(table: object, where: str = "impairment") -> "Impairment":
        """From a table of knobs, as in TOML. Raises ImpairmentError, which names `where`."""
        nested: dict[str, Any] = {"burst": Burst, "flapping": Flapping}
        if isinstance(table, Mapping):
            inner = {
                name: _built(kind, table[name], f"{where}.{name}") for name, kind in nested.items() if name in table
            }
            table = {**table, **inner}
        return _built(Impairment, table, where)

    def to_table(self) -> dict[str, Any]:
        """What `from_table` reads."""
        clean = asdict(type(self)())
        return {name: value for name, value in asdict(self).items() if value != clean[name]}


def _built(kind: type[_T], table: object, where: str) -> _T:
    """The table as a `kind`, with numbers where numbers belong and no other keys. Raises ImpairmentError."""
    known = {one.name: one for one in fields(kind)}
    if not isinstance(table, Mapping):
        raise ImpairmentError(f"{where} must be a table of {', '.join(known)}")
    for key, value in table.items():
        if key not in known:
            raise ImpairmentError(f"{where} has no {key!r}; it knows {', '.join(known)}")
        if known[key].type in _NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ImpairmentError(f"{where}.{key} is {value!r}; give a number")
        if known[key].type is bool and not isinstance(value, bool):
            raise ImpairmentError(f"{where}.{key} is {value!r}; give true or false")
    missing = [name for name, one in known.items() if one.default is MISSING and name not in table]
    if missing:
        raise ImpairmentError(f"{where} needs {' and '.join(missing)}")
    try:
        return kind(**table)
    except ImpairmentError as error:
        raise ImpairmentError(f"{where}: {error}") from error


_NUMBERS: Final = (float, int, int | None)


def _check_shares(one: object, names: tuple[str, ...]) -> None:
    for name in names:
        if not 0 <= getattr(one, name) <= 1:
            raise ImpairmentError(f"{name} is {getattr(one, name)!r}; give a share from 0 to 1")
