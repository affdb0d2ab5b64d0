"""The scripts tell a newcomer what is missing, and do nothing when nothing changed."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

SYSTEM_TOOLS: Final = ("cat", "dirname", "env", "git", "grep", "ls", "rm", "sed", "sh", "sort", "find", "basename")


def place_tool(folder: Path, name: str, script: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tool = folder / name
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)


@pytest.fixture
def clone(root: Path, tmp_path: Path) -> Path:
    """The scripts and what they read, without a .venv."""
    folder = tmp_path / "clone"
    (folder / "bench").mkdir(parents=True)
    shutil.copytree(root / "scripts", folder / "scripts")
    for name in ("pyproject.toml", "uv.lock"):
        shutil.copy(root / name, folder / name)
    (folder / "wire").mkdir()
    shutil.copy(root / "wire/pyproject.toml", folder / "wire/pyproject.toml")
    return folder


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH with the system's tools and no Python and no Node."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in SYSTEM_TOOLS:
        found = shutil.which(name)
        assert found, name
        (folder / name).symlink_to(found)
    return folder


def run(script: Path, *arguments: str, tools: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(script), *arguments],
        env={"PATH": str(tools), "HOME": str(tools)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_setup_without_python_says_what_to_install(clone: Path, tools: Path) -> None:
    done = run(clone / "scripts/setup", tools=tools)
    assert done.returncode == 1
    assert "there is no python3 on PATH" in done.stderr
    assert "LICHTMAST_PYTHON" in done.stderr


def test_setup_with_an_old_python_says_which_it_found(clone: Path, tools: Path) -> None:
    place_tool(tools, "python3", '[ "$1" = -V ] && echo "Python 3.9.2" || exit 1')
    done = run(clone / "scripts/setup", tools=tools)
    assert done.returncode == 1
    assert "here is Python 3.9.2" in done.stderr


def test_setup_with_a_python_that_does_not_start_says_so(clone: Path, tools: Path) -> None:
    place_tool(tools, "python3", "exit 127")
    done = run(clone / "scripts/setup", tools=tools)
    assert done.returncode == 1
    assert "does not start" in done.stderr


def test_setup_with_a_python_without_venv_says_what_to_install(clone: Path, tools: Path) -> None:
    place_tool(tools, "python3", 'case "$2" in *ensurepip*) exit 1 ;; esac')
    done = run(clone / "scripts/setup", tools=tools)
    assert done.returncode == 1
    assert "has no venv module" in done.stderr
    assert "python3-venv" in done.stderr


def test_setup_refuses_a_chosen_python_that_is_too_old(clone: Path, tools: Path) -> None:
    place_tool(tools, "ancient", "exit 1")
    done = run(clone / "scripts/setup", tools=tools, LICHTMAST_PYTHON=str(tools / "ancient"))
    assert done.returncode == 1
    assert "LICHTMAST_PYTHON" in done.stderr


def test_setup_refuses_an_option_that_it_does_not_have(clone: Path, tools: Path) -> None:
    done = run(clone / "scripts/setup", "--frce", tools=tools)
    assert done.returncode == 2
    assert "--force" in done.stderr


@pytest.fixture
def prepared(clone: Path, tools: Path) -> Path:
    """A clone whose Python and uv write down what they are asked to do."""
    log = clone / "asked"
    (clone / ".venv/bin").mkdir(parents=True)
    (clone / ".venv/pyvenv.cfg").write_text("version = 3.11\n")
    place_tool(clone / ".venv/bin", "python", f'case "$*" in *"pip install"*) echo "pip" >>{log} ;; esac')
    place_tool(clone / ".venv/bin", "uv", f'echo "uv $1" >>{log}')
    done = run(clone / "scripts/setup", tools=tools)
    assert done.returncode == 0, done.stderr
    assert log.read_text().split() == ["pip", "pip", "uv", "sync"]
    log.write_text("")
    return clone


def test_setup_does_nothing_when_nothing_changed(prepared: Path, tools: Path) -> None:
    assert run(prepared / "scripts/setup", tools=tools).returncode == 0
    assert (prepared / "asked").read_text() == ""


@pytest.mark.parametrize("name", ["uv.lock", "wire/pyproject.toml", "scripts/uv.txt"])
def test_setup_installs_again_when_what_it_reads_changed(prepared: Path, tools: Path, name: str) -> None:
    with (prepared / name).open("a") as file:
        file.write("# changed\n")
    assert run(prepared / "scripts/setup", tools=tools).returncode == 0
    assert "uv sync" in (prepared / "asked").read_text()


def test_setup_makes_a_new_venv_when_the_clone_was_moved(prepared: Path, tools: Path) -> None:
    moved = prepared.rename(prepared.with_name("moved"))
    place_tool(tools, "python3", 'case "$*" in *"-m venv"*) echo "a new venv" >&2; exit 1 ;; esac')
    done = run(moved / "scripts/setup", tools=tools)
    assert done.returncode == 1
    assert f"was at {prepared} before" in done.stderr
    assert "a new venv" in done.stderr
    assert not (moved / ".venv").exists()


def test_setup_that_could_not_install_says_so_and_tries_again(prepared: Path, tools: Path) -> None:
    place_tool(prepared / ".venv/bin", "uv", "echo no route to host >&2; exit 2")
    (prepared / "uv.lock").write_text("")
    for _ in range(2):
        done = run(prepared / "scripts/setup", tools=tools)
        assert done.returncode == 1
        assert "no route to host" in done.stderr
        assert "could not be installed" in done.stderr


def test_setup_installs_again_when_told_to(prepared: Path, tools: Path) -> None:
    assert run(prepared / "scripts/setup", "--force", tools=tools).returncode == 0
    assert "uv sync" in (prepared / "asked").read_text()


def test_setup_builds_web_assets_with_a_node_of_its_own_and_only_once(prepared: Path, tools: Path) -> None:
    web, static = prepared / "api/web", prepared / "api/src/lichtmast/api/static"
    web.mkdir(parents=True)
    (web / "package.json").write_text("{}")
    log = prepared / "asked"
    node = 'case "$1" in --version) echo v24 ;; esac'
    npm = f'echo "npm $1 $2" >>{log}; mkdir -p {static}; echo built >{static}/live.js'
    place_tool(tools, "mkdir", f'exec {shutil.which("mkdir")} "$@"')
    place_tool(
        prepared / ".venv/bin",
        "uv",
        f"""echo "uv $*" >>{log}
        printf '%s\\n' '#!/bin/sh' '{node}' >.venv/bin/node
        printf '%s\\n' '#!/bin/sh' '{npm}' >.venv/bin/npm
        {shutil.which("chmod")} +x .venv/bin/node .venv/bin/npm""",
    )

    done = run(prepared / "scripts/setup", tools=tools)
    assert done.returncode == 0, done.stderr
    assert "scripts/node.txt" in log.read_text()
    assert re.search(r"npm ci .*\nnpm run ", log.read_text())

    log.write_text("")
    assert run(prepared / "scripts/setup", tools=tools).returncode == 0
    assert log.read_text() == ""

    (web / "live.ts").write_text("export {};")
    assert run(prepared / "scripts/setup", tools=tools).returncode == 0
    assert "npm run" in log.read_text()


def test_the_pinned_installer_is_the_one_the_workspace_asks_for(root: Path) -> None:
    (version,) = re.findall(r"^uv==([\d.]+)", (root / "scripts/uv.txt").read_text(), re.MULTILINE)
    (least,) = re.findall(r'required-version = ">=([\d.]+)"', (root / "pyproject.toml").read_text())
    assert tuple(map(int, version.split("."))) >= tuple(map(int, least.split(".")))


@pytest.mark.parametrize("name", ["uv.txt", "node.txt"])
def test_what_pip_installs_first_is_pinned_by_hash(root: Path, name: str) -> None:
    blocks = [one for one in re.split(r"(?m)^(?=\S)", (root / "scripts" / name).read_text()) if one.strip()]
    pins = [one for one in blocks if not one.startswith("#")]
    assert pins
    assert all(re.match(r"[a-z-]+==[\d.]+ ", one) and "--hash=sha256:" in one for one in pins)


def test_bench_lists_the_benchmarks_when_the_name_is_unknown(clone: Path, tools: Path) -> None:
    (clone / "bench/store.py").write_text("")
    done = run(clone / "scripts/bench", "stroe", tools=tools)
    assert done.returncode == 2
    assert "no benchmark stroe" in done.stderr
    assert done.stderr.splitlines()[-1] == "store"


def test_system_packages_are_names_and_nothing_else(root: Path) -> None:
    done = run(root / "scripts/system-packages", tools=Path(os.environ["PATH"].split(":")[0]), PATH=os.environ["PATH"])
    assert done.returncode == 0
    names = done.stdout.splitlines()
    assert names
    assert names == sorted(names)
    assert [name for name in names if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", name)] == []


def test_every_system_package_says_why(root: Path) -> None:
    text = (root / "scripts/system-packages").read_text()
    lines = text.partition("<<'LIST'\n")[2].partition("\nLIST\n")[0].splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"\S+ +# \S.+", line)] == []


@pytest.mark.parametrize("failing", ["nothing", "/integration", "/waiting", "/rest"])
def test_two_runs_side_by_side_run_everything_once_show_it_and_fail_where_one_fails(clone: Path, failing: str) -> None:
    place_tool(clone / ".venv/bin", "python", f'echo "ran $*"; case "$*" in *cache_dir=*{failing}*) exit 1;; esac')
    place_tool(clone / "scripts", "ipv6-only", '[ "$*" = true ] || echo "without IPv4:"; exec "$@"')
    done = subprocess.run([clone / "scripts/two-runs"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == (failing != "nothing"), done.stderr
    said = [line for line in done.stdout.splitlines() if not line.startswith("==")]
    rest, without_ipv4, *others = said
    assert without_ipv4 == "without IPv4:"
    assert len(others) == 2, "what fails ends none of the others"
    run_apart = {word for line in others for word in line.split() if word.startswith("tests/")}
    assert {word.removeprefix("--ignore=") for word in rest.split() if word.startswith("--ignore=")} == run_apart
    assert "tests/integration" in others[0].split()
