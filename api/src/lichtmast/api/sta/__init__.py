"""OGC SensorThings API 1.1, the reading half: paths and options in, JSON out. Knows no HTTP and awaits nothing.

`SensorThings.answer` is the door; what it does not do, it refuses with 501 and says so in the landing page.
"""

from lichtmast.api.sta.service import Answer, SensorThings

__all__ = ["Answer", "SensorThings"]
