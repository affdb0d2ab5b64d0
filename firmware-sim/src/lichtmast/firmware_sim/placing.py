"""Hanging devices on lampposts: which kinds, where, and over which transport.

Will not register anything: the specs say what a registry should be told.
"""

from collections.abc import Sequence
from typing import Final

from lichtmast.firmware_sim.chance import seed_of, share
from lichtmast.firmware_sim.device import DeviceSpec, SpecError, Transport
from lichtmast.firmware_sim.limits import DEVICES_MAX
from lichtmast.wire.envelope import SENML_CBOR, SENML_JSON
from lichtmast.wire.identity import DeviceId

LAMP: Final = "lamp-controller"
SENSORS: Final = ("noise", "air-quality", "people-counter", "parking", "weather", "filling-level", "illuminance")
"""What a lamppost may carry beside its lamp, in the order in which they are handed out."""


def hang_devices(assets: Sequence[tuple[str, float, float]], *, tenant: str, count: int, seed: int) -> list[DeviceSpec]:
    """`count` devices on lampposts, each asset given as (key, longitude, latitude).

    Lamps come first, one on each lamppost in the given order; what is left becomes sensors of all kinds, on
    lampposts in a seeded order so that they spread over town. A lamppost gets a second device of a kind only when all
    have one.
    Transports alternate within every kind; of the CoAP devices every other one speaks CBOR.
    """
    if not assets:
        raise SpecError("no asset to hang a device on; import assets first")
    if not 0 < count <= DEVICES_MAX:
        raise SpecError(f"count {count} is not from 1 to {DEVICES_MAX}")
    lamps = [(LAMP, asset) for asset in assets[:count]]
    order = seed_of(seed, tenant, "placing")
    shuffled = [asset for _, asset in sorted((share(order, number), asset) for number, asset in enumerate(assets))]
    sensors: list[tuple[str, tuple[str, float, float]]] = []
    while len(lamps) + len(sensors) < count:
        number = len(sensors)
        lap, at = divmod(number, len(shuffled))
        sensors.append((SENSORS[(at + lap) % len(SENSORS)], shuffled[at]))
    numbers: dict[str, int] = {}
    specs: list[DeviceSpec] = []
    for kind, (asset, longitude, latitude) in (*lamps, *sensors):
        number = numbers[kind] = numbers.get(kind, 0) + 1
        over_coap = number % 2 == 0
        specs.append(
            DeviceSpec(
                device=DeviceId(tenant, f"{kind}-{number:05d}"),
                profile=kind,
                transport=Transport.COAP if over_coap else Transport.MQTT,
                longitude=longitude,
                latitude=latitude,
                asset=asset,
                content_format=SENML_CBOR if number % 4 == 0 else SENML_JSON,
            )
        )
    return specs
