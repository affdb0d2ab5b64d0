"""The broker asks us who may connect, and drops whom the register took back (docs/adr/0031)."""

from lichtmast.ingest.callout.callout import Callout, CalloutStatistics
from lichtmast.ingest.callout.rules import CalloutReason, RefusedConnection

__all__ = ["Callout", "CalloutReason", "CalloutStatistics", "RefusedConnection"]
