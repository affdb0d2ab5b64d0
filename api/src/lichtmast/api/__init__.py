"""SensorThings, server-sent live readings and pages over HTTP.

Reads registry and store, never writes them. Will not sign people in or change anything: that is the management API's.
"""

from lichtmast.api.app import create_app
from lichtmast.api.live import Broadcaster, LiveBatch, LiveReading, Subscription
from lichtmast.api.server import ServerError, TlsFiles, open_socket, serve
from lichtmast.api.settings import ApiSettings, SettingsError

__all__ = [
    "ApiSettings",
    "Broadcaster",
    "LiveBatch",
    "LiveReading",
    "ServerError",
    "SettingsError",
    "Subscription",
    "TlsFiles",
    "create_app",
    "open_socket",
    "serve",
]
