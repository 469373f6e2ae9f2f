"""The ways of saving a database, imported when used."""

from deploy_ops.backup.methods.base import Method, Snapshot, Unchanged
from deploy_ops.databases import database_for

__all__ = ["Method", "Snapshot", "Unchanged", "method_for"]


def method_for(alias: str) -> Method:
    """Return the way of saving the database of an alias; raises ConfigurationError."""
    if database_for(alias).vendor == "sqlite":
        from deploy_ops.backup.methods.sqlite import SqliteCopy

        return SqliteCopy(alias)
    from deploy_ops.backup.methods.pg_dump import PgDump

    return PgDump(alias)
