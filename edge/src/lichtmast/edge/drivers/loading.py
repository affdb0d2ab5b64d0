"""Finding a driver by its kind: our own by a table, anyone else's by an entry point of the group.

Our own do not go through importlib.metadata, though they are declared there too: it costs the agent about 1 MB of its
35, a start that reads every installed distribution, and would let a stranger's package answer to `gpio`.

Will not import a driver that was not asked for.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Final, cast

from lichtmast.edge.drivers.port import GROUP, Driver, DriverContext, Factory
from lichtmast.edge.drivers.values import checked_channels, reason_of
from lichtmast.edge.errors import SettingsError

OURS: Final[Mapping[str, str]] = {
    "gpio": "lichtmast.edge.drivers.gpio:GpioDriver",
    "i2c": "lichtmast.edge.drivers.i2c:I2cDriver",
    "modbus": "lichtmast.edge.drivers.modbus:ModbusDriver",
    "simulated": "lichtmast.edge.drivers.simulated:SimulatedDriver",
    "sysfs": "lichtmast.edge.drivers.sysfs:SysfsDriver",
}
"""Equal to the entry points of this distribution; a test holds them together."""

PACKAGES: Final[Mapping[str, str]] = {
    "pymodbus": "pymodbus pyserial",
    "serial": "pymodbus pyserial",
    "smbus2": "smbus2",
}
"""What pip installs where a module is missing: our extras' packages by name, as no index has lichtmast-edge."""


def build_driver(kind: str, options: Mapping[str, object], context: DriverContext) -> Driver:
    """A new driver with channels that can be; nothing is opened yet. Raises SettingsError, which says what to mend."""
    factory = find_factory(kind, context.name)
    try:
        driver = factory(options, context)
        checked_channels(driver)
    except SettingsError:
        raise
    except Exception as error:  # a stranger's code may raise anything
        raise SettingsError(f"[driver.{context.name}] {reason_of(error)}") from error
    return driver


def find_factory(kind: str, name: str) -> Factory:
    """Import the driver of this kind. Raises SettingsError where there is none or where a package is missing."""
    target = OURS.get(kind)
    try:
        if target is None:
            return _strangers_factory(kind, name)
        module, _, attribute = target.partition(":")
        return cast("Factory", getattr(import_module(module), attribute))
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        packages = PACKAGES.get(missing)
        hint = f"pip install {packages}" if packages else f"install the package that brings {missing}"
        raise SettingsError(f"[driver.{name}] kind {kind!r} needs {missing}, which is not installed: {hint}") from error
    except (ImportError, AttributeError) as error:
        raise SettingsError(
            f"[driver.{name}] kind {kind!r} cannot be loaded: {error}; reinstall its package"
        ) from error


def _strangers_factory(kind: str, name: str) -> Factory:
    from importlib.metadata import entry_points  # noqa: PLC0415 - see the module's head

    found = entry_points(group=GROUP, name=kind)
    if not found:
        known = ", ".join(sorted({*OURS, *(one.name for one in entry_points(group=GROUP))}))
        raise SettingsError(f"[driver.{name}] kind {kind!r} is not installed; there are {known}")
    if len({one.value for one in found}) > 1:
        owners = ", ".join(sorted(one.dist.name for one in found if one.dist))
        raise SettingsError(f"[driver.{name}] kind {kind!r} is offered by {owners}; uninstall all but one")
    try:
        return cast("Factory", next(iter(found)).load())
    except ModuleNotFoundError:
        raise
    except Exception as error:  # a stranger's code may raise anything
        raise SettingsError(f"[driver.{name}] kind {kind!r} cannot be loaded: {reason_of(error)}") from error
