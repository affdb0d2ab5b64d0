"""Drivers are found by kind: ours without importlib.metadata, strangers' by entry point, one without the others."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lichtmast.edge.drivers import GROUP, DriverContext, build_driver
from lichtmast.edge.drivers.loading import OURS, PACKAGES, find_factory
from lichtmast.edge.errors import SettingsError

EDGE = tomllib.loads((Path(__file__).parents[2] / "edge" / "pyproject.toml").read_text())["project"]
CONTEXT = DriverContext("meter", 1, frozenset({"level"}), lambda: 0.0, lambda _: None)

STRANGER = '''
class Stranger:
    """A driver that inherits nothing and imports nothing of ours."""

    class Channel:
        name, kind, unit, writable = "level", "number", "lx", False

    def __init__(self, options, context):
        self.channels = (self.Channel,)
'''


def install(folder: Path, name: str, module: str, target: str) -> None:
    """What an installer leaves behind: the module, and the metadata that announces it."""
    (folder / f"{module}.py").write_text(STRANGER)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{target}\n")


def test_our_table_and_our_entry_points_are_the_same() -> None:
    assert EDGE["entry-points"][GROUP] == dict(OURS)


def test_every_package_of_an_extra_is_known_by_its_name() -> None:
    of_drivers = {name: extra for name, extra in EDGE["optional-dependencies"].items() if name != "coaps"}
    named = [re.split("[<>=~ ]", one)[0] for extra in of_drivers.values() for one in extra]
    assert {one for packages in PACKAGES.values() for one in packages.split()} == set(named)


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.slow
def test_loading_one_driver_imports_none_of_the_others(kind: str) -> None:
    code = (
        "import sys; from lichtmast.edge.drivers.loading import OURS, find_factory\n"
        f"find_factory({kind!r}, 'x')\n"
        "print(*(one for one in OURS if 'lichtmast.edge.drivers.' + one in sys.modules), "
        "*(one for one in ('importlib.metadata',) if one in sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    # pymodbus and pyserial themselves may bring importlib.metadata.
    assert shown == [kind]


@pytest.mark.parametrize(("module", "kind"), [("pymodbus", "modbus"), ("serial", "modbus"), ("smbus2", "i2c")])
def test_a_missing_package_is_told_with_what_to_install(
    module: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"lichtmast.edge.drivers.{kind}", raising=False)
    with pytest.raises(SettingsError, match=rf"needs {module}.*: pip install {PACKAGES[module]}$"):
        find_factory(kind, "meter")


def test_a_strangers_driver_is_found_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "acme", "acme_driver", "acme = acme_driver:Stranger")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "acme_driver", raising=False)
    (channel,) = build_driver("acme", {}, CONTEXT).channels
    assert (channel.name, channel.unit) == ("level", "lx")


def test_a_strangers_package_cannot_answer_for_one_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "acme", "acme_driver", "simulated = acme_driver:Stranger")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_factory("simulated", "x").__module__ == "lichtmast.edge.drivers.simulated"


@pytest.mark.parametrize(
    "broken",
    ["raise RuntimeError('half installed')", "class Stranger:\n    def __init__(*_): 1 / 0", "Stranger = dict"],
)
def test_whatever_a_strangers_driver_raises_names_the_driver(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "acme", "acme_driver", "acme = acme_driver:Stranger")
    (tmp_path / "acme_driver.py").write_text(broken)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "acme_driver", raising=False)
    with pytest.raises(SettingsError, match=r"^\[driver.meter\] .*(RuntimeError: half|ZeroDivisionError|TypeError)"):
        build_driver("acme", {}, CONTEXT)


def test_two_packages_of_one_kind_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "acme", "acme_driver", "acme = acme_driver:Stranger")
    install(tmp_path, "ajax", "ajax_driver", "acme = ajax_driver:Stranger")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SettingsError, match=r"'acme' is offered by acme, ajax; uninstall all but one"):
        find_factory("acme", "x")


def test_an_unknown_kind_is_told_with_those_there_are() -> None:
    with pytest.raises(SettingsError, match=r"\[driver.meter\] kind 'lora' is not installed; there are gpio, i2c"):
        build_driver("lora", {}, CONTEXT)


def test_wrong_options_name_the_table_and_the_key() -> None:
    with pytest.raises(SettingsError, match=r"^\[driver.meter.channel.level\] swing is missing"):
        build_driver("simulated", {"channel": {"level": {"shape": "sine", "unit": "dB", "mean": 50}}}, CONTEXT)
