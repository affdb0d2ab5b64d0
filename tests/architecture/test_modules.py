"""The inside of a module: what STYLE in CONTRIBUTING.md promises and a linter cannot see."""

import ast
import ipaddress
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

MODULE_LINES_MAX: Final = 400
FUNCTION_LINES_MAX: Final = 70

# Each allow-list holds `path` or `path:name` -> the reason. They stay empty unless a rule makes the code worse.
LONG_MODULES: Final[dict[str, str]] = {}
LONG_FUNCTIONS: Final[dict[str, str]] = {}
IPV4_ALLOWED: Final[dict[str, str]] = {
    "api/src/lichtmast/api/protection.py": "localhost as a browser sends it in Host; nothing is bound or dialled by it",
}
CLOCK_READERS: Final[dict[str, str]] = {
    "ingest/src/lichtmast/ingest/pipeline/run.py": "a shell: stamps commits for statistics",
    "ingest/src/lichtmast/ingest/pipeline/upkeep.py": "a shell: tells the store and the log the time",
    "registry/src/lichtmast/registry/register.py": "the moment of a change, where the caller gives none",
}
LOOSE_TASKS: Final[dict[str, str]] = {}

CLOCK_MODULES: Final = {"clock.py", "__main__.py"}
"""Modules that may read the wall clock: shells take it from here and hand it to cores as a value."""
CLOCK_FUNCTION: Final = re.compile(r"_?(wall_clock|now)(_us|_ms|_s)?")
CLOCK_FUNCTION_LINES_MAX: Final = 3
"""A small function that says by its name that it is a clock may read it too: a caller can put another in its place."""

WALL_CLOCK: Final = {
    ("time", "time"),
    ("time", "time_ns"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
}
EMPTY_NAMES: Final = {"base", "common", "helper", "helpers", "manager", "misc", "shared", "tools", "util", "utils"}
IPV4_NAMES: Final = {"AF_INET", "IPv4Address", "gethostbyname", "gethostbyname_ex", "inet_aton", "inet_ntoa"}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def name_of(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def attribute(node: ast.AST) -> tuple[str, str]:
    """`time.time` as ("time", "time"), and `datetime.datetime.now` as ("datetime", "now")."""
    match node:
        case ast.Attribute(value=ast.Name(id=owner), attr=name):
            return owner, name
        case ast.Attribute(value=ast.Attribute(attr=owner), attr=name):
            return owner, name
    return "", ""


def ipv4_in(text: str) -> bool:
    if text == "localhost":
        return True  # resolves to 127.0.0.1 on many machines; ::1 says what is meant
    for match in re.finditer(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])", text):
        try:
            ipaddress.IPv4Address(match[0])
        except ValueError:
            continue
        return True
    return False


def docstrings_of(tree: ast.Module) -> set[int]:
    """The ids of the constants that are documentation; they may speak of anything."""
    return {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def ipv4_of(tree: ast.Module) -> Iterator[int]:
    """The lines of code that name IPv4."""
    documentation = docstrings_of(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in documentation and ipv4_in(text):
                yield node.lineno
            case ast.Attribute(attr=name) | ast.Name(id=name) if name in IPV4_NAMES:
                yield node.lineno
            case ast.ImportFrom(names=names) if any(alias.name in IPV4_NAMES for alias in names):
                yield node.lineno


def clocks_of(tree: ast.Module) -> Iterator[int]:
    """The lines of code that name a wall clock, called or handed on, outside a function that is a clock by its name."""
    clocks = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and CLOCK_FUNCTION.fullmatch(node.name)
        and len(node.body) <= CLOCK_FUNCTION_LINES_MAX
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in clocks:
            continue
        match node:
            case ast.Attribute() if attribute(node) in WALL_CLOCK:
                yield node.lineno
            case ast.ImportFrom(module="time", names=names) if any(
                alias.name in {"time", "time_ns"} for alias in names
            ):
                yield node.lineno


def loose_tasks_of(tree: ast.Module) -> Iterator[int]:
    """The lines that start a task which nobody waits for, or which has no name to be found by.

    A TaskGroup waits for its own. A task outside one, such as a server that is shut down in order before it is
    cancelled, is held in a variable.
    """
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="create_task"), keywords=keywords) if not any(
                one.arg == "name" for one in keywords
            ):
                yield node.lineno
            case ast.Expr(value=ast.Call(func=ast.Attribute(attr="create_task", value=owner))) if isinstance(
                owner, ast.Call
            ) or (isinstance(owner, ast.Name) and owner.id in {"asyncio", "loop"}):
                yield node.lineno


def test_every_module_says_what_it_is_for(root: Path, product_modules: list[Path]) -> None:
    silent = [name_of(path, root) for path in product_modules if not ast.get_docstring(tree_of(path))]
    assert silent == []


def test_every_package_lists_what_it_offers(root: Path, product_modules: list[Path]) -> None:
    silent = [
        name_of(path, root)
        for path in product_modules
        if path.name == "__init__.py"
        and path.parent.parent.name == "lichtmast"
        and not any(
            isinstance(node, ast.Assign | ast.AnnAssign)
            and any(isinstance(one, ast.Name) and one.id == "__all__" for one in ast.walk(node))
            for node in tree_of(path).body
        )
    ]
    assert silent == []


def test_no_module_is_longer_than_one_can_read(root: Path, product_modules: list[Path]) -> None:
    long = {name_of(path, root): len(path.read_text().splitlines()) for path in product_modules}
    assert {name: lines for name, lines in long.items() if lines > MODULE_LINES_MAX and name not in LONG_MODULES} == {}


def test_no_function_is_longer_than_one_can_see(root: Path, product_modules: list[Path]) -> None:
    long = {
        f"{name_of(path, root)}:{node.name}": lines
        for path in product_modules
        if path.parent.name != "versions"  # a migration is one list of statements, frozen once it is released
        for node in functions_of(path)
        if (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX
    }
    assert {name: lines for name, lines in long.items() if name not in LONG_FUNCTIONS} == {}


def test_no_module_has_a_name_that_means_anything(root: Path, product_modules: list[Path]) -> None:
    empty = [name_of(path, root) for path in product_modules if {path.stem, path.parent.name} & EMPTY_NAMES]
    assert empty == []


def test_product_code_never_names_ipv4(root: Path, product_modules: list[Path]) -> None:
    found = {name_of(path, root): lines for path in product_modules if (lines := list(ipv4_of(tree_of(path))))}
    assert {name: lines for name, lines in found.items() if name not in IPV4_ALLOWED} == {}


def test_only_clock_modules_read_the_wall_clock(root: Path, product_modules: list[Path]) -> None:
    found = {
        name_of(path, root): lines
        for path in product_modules
        if path.name not in CLOCK_MODULES and (lines := list(clocks_of(tree_of(path))))
    }
    assert {name: lines for name, lines in found.items() if name not in CLOCK_READERS} == {}


def test_every_task_has_a_name_and_somebody_who_waits_for_it(root: Path, product_modules: list[Path]) -> None:
    found = {name_of(path, root): lines for path in product_modules if (lines := list(loose_tasks_of(tree_of(path))))}
    assert {name: lines for name, lines in found.items() if name not in LOOSE_TASKS} == {}


def test_allow_lists_hold_only_what_is_there(root: Path) -> None:
    listed = [*LONG_MODULES, *LONG_FUNCTIONS, *IPV4_ALLOWED, *CLOCK_READERS, *LOOSE_TASKS]
    assert [name for name in listed if not (root / name.partition(":")[0]).is_file()] == []


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("host = '127.0.0.1'", [1]),
        ("host = 'tcp://0.0.0.0:1883'", [1]),
        ("host = 'localhost'", [1]),
        ("import socket\nsocket.AF_INET", [2]),
        ("from ipaddress import IPv4Address", [1]),
        ("'Not 127.0.0.1 but ::1.'\nhost = '::1'", []),
        ("oid = '1.3.6.1.4.1'\nversion = '300.1.2.3'\nimport socket\nsocket.AF_INET6", []),
    ],
)
def test_the_search_for_ipv4_finds_what_it_should(code: str, lines: list[int]) -> None:
    assert lines == list(ipv4_of(ast.parse(code)))


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("import time\nnow = time.time()", [2]),
        ("import time\nrun(clock=time.time_ns)", [2]),
        ("from time import time", [1]),
        ("from datetime import datetime, UTC\ndatetime.now(UTC)", [2]),
        ("import datetime\ndatetime.datetime.now()", [2]),
        ("import time\ndef stamp():\n    return time.time_ns() // 1_000", [3]),
        ("import time\ndef now_us():\n    return time.time_ns() // 1_000", []),
        ("import time\ntime.monotonic()\nloop.time()", []),
    ],
)
def test_the_search_for_wall_clocks_finds_what_it_should(code: str, lines: list[int]) -> None:
    assert lines == list(clocks_of(ast.parse(code)))


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("asyncio.create_task(work(), name='work')", [1]),
        ("asyncio.get_running_loop().create_task(work(), name='work')", [1]),
        ("loop.create_task(work(), name='work')", [1]),
        ("group.create_task(work())", [1]),
        ("group.create_task(work(), name='work')", []),
        ("serving = asyncio.create_task(work(), name='work')", []),
    ],
)
def test_the_search_for_loose_tasks_finds_what_it_should(code: str, lines: list[int]) -> None:
    assert lines == list(loose_tasks_of(ast.parse(code)))
