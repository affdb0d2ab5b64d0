"""Runs the Alembic scripts of `migrations/`.

Apart from `database`, so that a register that is up to date never loads Alembic. Will not downgrade.
"""

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from lichtmast.registry.errors import RegistryUnavailableError


def upgrade(connection: Connection, target: str) -> None:
    """Bring the register to the target, in the connection's transaction. Raises RegistryUnavailableError."""
    config = _config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, target)
    except CommandError as error:
        raise RegistryUnavailableError(
            "the register was written by a newer version; install that version or restore an older copy"
        ) from error


def script_head() -> str | None:
    """The newest migration that lies in the package."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    """Alembic's configuration, without a file: the scripts lie in this package."""
    config = Config()
    config.set_main_option("script_location", "lichtmast.registry:migrations")
    config.set_main_option("path_separator", "os")
    return config
