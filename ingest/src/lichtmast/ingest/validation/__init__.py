"""Validation: doubt about stored readings, as quality flags, by functions of the last few readings of each datastream.

Pure and deterministic: neither the borders of batches nor a restart change a flag (docs/adr/0034).
"""

from lichtmast.ingest.validation.layout import Layout
from lichtmast.ingest.validation.limits import REMEMBERED
from lichtmast.ingest.validation.validator import Validator

__all__ = ["REMEMBERED", "Layout", "Validator"]
