"""The documents speak of the `lichtmast` command as it is: what they show exists, and what exists is shown."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lichtmast.suite.__main__ import app

INLINE = re.compile(r"`(?:\.venv/bin/)?lichtmast ([^`\n]+)`")
FENCED = re.compile(r"(?:^|&& )(?:\.venv/bin/)?lichtmast ([^\n#]+)", re.MULTILINE)
WORD = re.compile(r"[a-z][a-z-]*")


@cache
def help_of(*words: str) -> str:
    """What `lichtmast WORDS --help` prints; empty where there is no such command."""
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    return done.stdout if done.exit_code == 0 else ""


def commands_in(text: str) -> Iterator[str]:
    """Every call of the command in a document: in backticks, and in blocks of shell."""
    prose = text
    for block in re.findall(r"(?s)```(?:sh|console)\n(.*?)```", text):
        yield from FENCED.findall(block)
        prose = prose.replace(block, "")
    yield from INLINE.findall(prose)


def faults_of(call: str) -> list[str]:
    """What of `import bgt FILE --dry-run` does not exist."""
    words: list[str] = []
    for one in call.split():
        if not WORD.fullmatch(one) or not help_of(*words, one) or help_of(*words, one) == help_of(*words):
            break
        words.append(one)
    if not words and not call.startswith("-"):
        return [f"lichtmast {call.split(maxsplit=1)[0]}"]
    options = re.findall(r"(?<![\w-])--[a-z0-9-]+", call)
    known = set(re.findall(r"(?<![\w-])--[a-z0-9-]+", help_of(*words)))
    return [f"lichtmast {' '.join(words)} {one}" for one in options if one not in known]


@pytest.mark.slow
def test_every_command_in_the_documents_exists(root: Path, project_files: list[Path]) -> None:
    assert help_of(), "lichtmast --help fails"
    faults = {
        f"{path.relative_to(root)}: {fault}"
        for path in project_files
        if path.suffix == ".md"
        for call in commands_in(path.read_text())
        for fault in faults_of(call)
    }
    assert faults == set()


@pytest.mark.slow
def test_every_command_is_in_the_readme(root: Path) -> None:
    documented = {call.split(maxsplit=1)[0] for call in commands_in((root / "README.md").read_text())}
    offered = set(re.findall(r"^\W*([a-z][a-z-]+)  +\S", help_of().partition("Commands")[2], re.MULTILINE))
    assert offered, "lichtmast --help lists no command"
    assert offered - documented == set()


def test_calls_are_found_in_prose_and_in_blocks() -> None:
    block = "```sh\npip install x && .venv/bin/lichtmast audit --json  # all\nls lichtmast\n```\n"
    text = f"Run `lichtmast up --town`.\n{block}"
    assert [call.strip() for call in commands_in(text)] == ["audit --json", "up --town"]
