"""The register as one object: every change is one transaction that raises the revision, every read one snapshot.

Synchronous and safe to use from several threads; call it in a thread from async code. Several processes may open
the same file. Holds no cache: whoever keeps a `Directory` compares `revision()`.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sqlalchemy import Connection, Engine, select

from lichtmast.registry import catalogue, changes, devices, reading, schema, tenants
from lichtmast.registry.alerts import AlertBook
from lichtmast.registry.auditing import LOCAL_COMMAND, SYSTEM, Action, Actor, AuditLog, Event, append, append_all
from lichtmast.registry.catalogue import CatalogueEntry
from lichtmast.registry.database import bump, open_engine, revision_of, writing, writing_on
from lichtmast.registry.devices import NewDevice
from lichtmast.registry.directory import Directory, read_directory
from lichtmast.registry.errors import UnknownRecordError
from lichtmast.registry.identity import life_cycle
from lichtmast.registry.identity.book import IdentityBook
from lichtmast.registry.importing.report import ImportReport, ProblemLog
from lichtmast.registry.importing.source import AssetSource, Progress
from lichtmast.registry.importing.staging import ImportOrder, discard, merge, stage
from lichtmast.registry.notifying import NotificationBook
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
from lichtmast.registry.validation import ValidationBook
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.profile import Profile, load_profiles


class Registry:
    """Tenants, assets, devices, deployments and datastreams in one SQLite file. Use `Registry.open`."""

    def __init__(self, engine: Engine, profiles: Mapping[str, Profile]) -> None:
        self._engine = engine
        self._profiles = profiles
        self.identity: Final = IdentityBook(engine, profiles)
        self.audit_log: Final = AuditLog(engine)
        self.alerts: Final = AlertBook(engine)
        self.notifying: Final = NotificationBook(engine)
        self.validation: Final = ValidationBook(engine, profiles)

    @classmethod
    def open(cls, path: Path, *, profiles: Mapping[str, Profile] | None = None) -> Self:
        """Open or make the register, migrate it, and enter the profiles (this version's own where None).

        Raises RegistryUnavailableError.
        """
        known = load_profiles() if profiles is None else profiles
        engine = open_engine(path)
        try:
            with engine.connect() as connection:
                current = catalogue.is_current(connection, known)
            if not current:
                with writing(engine) as connection:
                    catalogue.synchronise(connection, known)
                    versions = {key: profile.version for key, profile in known.items()}
                    append(
                        connection,
                        Event(Action.CATALOGUE_UPDATED, "catalogue", "profiles", SYSTEM, _now_us(), after=versions),
                    )
                    bump(connection)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, known)

    def close(self) -> None:
        """Close the file. What was committed is durable without it."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Changes.

    def ensure_tenant(
        self, code: str, name: str | None = None, *, by: Actor = LOCAL_COMMAND, at_us: int | None = None
    ) -> TenantRecord:
        """Add the tenant where it is missing; a name that is given replaces the one there. Raises ValueError."""
        tenants.require_code(code)
        moment_us = _now_us() if at_us is None else at_us
        with writing(self._engine) as connection:
            tenant, is_change = tenants.ensure(connection, code, name, by, moment_us)
            if is_change:
                bump(connection)
        return tenant

    def register_device(
        self,
        device: DeviceId,
        profile_key: str,
        *,
        asset_id: int | None = None,
        at_us: int,
        status: DeviceStatus = DeviceStatus.REGISTERED,
        by: Actor = LOCAL_COMMAND,
    ) -> RegisteredDevice:
        """Register one device; the same one again changes nothing. Raises UnknownRecordError or ConflictError."""
        return self.register_devices([NewDevice(device, profile_key, asset_id, status)], at_us=at_us, by=by)[0]

    def register_devices(
        self, wanted: Sequence[NewDevice], *, at_us: int, by: Actor = LOCAL_COMMAND
    ) -> list[RegisteredDevice]:
        """Register all of them or none, in one transaction; the answers are in the order asked."""
        if not wanted:
            return []
        with writing(self._engine) as connection:
            answers, changed = devices.register(connection, self._catalogue(connection), wanted, at_us)
            if changed:
                append_all(connection, changes.registered(wanted, answers, by, at_us))
                bump(connection)
        return answers

    def replace_device(
        self,
        old: DeviceId,
        new: DeviceId,
        *,
        at_us: int,
        profile_key: str | None = None,
        status: DeviceStatus = DeviceStatus.ACTIVE,
        by: Actor = LOCAL_COMMAND,
    ) -> RegisteredDevice:
        """Retire `old` and hang `new` (new or in stock) in its place; the asset's series go on.

        The profile is the old device's where None. Raises UnknownRecordError or ConflictError.
        """
        with writing(self._engine) as connection:
            known = self._catalogue(connection)
            stored = devices.find_device(connection, old)
            if profile_key is None:
                profile_key = self._profile_of(connection, stored.sensor_id)
            wanted = NewDevice(new, profile_key, None, status)
            answer = life_cycle.replace(connection, known, stored, wanted, by=by, at_us=at_us)
            bump(connection)
        return answer

    def deploy_device(
        self, device: DeviceId, asset_id: int | None, *, at_us: int, by: Actor = LOCAL_COMMAND
    ) -> RegisteredDevice:
        """Hang a device on another asset, or on none. Raises UnknownRecordError or ConflictError."""
        with writing(self._engine) as connection:
            known = self._catalogue(connection)
            stored = devices.find_device(connection, device)
            if life_cycle.move(connection, known, stored, asset_id, by=by, at_us=at_us):
                bump(connection)
            return devices.describe(connection, known, [device], set())[0]

    def set_device_status(
        self, device: DeviceId, status: DeviceStatus, *, at_us: int, by: Actor = LOCAL_COMMAND
    ) -> None:
        """Change the status; retired is final and takes the device off its asset.

        Raises UnknownRecordError or ConflictError.
        """
        with writing(self._engine) as connection:
            stored = devices.find_device(connection, device)
            if life_cycle.change_status(connection, stored, status, by=by, at_us=at_us):
                bump(connection)

    def import_assets(
        self,
        tenant: str,
        source: AssetSource,
        *,
        dry_run: bool,
        progress: Progress | None = None,
        at_us: int | None = None,
        by: Actor = LOCAL_COMMAND,
    ) -> ImportReport:
        """Bring the lampposts of a file in: all of them, or none where one row is wrong. A dry run reports the same.

        `progress` hears the bytes read and the bytes of the file. `at_us` is the moment to note, now where None.
        Raises UnknownRecordError, SourceUnreadableError.
        """
        started_at_us = _now_us() if at_us is None else at_us
        problems = ProblemLog()
        with self._engine.connect() as connection:
            with connection.begin():
                t = schema.tenant.c
                tenant_id = connection.execute(select(t.id).where(t.code == tenant)).scalar_one_or_none()
                if tenant_id is None:
                    raise UnknownRecordError(f"tenant {tenant[:60]!r} is not in the register; add it first")
                records = stage(connection, source, problems, progress or (lambda _done, _total: None))
            order = ImportOrder(tenant, tenant_id, source, dry_run, started_at_us)
            try:
                # A dry run only reads the register, so it takes no write lock.
                with connection.begin() if dry_run else writing_on(connection):
                    report = merge(connection, order, problems, records)
                    if report.committed and report.added + report.updated:
                        append(connection, changes.imported(order, report, by))
                    return report
            finally:
                discard(connection)

    # The pipeline's view.

    def revision(self) -> int:
        """The number of changes so far; cheap enough to ask every second."""
        with self._engine.connect() as connection:
            return revision_of(connection)

    def directory(self) -> Directory:
        """Every device with its status and series, as of one revision."""
        with self._engine.connect() as connection:
            return read_directory(connection, self._profiles)

    # Reads for people and SensorThings.

    def tenants(self) -> list[TenantRecord]:
        """All tenants, by code."""
        with self._engine.connect() as connection:
            return reading.tenants(connection)

    def things(
        self,
        tenant: str | None = None,
        *,
        after_id: int = 0,
        limit: int = 100,
        offset: int = 0,
        active_only: bool = True,
        search: str | None = None,
        descending: bool = False,
    ) -> list[AssetRecord]:
        """A page of assets by id; `search` looks in names and source ids. Raises ValueError for an impossible page."""
        with self._engine.connect() as connection:
            return reading.things(
                connection,
                tenant,
                after_id=after_id,
                limit=limit,
                offset=offset,
                active_only=active_only,
                search=search,
                descending=descending,
            )

    def count_things(self, tenant: str | None = None, *, active_only: bool = True, search: str | None = None) -> int:
        """How many assets `things` would go through."""
        with self._engine.connect() as connection:
            return reading.count_things(connection, tenant, active_only=active_only, search=search)

    def thing(self, thing_id: int) -> AssetRecord | None:
        """One asset, ended ones too."""
        with self._engine.connect() as connection:
            return reading.thing(connection, thing_id)

    def thing_by_source_id(self, tenant: str, source_id: str) -> AssetRecord | None:
        """The asset that a source knows by this id."""
        with self._engine.connect() as connection:
            return reading.thing_by_source_id(connection, tenant, source_id)

    def versions_of(self, thing_id: int) -> list[AssetVersionRecord]:
        """The source's records about an asset, oldest first: register history, not movement."""
        with self._engine.connect() as connection:
            return reading.versions_of(connection, thing_id)

    def deployments_of(self, thing_id: int) -> list[DeploymentRecord]:
        """Which devices hung on an asset, oldest first."""
        with self._engine.connect() as connection:
            return reading.deployments_of(connection, thing_id)

    def devices(self, tenant: str | None = None, *, after_id: int = 0, limit: int = 100) -> list[DeviceRecord]:
        """A page of devices by id."""
        with self._engine.connect() as connection:
            return reading.devices(connection, tenant, after_id=after_id, limit=limit)

    def device(self, device: DeviceId) -> DeviceRecord | None:
        """One device."""
        with self._engine.connect() as connection:
            return reading.device(connection, device)

    def datastreams(
        self,
        *,
        after_id: int = 0,
        limit: int = 100,
        offset: int = 0,
        on_assets_only: bool = True,
        descending: bool = False,
    ) -> list[DatastreamRecord]:
        """A page of series by id; those of devices without an asset only where `on_assets_only` is False."""
        with self._engine.connect() as connection:
            return reading.datastreams(
                connection,
                after_id=after_id,
                limit=limit,
                offset=offset,
                on_assets_only=on_assets_only,
                descending=descending,
            )

    def datastream(self, datastream_id: int) -> DatastreamRecord | None:
        """One series, whoever owns it."""
        with self._engine.connect() as connection:
            return reading.datastream(connection, datastream_id)

    def datastreams_of(self, thing_id: int) -> list[DatastreamRecord]:
        """The series of one asset."""
        return self.datastreams_of_many([thing_id])[thing_id]

    def datastreams_of_many(self, thing_ids: Sequence[int]) -> Mapping[int, list[DatastreamRecord]]:
        """The series of many assets; every asked id is a key."""
        with self._engine.connect() as connection:
            return reading.datastreams_of(connection, thing_ids)

    def datastreams_where(
        self,
        *,
        sensor_id: int | None = None,
        observed_property_id: int | None = None,
        after_id: int = 0,
        limit: int = 100,
    ) -> list[DatastreamRecord]:
        """A page of the series on assets of a sensor, of an observed property, or of both."""
        with self._engine.connect() as connection:
            return reading.datastreams_where(
                connection,
                sensor_id=sensor_id,
                observed_property_id=observed_property_id,
                after_id=after_id,
                limit=limit,
            )

    def sensors(self) -> list[SensorRecord]:
        """All device models, by id."""
        with self._engine.connect() as connection:
            return reading.sensors(connection)

    def sensor(self, sensor_id: int) -> SensorRecord | None:
        """One device model."""
        return next((one for one in self.sensors() if one.id == sensor_id), None)

    def observed_properties(self) -> list[ObservedPropertyRecord]:
        """All quantities, by id."""
        with self._engine.connect() as connection:
            return reading.observed_properties(connection)

    def observed_property(self, observed_property_id: int) -> ObservedPropertyRecord | None:
        """One quantity."""
        return next((one for one in self.observed_properties() if one.id == observed_property_id), None)

    def import_runs(self, tenant: str | None = None, *, limit: int = 100) -> list[ImportRunRecord]:
        """Committed imports that changed something, newest first."""
        with self._engine.connect() as connection:
            return reading.import_runs(connection, tenant, limit=limit)

    def counts(self) -> Counts:
        """How much the register holds."""
        with self._engine.connect() as connection:
            return reading.counts(connection)

    def _catalogue(self, connection: Connection) -> dict[str, CatalogueEntry]:
        return catalogue.read_catalogue(connection, self._profiles)

    def _profile_of(self, connection: Connection, sensor_id: int) -> str:
        s = schema.sensor.c
        return str(connection.execute(select(s.profile).where(s.id == sensor_id)).scalar_one())


def _now_us() -> int:
    return time.time_ns() // 1_000
