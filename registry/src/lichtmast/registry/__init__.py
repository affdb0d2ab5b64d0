"""The register of tenants, assets, devices, deployments and datastreams.

`Registry.open(path)` is the way in. Reads return the frozen values of `lichtmast.registry.records`;
`Registry.directory()` is the ingest pipeline's compact view; `import_source` and `Registry.import_assets` bring
lampposts in.
"""

from lichtmast.registry.devices import NewDevice
from lichtmast.registry.directory import DeviceEntry, Directory
from lichtmast.registry.errors import (
    ConflictError,
    RegistryBusyError,
    RegistryError,
    RegistryUnavailableError,
    SourceUnreadableError,
    UnknownRecordError,
)
from lichtmast.registry.importing import (
    SOURCE_KINDS,
    AssetSource,
    ImportReport,
    Problem,
    Reason,
    Severity,
    import_source,
)
from lichtmast.registry.records import (
    AssetRecord,
    AssetVersionRecord,
    Counts,
    DatastreamRecord,
    DeploymentRecord,
    DeviceRecord,
    DeviceStatus,
    ImportRunRecord,
    ObservedPropertyRecord,
    RegisteredDevice,
    SensorRecord,
    TenantRecord,
)
from lichtmast.registry.register import Registry

__all__ = [
    "SOURCE_KINDS",
    "AssetRecord",
    "AssetSource",
    "AssetVersionRecord",
    "ConflictError",
    "Counts",
    "DatastreamRecord",
    "DeploymentRecord",
    "DeviceEntry",
    "DeviceRecord",
    "DeviceStatus",
    "Directory",
    "ImportReport",
    "ImportRunRecord",
    "NewDevice",
    "ObservedPropertyRecord",
    "Problem",
    "Reason",
    "RegisteredDevice",
    "Registry",
    "RegistryBusyError",
    "RegistryError",
    "RegistryUnavailableError",
    "SensorRecord",
    "Severity",
    "SourceUnreadableError",
    "TenantRecord",
    "UnknownRecordError",
    "import_source",
]
