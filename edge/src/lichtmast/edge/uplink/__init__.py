"""The way up: one outbox over several links, each pack until the store has it.

    Outbox ─▶ courier    which pack goes next; what is delivered      (courier.py, pure)
              failover   which link is in use                         (failover.py, pure)
              delivery   the task that joins them                     (delivery.py)
              link       the port; mqtt.py and coap.py are the links  (link.py)

`mqtt` and `coap` are imported by whoever uses them: each brings a library that the other does not need.
"""

from lichtmast.edge.uplink.courier import AckRefused, Courier, CourierStatistics
from lichtmast.edge.uplink.delivery import Delivery, DeliveryStatistics
from lichtmast.edge.uplink.errors import UplinkError
from lichtmast.edge.uplink.failover import Failover, FailoverStatistics
from lichtmast.edge.uplink.link import Link, Report

__all__ = [
    "AckRefused",
    "Courier",
    "CourierStatistics",
    "Delivery",
    "DeliveryStatistics",
    "Failover",
    "FailoverStatistics",
    "Link",
    "Report",
    "UplinkError",
]
