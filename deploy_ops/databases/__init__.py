"""What differs by kind of database; the only package that asks which kind it is.

Each kind is imported when used: psycopg need not be installed where SQLite alone is used.
"""

from django.db import connections

from deploy_ops.databases.base import Database
from deploy_ops.databases.driver import require_psycopg
from deploy_ops.errors import ConfigurationError

__all__ = ["Database", "database_for"]


def database_for(alias: str) -> Database:
    """Return the database of an alias.

    Raises ConfigurationError for a kind that is not known, VersionRefused for an old psycopg.
    """
    vendor = connections[alias].vendor
    if vendor == "postgresql":
        require_psycopg()
        from deploy_ops.databases.postgresql import PostgresqlDatabase

        return PostgresqlDatabase(alias)
    if vendor == "sqlite":
        from deploy_ops.databases.sqlite import SqliteDatabase

        return SqliteDatabase(alias)
    raise ConfigurationError(
        f"Database '{alias}' is {vendor}; deploy_ops knows postgresql and sqlite. "
        "Nothing was changed."
    )
