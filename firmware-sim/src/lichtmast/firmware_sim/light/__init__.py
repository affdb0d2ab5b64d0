"""Light devices: each with a connection and an address of its own, and thousands of them in one process.

`Switchboard` connects `VirtualDevice`s to their server and lets them deliver. A device here is a socket, a small state
machine and a place on a timer wheel; it has no task of its own.

Will not speak all of MQTT or CoAP: what a device needs to deliver, strictly, and nothing else.
"""

from lichtmast.firmware_sim.light.switchboard import Switchboard

__all__ = ["Switchboard"]
