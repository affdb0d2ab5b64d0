"""What belongs to the project: no trace of a machine, no dead link, nothing undocumented."""

import hashlib
import re
import subprocess
import tomllib
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

FILE_BYTES_MAX: Final = 1024 * 1024
CHANGE_KINDS: Final = {"added", "changed", "deprecated", "removed", "fixed", "security"}
LOCKS: Final = {"uv.lock"}
"""Files that name where packages come from; pip and uv need that."""

# Written in halves, so that this file does not contain what it forbids.
REGISTRY_HOSTS: Final = tuple(
    ".".join(halves)
    for halves in (
        ("pypi", "org"),
        ("files.pythonhosted", "org"),
        ("registry.npmjs", "org"),
        ("registry.yarnpkg", "com"),
        ("crates", "io"),
        ("proxy.golang", "org"),
        ("repo.maven.apache", "org"),
        ("deb.debian", "org"),
    )
)
MACHINE_PATH: Final = re.compile(r"(?<![\w.~}/-])/(?:work|root|home/\w+|Users/\w+|tmp/(?:p|brief|house))/")
SECRET: Final = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----\\?n?\s*[-+]?\s*[A-Za-z0-9+/]{40}"  # PEM, also in a diff or a string
    r"|(?<![A-Za-z0-9_-])(?:"
    r"lm_[0-9a-f]{8}_[A-Za-z0-9_-]{20,}"  # an API token of Lichtmast
    r"|A(?:KIA|SIA)[0-9A-Z]{16}"
    r"|gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40,}|glpat-[A-Za-z0-9_-]{20,}"
    r"|xox[abprs]-[A-Za-z0-9-]{20,}|sk-[A-Za-z0-9_-]{32,}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,}"
    r"|S[ACNOUX]{1,2}[A-Z2-7]{56}"  # the seed of an NATS key
    r"|AGE-SECRET-KEY-1[0-9A-Z]{50,}"
    r"|eyJ[A-Za-z0-9_-]{20,}\.eyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}"  # a JWT that is signed
    r")(?![A-Za-z0-9_-])"
)
LINK: Final = re.compile(r"\]\(([^)\s]+)\)|<img[^>]+src=\"([^\"]+)\"")

EUPL_SHA256: Final = "57fb42fbcd0b037ce528ed8f72f1ec095d67bc6825ecf1448ff39be1fe68a4b4"
"""Of the English text of EUPL-1.2 as SPDX publishes it, ending in one line feed."""


def texts(files: list[Path]) -> dict[Path, str]:
    found: dict[Path, str] = {}
    for path in files:
        if path.stat().st_size > FILE_BYTES_MAX:
            continue  # has a test of its own
        raw = path.read_bytes()
        if b"\0" not in raw:
            found[path] = raw.decode(errors="replace")
    return found


def name_of(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def executables(root: Path) -> list[Path]:
    return [*(path for path in (root / "scripts").iterdir() if path.suffix != ".txt"), root / ".ci/run"]


def markdown(files: list[Path]) -> list[Path]:
    return [path for path in files if path.suffix == ".md"]


def test_no_file_names_a_package_registry(root: Path, project_files: list[Path]) -> None:
    found = {
        f"{name_of(path, root)}: {host}"
        for path, text in texts(project_files).items()
        if path.name not in LOCKS
        for host in REGISTRY_HOSTS
        if re.search(rf"(?<![\w-]){re.escape(host)}(?![\w-])", text)
    }
    assert found == set()


def test_no_file_names_a_path_of_somebodys_machine(root: Path, project_files: list[Path]) -> None:
    found = {
        f"{name_of(path, root)}: {match[0]}"
        for path, text in texts(project_files).items()
        for match in [MACHINE_PATH.search(text)]
        if match and path != Path(__file__)
    }
    assert found == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cd /" + "work/main", True),
        ("see /" + "home/anna/notes", True),
        ("'/" + "root/.cache'", True),
        ("https://example.org/work/main", False),
        ("docs/work/list", False),
        ("/workers/1", False),
    ],
)
def test_the_search_for_machine_paths_finds_what_it_should(text: str, found: bool) -> None:  # noqa: FBT001 - a table
    assert found == bool(MACHINE_PATH.search(text))


def test_no_secret_is_in_the_tree(root: Path, project_files: list[Path]) -> None:
    found = {
        f"{name_of(path, root)}: {match[0][:30]}"
        for path, text in texts(project_files).items()
        for match in [SECRET.search(text)]
        if match
    }
    assert found == set()


def test_no_secret_ever_was_in_the_history(root: Path) -> None:
    log = ["git", "log", "--all", "--patch", "--unified=0", "--text", "--diff-merges=separate", "--format=commit %H"]
    told = subprocess.run(log, cwd=root, capture_output=True, check=True).stdout.decode(errors="replace")
    assert told.startswith("commit ")
    assert [match[0][:30] for match in SECRET.finditer(told)] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("-----BEGIN " + "PRIVATE KEY-----\n" + "MIGH" * 12, True),
        ("+-----BEGIN EC " + "PRIVATE KEY-----\n+" + "MHcC" * 12, True),
        ('key = "-----BEGIN OPENSSH ' + "PRIVATE KEY-----" + "\\n" + "b3Bl" * 12 + '"', True),
        ("-----BEGIN ENCRYPTED " + "PRIVATE KEY-----\n" + "MIGH" * 12, True),
        ('assert b"-----BEGIN PRIVATE KEY" not in disk', False),
        ("Authorization: Bearer lm_" + "0123abcd_" + "x" * 43, True),
        ("lm_0123abcd_SECRET", False),
        ("AKIA" + "Z" * 16, True),
        ("ghp_" + "a" * 36, True),
        ("SU" + "A" * 56, True),
        ("eyJ" + "a" * 20 + ".eyJ" + "b" * 30 + "." + "c" * 40, True),
        ("hash = sha256:" + "0a" * 32, False),
    ],
)
def test_the_search_for_secrets_finds_what_it_should(text: str, found: bool) -> None:  # noqa: FBT001 - a table
    assert found == bool(SECRET.search(text))


def proofs(root: Path) -> dict[int, str]:
    """Requirement and proof, from the table of docs/security.md."""
    rows = re.findall(r"^\| (\d+) \|(.*)\|$", (root / "docs/security.md").read_text(), re.MULTILINE)
    return {int(number): cells.rsplit("|", 1)[1] for number, cells in rows}


def test_each_of_the_forty_requirements_names_a_proof_that_is_there(root: Path) -> None:
    table = proofs(root)
    assert sorted(table) == list(range(1, 41))
    unproven = {number for number, proof in table.items() if "tests/" not in proof}
    text = (root / "docs/security.md").read_text()
    assert unproven == {int(number) for number in re.findall(r"^\| (\d+) \|.*\*\*not yet\*\*", text, re.MULTILINE)}
    missing = set()
    for proof in table.values():
        for path, tests in re.findall(r"(tests/[\w/]+(?:\.py)?)((?:::test_\w+)*)", proof):
            source = root / path
            if not source.exists():
                missing.add(path)
            elif tests:
                there = set(re.findall(r"def (test_\w+)\(", source.read_text()))
                missing |= {f"{path}::{one}" for one in tests.split("::")[1:] if one not in there}
    assert missing == set()


def test_no_file_is_large(root: Path, project_files: list[Path]) -> None:
    large = {name_of(path, root): path.stat().st_size for path in project_files}
    assert {name: size for name, size in large.items() if size > FILE_BYTES_MAX} == {}


def test_no_two_test_files_share_a_name(root: Path) -> None:
    names = Counter(path.name for path in (root / "tests").rglob("test_*.py"))
    assert {name: count for name, count in names.items() if count > 1} == {}


def test_every_script_can_be_executed_and_explains_itself(root: Path) -> None:
    for path in executables(root):
        lines = path.read_text().splitlines()
        assert path.stat().st_mode & 0o111 == 0o111, f"{path} is not executable: chmod +x"
        assert re.fullmatch(r"#!/bin/sh|#!/usr/bin/env (bash|python3)", lines[0]), path
        assert lines[1].startswith("# "), f"{path} does not say what it does"


def test_the_licence_is_the_official_text(root: Path) -> None:
    assert hashlib.sha256((root / "LICENSE").read_bytes()).hexdigest() == EUPL_SHA256


def test_publiccode_agrees_with_the_distributions(root: Path) -> None:
    text = (root / "publiccode.yml").read_text()
    fields = dict(re.findall(r"^ *(\w+): *\"?([^\"\n>|]+?)\"? *$", text, re.MULTILINE))
    project = tomllib.loads((root / "suite/pyproject.toml").read_text())["project"]

    assert fields["softwareVersion"] == project["version"]
    assert fields["license"] == project["license"]
    assert fields["publiccodeYmlVersion"].startswith("0.")
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", fields["releaseDate"])
    short = re.findall(r"shortDescription: (.+)", text)
    assert len(short) == 2, "one for each language"
    assert all(len(one) <= 150 for one in short), "the standard allows 150 characters"
    features = re.findall(r"^      - (.+)$", text, re.MULTILINE)
    assert features
    assert all(len(one) <= 100 for one in features), "the standard allows 100 characters"


def test_every_link_between_documents_leads_somewhere(root: Path, project_files: list[Path]) -> None:
    dead = {
        f"{name_of(path, root)}: {target}"
        for path in markdown(project_files)
        for pair in LINK.findall(re.sub(r"(?s)```.*?```", "", path.read_text()))
        for target in pair
        if target and not re.match(r"[a-z]+:|#", target)
        if not (path.parent / target.partition("#")[0]).exists()
    }
    assert dead == set()


def test_the_readme_shows_every_room_and_every_script(root: Path, members: list[Path]) -> None:
    readme = (root / "README.md").read_text()
    missing = [member.name for member in members if f"({member.name}/" not in readme]
    assert missing == []
    silent = [path.name for path in executables(root) if path.name not in {"ipv6-only", "system-packages"}]
    documented = readme + (root / "docs/testing.md").read_text() + (root / "CONTRIBUTING.md").read_text()
    assert [name for name in silent if f"scripts/{name}" not in documented and f".ci/{name}" not in documented] == []


def test_every_folder_of_tests_says_what_it_proves(root: Path) -> None:
    text = (root / "docs/testing.md").read_text()
    folders = {path.parent.relative_to(root / "tests").parts[0] for path in (root / "tests").glob("*/**/test_*.py")}
    assert {name for name in folders if f"| `tests/{name}` |" not in text} == set()


def test_every_benchmark_is_documented(root: Path) -> None:
    text = (root / "docs/testing.md").read_text()
    names = [path.stem for path in (root / "bench").glob("*.py")]
    assert [name for name in names if f"scripts/bench {name}" not in text] == []


def test_the_documents_name_no_script_that_is_not_there(root: Path, project_files: list[Path]) -> None:
    dead = {
        f"{name_of(path, root)}: scripts/{name}"
        for path in markdown(project_files)
        for name in re.findall(r"(?<![\w/.])scripts/([\w.-]*\w)", path.read_text())
        if not (root / "scripts" / name).exists()
    }
    dead |= {
        f"{name_of(path, root)}: scripts/bench {name}"
        for path in markdown(project_files)
        for name in re.findall(r"scripts/bench ([a-z_]+)", path.read_text())
        if not (root / "bench" / f"{name}.py").exists()
    }
    assert dead == set()


def test_every_decision_is_in_the_index(root: Path) -> None:
    folder = root / "docs/adr"
    files = sorted(path.name for path in folder.glob("[0-9]*.md"))
    listed = re.findall(r"\]\((\d{4}-[a-z0-9-]+\.md)\)", (folder / "README.md").read_text())
    assert sorted(listed) == files
    assert len({name[:4] for name in files}) == len(files), "two decisions share a number"


def test_every_decision_has_its_parts(root: Path) -> None:
    for path in (root / "docs/adr").glob("[0-9]*.md"):
        text = path.read_text()
        assert re.match(rf"# 0*{int(path.name[:4])}\b", text), f"{path.name}: the title starts with the number"
        for part in ("context", "decision", "consequences"):
            assert re.search(rf"^## {part}s?\b", text, re.MULTILINE | re.IGNORECASE), f"{path.name} has no {part}"
        assert re.search(r"status\**:?\**\s*:?\s*\w+", text, re.IGNORECASE), f"{path.name} has no status"


def test_every_change_is_named_by_its_kind(root: Path) -> None:
    fragments = [path for path in (root / "changelog.d").iterdir() if path.name != "README.md"]
    for path in fragments:
        match = re.fullmatch(r"[a-z0-9-]+\.([a-z]+)\.md", path.name)
        assert match, f"{path.name} is not NAME.KIND.md"
        assert match[1] in CHANGE_KINDS, f"{path.name}: {match[1]} is none of {sorted(CHANGE_KINDS)}"
        assert path.read_text().strip(), f"{path.name} is empty"
