"""A bad network by hand: `python -m lichtmast.firmware_sim.network storm.toml --tcp 1883 --udp 5683`.

Says where to dial instead of the given ports of ::1, follows the schedule until Ctrl-C, and prints what it did. It is a
relay, so it needs no rights; see `docs/how-to/impair-a-network.md`.
"""

import argparse
import json
import signal
import sys
from pathlib import Path

from lichtmast.firmware_sim.network import NetworkError, Schedule, impaired


def main() -> int:
    """Run the relay until it is interrupted; 2 where the schedule or a port cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m lichtmast.firmware_sim.network", description="A bad network.")
    parser.add_argument("schedule", type=Path, help="a TOML file of steps")
    for transport in ("tcp", "udp"):
        parser.add_argument(f"--{transport}", type=int, action="append", default=[], metavar="PORT")
    asked = parser.parse_args()
    if not asked.tcp and not asked.udp:
        parser.error("give --tcp PORT or --udp PORT, or both")
    # Blocked before the relay starts, so that Ctrl-C ends this program and not the process under it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        with impaired(Schedule.from_toml(asked.schedule.read_text()), carrier="relay") as network:
            for port in asked.tcp:
                print(f"tcp {port}: dial [::1]:{network.endpoint('tcp', port)[1]}", flush=True)  # noqa: T201 - its result
            for port in asked.udp:
                print(f"udp {port}: dial [::1]:{network.endpoint('udp', port)[1]}", flush=True)  # noqa: T201 - its result
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
            print(json.dumps(network.counts.to_table()))  # noqa: T201 - its result
    except (NetworkError, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
