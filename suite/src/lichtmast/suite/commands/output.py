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

DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Data folder. Default: LICHTMAST_DATA, else ./data.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]


def print_json(value: dict[str, Any]) -> None:
    """One line of JSON, for programs."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def log_to_stderr(*, verbose: bool) -> None:
    """Log events as lines: warnings always, everything with --verbose."""
    handler = RichHandler(console=messages, show_path=False, markup=False, rich_tracebacks=False)
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s", handlers=[handler])
