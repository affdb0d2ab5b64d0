"""The alert engine: follows the OBSERVATIONS log and evaluates rules by event time (docs/reference/alert-engine.md)."""

__all__: list[str] = []
