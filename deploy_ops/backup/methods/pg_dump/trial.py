"""What only some roles may create, tried in the new database before it is filled.

Who may create an extension or an event trigger only the server knows: providers of managed servers
let roles that are no superusers. Each is created in a transaction that is rolled back.
"""

from collections.abc import Iterator
from typing import LiteralString

import psycopg
from psycopg import sql

from deploy_ops.backup.manifest import Manifest
from deploy_ops.databases.postgresql.server import Connection
from deploy_ops.redact import error_text

_FUNCTION = "CREATE FUNCTION pg_temp.trial() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
# By the kinds of surroundings.SUPERUSER_ONLY.
TRIALS: dict[str, LiteralString] = {
    "event trigger": f"{_FUNCTION} CREATE EVENT TRIGGER deploy_ops_trial ON ddl_command_end"
    " EXECUTE FUNCTION pg_temp.trial()",
    "publication of all tables": "CREATE PUBLICATION deploy_ops_trial FOR ALL TABLES",
    "publication of a schema": "CREATE SCHEMA deploy_ops_trial;"
    " CREATE PUBLICATION deploy_ops_trial FOR TABLES IN SCHEMA deploy_ops_trial",
    "foreign-data wrapper": "CREATE FOREIGN DATA WRAPPER deploy_ops_trial",
    "operator family": "CREATE SCHEMA deploy_ops_trial;"
    " CREATE OPERATOR FAMILY deploy_ops_trial.trial USING btree",
    "leakproof function": "CREATE FUNCTION pg_temp.trial() RETURNS int"
    " LANGUAGE sql LEAKPROOF AS 'SELECT 1'",
    "function in an untrusted language": "CREATE FUNCTION pg_temp.trial(int, int) RETURNS int"
    " LANGUAGE internal AS 'int4pl'",
}


def refused(connection: Connection, manifest: Manifest) -> Iterator[str]:
    """Try in the connection's empty database; a sentence for each that this role may not create."""
    for name in manifest.extra["extensions"]:
        create = sql.SQL("CREATE EXTENSION {} CASCADE").format(sql.Identifier(name))
        if error := _error(connection, create):
            yield f"Extension {name} cannot be created: {error}"
    for kind, names in _by_kind(manifest).items():
        if error := _error(connection, sql.SQL(TRIALS[kind])):
            what = f"{kind} {', '.join(names)}"
            yield f"This role may not create what the backup has, {what}: {error}"


def other_versions(connection: Connection, manifest: Manifest) -> Iterator[str]:
    """Compare versions of extensions; pg_restore creates the one that is the server's default."""
    rows = connection.execute("SELECT name, default_version FROM pg_available_extensions")
    offered: dict[str, str] = dict(rows.fetchall())
    for name, version in manifest.extra["extensions"].items():
        if offered.get(name, version) != version:
            yield (
                f"Extension {name} was {version} in the saved database, and becomes "
                f"{offered[name]}, the version that this server installs."
            )


def _by_kind(manifest: Manifest) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for kind, name in manifest.extra.get("superuser_only", ()):
        found.setdefault(kind, []).append(name)
    return found


def _error(connection: Connection, statement: sql.SQL | sql.Composed) -> str | None:
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statement)
    except psycopg.OperationalError:
        raise
    except psycopg.DatabaseError as error:
        return error_text(error)
    return None
