"""The agent's log: one fact a line, by its name, with its fields behind it. systemd adds the time."""

import logging
from typing import Final

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class FactFormatter(logging.Formatter):
    """`warning uplink_changed left=mqtt link=coap`: what came as `extra` is written as name=value."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line without a trace."""
        fields = "".join(f" {name}={_shown(value)}" for name, value in vars(record).items() if name not in _OWN)
        return f"{record.levelname.lower()} {record.message}{fields}"


def log_to_stderr(*, verbose: bool) -> None:
    """Write facts to standard error; `verbose` also those that are not out of the ordinary."""
    handler = logging.StreamHandler()
    handler.setFormatter(FactFormatter())
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def _shown(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(one.isspace() or not one.isprintable() for one in text) else text
