"""The simulated town of `lichtmast up --town` and `lichtmast demo`: lampposts, and devices on them, in the register."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lichtmast.firmware_sim import DeviceSpec, hang_devices
from lichtmast.registry import DeviceStatus, NewDevice, Registry, import_source
from lichtmast.registry.lookalike import write_bgt
from lichtmast.registry.records import AssetRecord
from lichtmast.suite.clock import now_us
from lichtmast.suite.errors import SuiteError
from lichtmast.suite.settings import TOWN_SEED

TENANT: Final = "gm0402"
TENANT_NAME: Final = "Hilversum"
_REAL: Final = Path("shared/data/hilversum_bgt/bgt_paal.gml")
THINGS_PAGE: Final = 1_000


def furnish(registry: Registry, folder: Path) -> str:
    """Bring lampposts into an empty register: Hilversum's where its file lies beside the project, else invented ones.

    Returns where they come from, in words; a register with lampposts is left as it is.
    """
    registry.ensure_tenant(TENANT, TENANT_NAME)
    if registry.count_things(TENANT):
        return "the register"
    source = next((base / _REAL for base in (Path.cwd().parent, Path.cwd()) if (base / _REAL).exists()), None)
    if source is None:
        source = folder / "lookalike.gml"
        write_bgt(source, seed=TOWN_SEED)
        told = "an invented neighbourhood"
    else:
        told = "Hilversum (BGT)"
    report = registry.import_assets(TENANT, import_source("bgt", source, tenant=TENANT), dry_run=False, progress=None)
    if not report.sound:
        raise SuiteError(f"{source} cannot be imported; try: lichtmast import bgt {source} --tenant {TENANT} --dry-run")
    return told


def settle(registry: Registry, count: int | None) -> list[DeviceSpec]:
    """Hang `count` devices on the lampposts and register them; by default one lamp on each and a third more sensors."""
    assets = _assets(registry)
    by_key = {asset.source_id: asset.id for asset in assets}
    places = [(asset.source_id, asset.longitude, asset.latitude) for asset in assets]
    specs = hang_devices(places, tenant=TENANT, count=count or len(assets) + len(assets) // 3, seed=TOWN_SEED)
    registry.register_devices(
        [NewDevice(spec.device, spec.profile, by_key[spec.asset], DeviceStatus.ACTIVE) for spec in specs],
        at_us=now_us(),
    )
    return specs


def _assets(registry: Registry) -> Sequence[AssetRecord]:
    """All lampposts that stand."""
    assets: list[AssetRecord] = []
    while page := registry.things(TENANT, after_id=assets[-1].id if assets else 0, limit=THINGS_PAGE, active_only=True):
        assets += page
    return assets
