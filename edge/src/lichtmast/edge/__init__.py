"""The agent that runs beside the sensors.

The room and its place in the workspace exist; the agent itself is the next step of the project and is not here yet.
"""

__all__: list[str] = []
