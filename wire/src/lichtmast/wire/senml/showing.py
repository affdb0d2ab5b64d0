"""How input appears in the detail of a refusal: in ASCII and cut short, whatever was sent."""

from typing import Final

_LENGTH_MAX: Final = 60


def shown(value: object) -> str:
    """The value in ASCII, cut to a length that fits a diagnostic payload."""
    text = ascii(value[: _LENGTH_MAX + 1] if isinstance(value, str | bytes) else value)
    return text if len(text) <= _LENGTH_MAX else f"{text[:_LENGTH_MAX]}..."
