"""The agent that runs beside the sensors: it measures, and keeps every reading until the server has it on disk.

`lichtmast-edge` is the way in (`__main__`); `agent` puts the rooms together: drivers, sampling, timekeeping, outbox,
uplink, twin, pole. Only the drivers' port is meant for others (`lichtmast.edge.drivers`).
"""

__all__: list[str] = []
