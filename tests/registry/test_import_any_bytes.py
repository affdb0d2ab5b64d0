"""Whatever the bytes of a file, an import ends with a report; and each reason is explained to its reader."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lichtmast.registry import (
    SOURCE_KINDS,
    Reason,
    Registry,
    SourceUnreadableError,
    UnknownRecordError,
    import_source,
)
from lichtmast.registry.importing import IncomingAsset, Problem
from lichtmast.registry.importing.report import ProblemLog, Severity, error, example, warning
from lichtmast.registry.limits import REPORT_PROBLEMS_MAX
from lichtmast.registry.lookalike import write_bgt

SEEDS = {
    "csv": b'straat;nummer;lengte;x;y\nKerkstraat;1;7,5;140124,785;466656,918\n"Dorp";2;;140130;466660\n',
    "geojson": b'{"type":"FeatureCollection","features":[{"type":"Feature",'
    b'"properties":{"STRAAT":"K","MASTNUMMER":"1"},"geometry":{"type":"Point","coordinates":[5.1,52.1]}}]}',
}


def _read(kind: str, path: Path) -> list[IncomingAsset | Problem]:
    return list(import_source(kind, path).read(lambda _done, _total: None))


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("seed") / "seed.gml"
    write_bgt(path, assets=2, twice=1, ended=1)
    return SEEDS | {"bgt": path.read_bytes()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SOURCE_KINDS)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=200))
def test_noise_is_a_problem_and_never_an_exception(tmp_path: Path, kind: str, noise: bytes) -> None:
    path = tmp_path / "noise"
    path.write_bytes(noise)
    found = _read(kind, path)
    assert any(isinstance(one, Problem) for one in found)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SOURCE_KINDS)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_file_never_raises(tmp_path: Path, seeds: dict[str, bytes], kind: str, data: st.DataObject) -> None:
    content = seeds[kind]
    at = data.draw(st.integers(0, len(content) - 1))
    until = data.draw(st.integers(at, min(len(content), at + 30)))
    path = tmp_path / "damaged"
    path.write_bytes(content[:at] + data.draw(st.binary(max_size=10)) + content[until:])
    _read(kind, path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bgt", "geojson"])
def test_every_cut_of_a_delivery_is_noticed(tmp_path: Path, seeds: dict[str, bytes], kind: str) -> None:
    content = seeds[kind].rstrip()
    path = tmp_path / "cut"
    for length in range(0, len(content) - 1, max(1, len(content) // 100)):
        path.write_bytes(content[:length])
        errors = [one for one in _read(kind, path) if isinstance(one, Problem) and one.severity is Severity.ERROR]
        assert [one.reason for one in errors] in (["truncated"], ["empty_file"]), length


def test_missing_file_and_folder_are_named(registry: Registry, tmp_path: Path) -> None:
    for kind in SOURCE_KINDS:
        for path in (tmp_path / "missing.file", tmp_path):
            with pytest.raises(SourceUnreadableError, match=re.escape(str(path))):
                registry.import_assets("gm0402", import_source(kind, path), dry_run=False)


def test_unknown_tenant_and_source_are_named(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(UnknownRecordError, match="gm9999"):
        registry.import_assets("gm9999", import_source("csv", tmp_path), dry_run=False)
    with pytest.raises(ValueError, match="dxf"):
        import_source("dxf", tmp_path)


def test_failed_import_leaves_the_register_usable(registry: Registry, tmp_path: Path, seeds: dict[str, bytes]) -> None:
    path = tmp_path / "good.csv"
    path.write_bytes(seeds["csv"])
    with pytest.raises(SourceUnreadableError):
        registry.import_assets("gm0402", import_source("csv", tmp_path), dry_run=False)
    assert registry.import_assets("gm0402", import_source("csv", path), dry_run=False).committed


def test_interrupted_import_commits_nothing_and_can_be_repeated(
    registry: Registry, tmp_path: Path, seeds: dict[str, bytes]
) -> None:
    path = tmp_path / "good.csv"
    path.write_bytes(seeds["csv"])

    def interrupt(_done: int, _total: int | None) -> None:
        raise KeyboardInterrupt

    before = registry.revision()
    with pytest.raises(KeyboardInterrupt):
        registry.import_assets("gm0402", import_source("csv", path), dry_run=False, progress=interrupt)
    assert (registry.counts().assets, registry.revision()) == (0, before)
    assert registry.import_assets("gm0402", import_source("csv", path), dry_run=False).added == 2


def test_committed_import_is_on_record_with_the_digest_of_the_file(
    registry: Registry, tmp_path: Path, seeds: dict[str, bytes]
) -> None:
    path = tmp_path / "good.csv"
    path.write_bytes(seeds["csv"])
    registry.import_assets("gm0402", import_source("csv", path), dry_run=False, at_us=99)
    (run,) = registry.import_runs("gm0402")
    assert (run.source, run.file_name, run.started_at_us, run.added) == ("csv", "good.csv", 99, 2)
    assert len(run.sha256) == 64


def test_problems_beyond_the_cap_are_counted_and_other_reasons_still_told() -> None:
    log = ProblemLog()
    for row in range(REPORT_PROBLEMS_MAX + 1):
        log.add(error(row, Reason.BAD_COORDINATE, "x"))
    log.add(error(5, Reason.DUPLICATE_ID, "y"))
    log.add(warning(None, Reason.ENCODING_ASSUMED, "z"))
    assert log.counts(Severity.ERROR) == {"bad_coordinate": REPORT_PROBLEMS_MAX + 1, "duplicate_id": 1}
    assert len(log.kept(Severity.ERROR)) == REPORT_PROBLEMS_MAX + 1
    assert [one.row for one in log.kept(Severity.WARNING)] == [None]


def test_message_repeats_wrong_input_short_and_escaped() -> None:
    assert example("\x1b[31m" + "x" * 1_000) == "'\\x1b[31m" + "x" * 55 + "'"


def test_every_reason_is_explained_in_the_reference() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "import.md").read_text(encoding="utf-8")
    text = page.partition("## Report")[2]
    explained = set(re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE))
    assert explained == {reason.value for reason in Reason}
