"""What would keep the live database from being replaced: by a swap, or in place."""

from collections.abc import Iterator

import psycopg
from psycopg import sql

from deploy_ops.advice import manage
from deploy_ops.backup.manifest import Manifest
from deploy_ops.backup.methods.pg_dump.load import is_same_cluster, wanted_properties
from deploy_ops.conf import conf
from deploy_ops.databases.postgresql import names, properties
from deploy_ops.databases.postgresql.server import (
    Connection,
    Server,
    quoted,
    quoted_role,
    scalar,
)
from deploy_ops.databases.postgresql.surroundings import giving


def check_swap(alias: str, connection: Connection, server: Server, manifest: Manifest) -> list[str]:
    """All that stands in the way of a swap."""
    live = server.dbname
    if live == conf.maintenance_database:
        return [
            f"{live} is also the maintenance database, and a database cannot be renamed from "
            "within. Name another: DEPLOY_OPS_MAINTENANCE_DATABASE."
        ]
    if not names.exists(connection, live):
        return [
            f"There is no live database {live} to replace. Restore it under that name:\n"
            + manage("restore", manifest.id, "--into", live, alias=alias)
        ]
    return [
        *same_database(alias, connection, server, manifest),
        *check_rename(connection, live),
        *carried_over(connection, server, manifest),
    ]


def check_rename(connection: Connection, live: str) -> list[str]:
    """What keeps the live database from getting another name, or would follow it there."""
    return [
        *owned(connection, live),
        *_held(connection, live),
        *_sessions(connection, live),
        *subscriptions(connection, live),
    ]


def same_database(
    alias: str, connection: Connection, server: Server, manifest: Manifest
) -> Iterator[str]:
    """Whether the backup is of the live database."""
    source = manifest.database
    if source.name == server.live_name and is_same_cluster(connection, manifest):
        return
    where = "another server" if source.name == server.live_name else f"database {source.name}"
    yield (
        f"The backup is of {where} ({source.name} on {source.host}), not of this "
        f"{server.live_name}. Restore it into a database of another name:\n"
        + manage("restore", manifest.id, "--into", "NAME", alias=alias)
    )


def owned(connection: Connection, live: str) -> Iterator[str]:
    """Whether the live database belongs to this role."""
    query = """
        SELECT pg_get_userbyid(datdba) FROM pg_database
        WHERE datname = %s AND NOT (pg_has_role(datdba, 'USAGE') AND pg_has_role(datdba, %s))
    """
    if owner := scalar(connection, query, [live, giving(connection)]):
        yield (
            f"{live} belongs to {owner}, and this role does not have its rights (INHERIT and, "
            "since PostgreSQL 16, SET), so it cannot rename or replace it. Restore as a role that "
            "has: give it in DEPLOY_OPS_DIRECT_DATABASE_URL."
        )


def _held(connection: Connection, live: str) -> Iterator[str]:
    query = "SELECT gid FROM pg_prepared_xacts WHERE database = %s ORDER BY prepared"
    for (gid,) in connection.execute(query, [live]).fetchall():
        name = sql.Literal(gid).as_string(connection)
        yield (
            f"Prepared transaction {gid} in {live} blocks renaming. End it in psql, by one of:\n"
            f"    COMMIT PREPARED {name};\n    ROLLBACK PREPARED {name};"
        )
    query = "SELECT slot_name FROM pg_replication_slots WHERE database = %s ORDER BY 1"
    for (slot,) in connection.execute(query, [live]).fetchall():
        yield (
            f"Replication slot {slot} belongs to {live} and would stay with the old database. "
            f"Drop it: SELECT pg_drop_replication_slot('{slot}')"
        )


def _sessions(connection: Connection, live: str) -> Iterator[str]:
    """Sessions that cannot be ended; those of superusers are waited for (sessions.py)."""
    query = """
        SELECT DISTINCT usename FROM pg_stat_activity
        WHERE datname = %s AND usesysid IS NOT NULL AND NOT pg_has_role(usesysid, 'USAGE')
          AND NOT pg_has_role('pg_signal_backend', 'USAGE')
          AND NOT (SELECT rolsuper FROM pg_roles WHERE pg_roles.oid = usesysid)
    """
    for (role,) in connection.execute(query, [live]).fetchall():
        yield (
            f"A session of role {role} is connected to {live}, and this role may not end it. "
            "Close it, or as the server's administrator, run:\n"
            f"    GRANT pg_signal_backend TO {quoted_role(connection)};"
        )


def carried_over(connection: Connection, server: Server, manifest: Manifest) -> Iterator[str]:
    """Try on the live database itself, in a transaction that is rolled back.

    What comes from another cluster goes without what may not be set here (load.py).
    """
    if not (names.exists(connection, server.dbname) and is_same_cluster(connection, manifest)):
        return
    wanted = wanted_properties(connection, server, manifest)
    with connection.transaction(force_rollback=True):
        for statement in properties.carry_over_statements(server.dbname, wanted):
            try:
                with connection.transaction():
                    connection.execute(statement)
            except psycopg.DatabaseError as error:
                yield (
                    f"A property of {server.dbname} cannot be carried over by this role: "
                    f"{statement.as_string(connection)}: {error}".rstrip()
                    + " Restore as one that may: give it in DEPLOY_OPS_DIRECT_DATABASE_URL."
                )


def subscriptions(connection: Connection, live: str) -> Iterator[str]:
    """Whether a subscription feeds the live database."""
    # Some columns are for superusers only, these are not.
    query = """
        SELECT subname FROM pg_subscription
        WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = %s)
    """
    for (name,) in connection.execute(query, [live]).fetchall():
        yield (
            f"Subscription {name} feeds {live} and would go on feeding the old database. "
            f"Drop it first, in {live}:\n    DROP SUBSCRIPTION {quoted(connection, name)};"
        )
