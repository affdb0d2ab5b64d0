"""A register that the version before identities wrote is opened, keeps all that it held, and logs from then on."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from workshop import ENGINEER, NOW_US, Node, city

from lichtmast.registry import DeviceStatus, Registry
from lichtmast.registry.migrating import upgrade
from lichtmast.registry.pki import Authority
from lichtmast.wire import DeviceId

DEVICE = DeviceId("gm0402", "lamp-0001")

# What the first version wrote for one device on one lamppost.
ROWS = """
INSERT INTO tenant (id, code, name) VALUES (1, 'gm0402', 'Hilversum');
INSERT INTO asset VALUES (7, 1, 'csv', 'L1', 'lichtmast', 'Kerkstraat 1', 5.17, 52.22, 'EPSG:4326', '5,17', '52,22',
    NULL, NULL, '{}', zeroblob(16));
INSERT INTO sensor VALUES (1, 'weather', 1, 'Weather', 'w', 'application/json', '{}');
INSERT INTO device VALUES (3, 1, 'lamp-0001', 1, 1, 'active', 1000);
INSERT INTO device VALUES (4, 1, 'lamp-0002', 1, 1, 'retired', 1000);
INSERT INTO deployment VALUES (1, 7, 3, 1, 1, 1000, NULL);
UPDATE revision SET value = 41;
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "register.sqlite"
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        upgrade(connection, "0001")
    engine.dispose()
    with closing(sqlite3.connect(file)) as old, old:
        old.executescript(ROWS)
    return file


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return city(tmp_path / "authority")


@pytest.mark.slow
def test_what_it_held_is_there_and_the_log_begins(path: Path) -> None:
    with Registry.open(path) as registry:
        record = registry.device(DEVICE)
        assert record is not None
        assert (record.id, record.status, record.asset_id) == (3, DeviceStatus.ACTIVE, 7)
        assert [one.device.device for one in registry.devices("gm0402")] == ["lamp-0001", "lamp-0002"]
        assert registry.tenants()[0].name == "Hilversum"
        assert registry.revision() > 41
        assert registry.identity.claims() == []
        assert registry.audit_log.verify().is_whole
        assert [one.action for one in registry.audit_log.read()] == ["catalogue.updated"]


@pytest.mark.slow
def test_a_device_of_then_is_claimed_and_gets_its_first_certificate(path: Path, authority: Authority) -> None:
    node = Node("lamp-0001")
    with Registry.open(path) as registry:
        assert not registry.identity.admission(NOW_US).certificates
        registry.identity.stage(node.label(authority), "weather", at_us=NOW_US)
        registry.identity.open_claim(node.label(authority), asset_id=7, by=ENGINEER, at_us=NOW_US)
        got = registry.identity.enrol(node.csr(), authority, at_us=NOW_US)
        assert registry.identity.admission(NOW_US).admits(DEVICE, got.serial, NOW_US)
        assert [one.from_us for one in registry.deployments_of(7)] == [1000]
