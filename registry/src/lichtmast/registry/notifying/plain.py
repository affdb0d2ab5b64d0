"""Text that others chose, made harmless: one line, bounded, of characters that print. Pure."""


def plain(text: str, bytes_max: int) -> str:
    """Line ends, control characters and those that turn the direction of writing become spaces; the end is cut off."""
    line = "".join(one if one.isprintable() else " " for one in text[:bytes_max])
    return line.encode(errors="replace")[:bytes_max].decode(errors="ignore").strip()
