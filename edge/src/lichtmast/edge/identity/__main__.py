"""The process of one exchange: an order as JSON on standard input, its outcome as JSON on standard output.

The agent starts it, and ends it when it takes too long. Nothing is in its arguments or its environment.
"""

import json
import sys
from dataclasses import asdict

from lichtmast.edge.identity import limits
from lichtmast.edge.identity.exchange import Order, perform


def main() -> None:
    """Read the order, do it, and write the outcome."""
    order = Order.from_fields(json.loads(sys.stdin.buffer.read(limits.OUTCOME_BYTES_MAX)))
    sys.stdout.write(json.dumps(asdict(perform(order))))


if __name__ == "__main__":
    main()
