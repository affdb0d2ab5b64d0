"""A register in a temporary folder, and small files to import."""

from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copyfile

import pytest

from lichtmast.registry import AssetRecord, ImportReport, Registry, import_source
from lichtmast.registry.importing.coordinates import rd_to_crs84

SHARED_DATA = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture(scope="session")
def empty_register(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated register to copy, because migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("registry") / "empty.sqlite"
    with Registry.open(path) as opened:
        opened.ensure_tenant("gm0402", "Hilversum")
    return path


@pytest.fixture
def registry(tmp_path: Path, empty_register: Path) -> Iterator[Registry]:
    copyfile(empty_register, tmp_path / "register.sqlite")
    with Registry.open(tmp_path / "register.sqlite") as opened:
        yield opened


@pytest.fixture(scope="session", autouse=True)
def _correction_grid() -> None:
    """Load the RD correction grid once, so that no test seems slow for being the first to need it."""
    rd_to_crs84(155_000, 463_000)


@pytest.fixture
def import_file(registry: Registry, tmp_path: Path) -> Callable[..., ImportReport]:
    """Write the content to a file and import it."""

    def run(kind: str, content: bytes | str, *, dry_run: bool = False) -> ImportReport:
        path = tmp_path / f"delivery.{kind}"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return registry.import_assets("gm0402", import_source(kind, path, tenant="gm0402"), dry_run=dry_run, at_us=7)

    return run


@pytest.fixture
def lampposts(registry: Registry, import_file: Callable[..., ImportReport]) -> list[AssetRecord]:
    """Five lampposts of one street, the last of which has ended."""
    lines = ["straat;nummer;lon;lat;einddatum"]
    lines += [f"Kerkstraat;{number};5,17{number};52,22{number};" for number in range(1, 5)]
    lines.append("Kerkstraat;5;5,175;52,225;2020-01-31")
    assert import_file("csv", "\n".join(lines)).committed
    return registry.things("gm0402", active_only=False)


@pytest.fixture
def shared_file() -> Callable[[str], Path]:
    """A file of the shared data, or a skip that says what is missing."""

    def find(name: str) -> Path:
        path = SHARED_DATA / name
        if not path.exists():
            pytest.skip(f"{name} is not in this clone; the look-alike tests cover its shape")
        return path

    return find
