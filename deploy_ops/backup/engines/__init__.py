"""The engines, found by the vendor of the alias and imported only when used."""

from django.db import connections
from django.utils.module_loading import import_string

from deploy_ops.backup.engines.base import Engine
from deploy_ops.errors import ConfigurationError

ENGINES = {
    "postgresql": "deploy_ops.backup.engines.postgresql.PostgresqlEngine",
    "sqlite": "deploy_ops.backup.engines.sqlite.SqliteEngine",
}


def engine_for(alias: str) -> Engine:
    """Return the engine of a database alias; raises ConfigurationError for other vendors."""
    vendor = connections[alias].vendor
    if vendor not in ENGINES:
        raise ConfigurationError(
            f"Database '{alias}' is {vendor}; deploy_ops knows {' and '.join(ENGINES)}. "
            "Nothing was changed."
        )
    engine: Engine = import_string(ENGINES[vendor])(alias)
    return engine
