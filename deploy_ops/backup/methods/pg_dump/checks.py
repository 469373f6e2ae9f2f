"""What would make a dump or a restore fail, looked for before anything is touched."""

from collections.abc import Iterator

import psycopg
from psycopg import sql

from deploy_ops.advice import manage
from deploy_ops.backup.manifest import Manifest
from deploy_ops.backup.methods.pg_dump import drops, locks, privileges
from deploy_ops.backup.methods.pg_dump.load import is_same_cluster, wanted_properties
from deploy_ops.conf import conf
from deploy_ops.databases.postgresql import names, properties, same
from deploy_ops.databases.postgresql.disk import free_bytes
from deploy_ops.databases.postgresql.programs import find_program
from deploy_ops.databases.postgresql.server import Connection, Server, scalar
from deploy_ops.errors import ProgramError

SPACE = 1.2  # indexes are built in temporary files before they are written


def check_backup(alias: str, server: Server, connection: Connection) -> list[str]:
    """Look for what would make `dump` fail; a sentence each, with its remedy."""
    return [
        *_programs(server, connection, "pg_dump", "pg_restore", "psql"),
        *same.differing_django(alias, server, connection),
        *privileges.missing_to_read(connection),
        *locks.too_few_to_dump(connection),
    ]


def _programs(server: Server, connection: Connection, *programs: str) -> list[str]:
    """Whether the programs are there, and reach what the connection has reached."""
    return [*_missing(connection, *programs)] or [*same.differing_programs(server, connection)]


def _missing(connection: Connection, *programs: str) -> Iterator[str]:
    for name in programs:
        try:
            find_program(name, connection.info.server_version // 10000)
        except ProgramError as error:
            yield str(error)


def check_restore(alias: str, server: Server, manifest: Manifest, *, into: str | None) -> list[str]:
    """Look for what would make the restore beside and the swap fail."""
    if manifest.database.engine != "postgresql":
        return [f"The backup is of {manifest.database.engine}, and the database is PostgreSQL."]
    with server.maintenance(application_name="deploy_ops/preflight") as connection:
        problems = [*_versions(connection, manifest), *_creating(alias, connection, manifest)]
        problems += _programs(server, connection, "pg_restore", "psql")
        problems += _meant(alias, server, connection)
        problems += [*_surroundings(connection, manifest), *_disk(connection, manifest)]
        if into is not None:
            if names.exists(connection, into):
                problems.append(f"Database {into} exists already. Choose another name for --into.")
            return problems + [*_properties(connection, server, manifest)]
        return problems + _swapping(alias, connection, server, manifest)


def check_in_place(alias: str, server: Server, manifest: Manifest) -> list[str]:
    """Look for what would make the restore in place fail."""
    with server.maintenance(application_name="deploy_ops/preflight") as connection:
        problems = [*_versions(connection, manifest)]
        problems += _programs(server, connection, "pg_restore", "psql")
        problems += _meant(alias, server, connection)
        problems += _surroundings(connection, manifest)
        problems += _same_database(alias, connection, server, manifest)
        problems += _owned(connection, server.dbname)
        problems += _subscriptions(connection, server.dbname)
    with server.connect(application_name="deploy_ops/preflight") as live:
        problems += locks.too_few_in_place(live, manifest)
        problems += [
            f"{what}, so this role may not drop it. Restore as one that may: give it in "
            "DEPLOY_OPS_DATABASE_URL."
            for what in drops.not_droppable(live)
        ]
    return problems


def _meant(alias: str, server: Server, connection: Connection) -> list[str]:
    """Whether Django's database is the live one here, or at least in this cluster."""
    if not names.exists(connection, server.dbname):
        return [*same.differing_cluster(alias, server, connection)]
    with server.connect(application_name="deploy_ops/preflight") as live:
        return [*same.differing_django(alias, server, live)]


def _versions(connection: Connection, manifest: Manifest) -> Iterator[str]:
    source, target = manifest.database.server_version, connection.info.server_version
    if target // 10000 < source // 10000:
        yield (
            f"The backup is of PostgreSQL {source // 10000}, the server is {target // 10000}, and "
            "PostgreSQL does not restore to an older major version."
        )
        return
    dumped_by = int(manifest.versions["pg_dump"].split(".")[0])
    if dumped_by > target // 10000:
        yield (
            f"The backup was written by pg_dump {dumped_by}, which pg_restore {target // 10000} of "
            "the server's version cannot read."
        )


def _creating(alias: str, connection: Connection, manifest: Manifest) -> Iterator[str]:
    query = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
    if not scalar(connection, query):
        role = scalar(connection, "SELECT current_user")
        yield (
            f"Role {role} may not create databases, so none can be restored beside the live one. "
            f"As a superuser, run:\n    ALTER ROLE {_quoted(connection, role)} CREATEDB;\n"
            "or, locking everybody out for as long as it takes, replace the contents in one "
            f"transaction:\n{manage('restore', manifest.id, '--in-place', alias=alias)}"
        )


def _surroundings(connection: Connection, manifest: Manifest) -> Iterator[str]:
    extra = manifest.extra
    is_super = scalar(connection, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    for name, version in extra["extensions"].items():
        yield from _extension(connection, name, version, bool(is_super))
    if not is_same_cluster(connection, manifest):
        return
    rows = connection.execute("SELECT rolname, pg_has_role(oid, 'MEMBER') FROM pg_roles").fetchall()
    roles: dict[str, bool] = dict(rows)
    if gone := [name for name in extra["roles"] if name not in roles]:
        yield (
            f"Roles in the backup that no longer exist: {', '.join(gone)}. Run:"
            + "".join(f"\n    CREATE ROLE {_quoted(connection, name)};" for name in gone)
        )
    foreign = [name for name in extra["owners"] if name in roles and not roles[name]]
    if foreign:
        yield (
            f"Objects in the backup belong to {', '.join(foreign)}, and this role is no member of "
            "it, so it cannot give them back. As a superuser, run:"
            + "".join(
                f"\n    GRANT {_quoted(connection, name)} TO {_current_role(connection)};"
                for name in foreign
            )
        )


def _quoted(connection: Connection, name: str) -> str:
    return sql.Identifier(name).as_string(connection)


def _current_role(connection: Connection) -> str:
    return _quoted(connection, scalar(connection, "SELECT current_user"))


def _extension(connection: Connection, name: str, version: str, is_super: bool) -> Iterator[str]:
    rows = connection.execute(
        "SELECT bool_or(trusted OR NOT superuser) FROM pg_available_extension_versions"
        " WHERE name = %s GROUP BY name",
        [name],
    ).fetchall()
    if not rows:
        yield (
            f"Extension {name} {version} is in the backup and is not installed on the server. "
            "Install its package there."
        )
    elif not is_super and not rows[0][0]:
        yield (
            f"Extension {name} can only be created by a superuser. Restore as one: give it in "
            "DEPLOY_OPS_DATABASE_URL for this command."
        )


def _disk(connection: Connection, manifest: Manifest) -> Iterator[str]:
    free = free_bytes(connection)
    needed = int(manifest.database.size_bytes * SPACE)
    if free is not None and free < needed:
        yield (
            f"The restored database needs about {needed / 1e6:.0f} MB beside the live one, and "
            f"the server's disk has {free / 1e6:.0f} MB free."
        )


def _swapping(alias: str, connection: Connection, server: Server, manifest: Manifest) -> list[str]:
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
        *_same_database(alias, connection, server, manifest),
        *_owned(connection, live),
        *_held(connection, live),
        *_sessions(connection, live),
        *_properties(connection, server, manifest),
        *_subscriptions(connection, live),
    ]


def _same_database(
    alias: str, connection: Connection, server: Server, manifest: Manifest
) -> Iterator[str]:
    source = manifest.database
    if source.name == server.live_name and is_same_cluster(connection, manifest):
        return
    where = "another server" if source.name == server.live_name else f"database {source.name}"
    yield (
        f"The backup is of {where} ({source.name} on {source.host}), not of this "
        f"{server.live_name}. Restore it into a database of another name:\n"
        + manage("restore", manifest.id, "--into", "NAME", alias=alias)
    )


def _owned(connection: Connection, live: str) -> Iterator[str]:
    query = "SELECT pg_has_role(datdba, 'MEMBER') FROM pg_database WHERE datname = %s"
    if scalar(connection, query, [live]) is False:
        yield f"This role does not own {live}, so it cannot rename or replace it."


def _held(connection: Connection, live: str) -> Iterator[str]:
    query = "SELECT gid FROM pg_prepared_xacts WHERE database = %s ORDER BY prepared"
    for (gid,) in connection.execute(query, [live]).fetchall():
        yield (
            f"Prepared transaction {gid} in {live} blocks renaming. End it: "
            f"COMMIT PREPARED '{gid}' or ROLLBACK PREPARED '{gid}'"
        )
    query = "SELECT slot_name FROM pg_replication_slots WHERE database = %s ORDER BY 1"
    for (slot,) in connection.execute(query, [live]).fetchall():
        yield (
            f"Replication slot {slot} belongs to {live} and would stay with the old database. "
            f"Drop it: SELECT pg_drop_replication_slot('{slot}')"
        )


def _sessions(connection: Connection, live: str) -> Iterator[str]:
    query = """
        SELECT DISTINCT usename FROM pg_stat_activity AS activity
        WHERE datname = %s AND usesysid IS NOT NULL AND NOT (
            SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
        AND (coalesce((SELECT rolsuper FROM pg_roles WHERE oid = usesysid), false)
             OR NOT (pg_has_role(usesysid, 'MEMBER') OR pg_has_role('pg_signal_backend', 'MEMBER')))
    """
    for (role,) in connection.execute(query, [live]).fetchall():
        yield (
            f"A session of role {role} is connected to {live}, and this role may not end it. "
            "Close it, or (only a superuser ends a superuser's session), as a superuser, run:\n"
            f"    GRANT pg_signal_backend TO {_current_role(connection)};"
        )


def _properties(connection: Connection, server: Server, manifest: Manifest) -> Iterator[str]:
    """Try on the live database itself, in a transaction that is rolled back."""
    if not names.exists(connection, server.dbname):
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
                    + " Restore as one that may: give it in DEPLOY_OPS_DATABASE_URL."
                )


def _subscriptions(connection: Connection, live: str) -> Iterator[str]:
    # Some columns are for superusers only, these are not.
    query = """
        SELECT subname FROM pg_subscription
        WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = %s)
    """
    for (name,) in connection.execute(query, [live]).fetchall():
        yield (
            f"Subscription {name} feeds {live} and would go on feeding the old database. "
            f"Drop it first, in {live}:\n    DROP SUBSCRIPTION {_quoted(connection, name)};"
        )
