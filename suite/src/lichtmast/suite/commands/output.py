"""What all commands share in speaking to people and to programs: results on stdout, everything else on stderr."""

import json
import logging
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.logging import RichHandler

console: Final = Console()
messages: Final = Console(stderr=True)
_OWN_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Data folder. Default: LICHTMAST_DATA, else ./data.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]


def print_json(value: dict[str, Any]) -> None:
    """One line of JSON, for programs."""
    typer.echo(json.dumps(value, ensure_ascii=False))


class _FactFormatter(logging.Formatter):
    """What came as `extra` stands behind the event, as name=value; a line break cannot begin a line of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        fields = "".join(f" {name}={_shown(value)}" for name, value in vars(record).items() if name not in _OWN_FIELDS)
        return super().formatMessage(record) + fields


def _shown(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(one.isspace() or not one.isprintable() for one in text) else text


def log_to_stderr(*, verbose: bool) -> None:
    """Log events as lines: warnings always, everything with --verbose."""
    handler = RichHandler(console=messages, show_path=False, markup=False, rich_tracebacks=False)
    handler.setFormatter(_FactFormatter("%(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])
