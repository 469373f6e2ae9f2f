"""The engines, found by the vendor of the alias and imported only when used."""

from deploy_ops.backup.engines.base import Engine
from deploy_ops.vendors import make_for

ENGINES = {
    "postgresql": "deploy_ops.backup.engines.postgresql.PostgresqlEngine",
    "sqlite": "deploy_ops.backup.engines.sqlite.SqliteEngine",
}


def engine_for(alias: str) -> Engine:
    """Return the engine of a database alias; raises ConfigurationError for other vendors."""
    engine: Engine = make_for(alias, ENGINES)
    return engine
