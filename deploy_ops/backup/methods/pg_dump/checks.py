"""What would make a dump or a restore fail, looked for before anything is touched."""

from collections.abc import Iterator

from deploy_ops.backup.manifest import Manifest
from deploy_ops.backup.methods.pg_dump import drops, live_checks
from deploy_ops.backup.methods.pg_dump.load import is_same_cluster
from deploy_ops.databases.postgresql import names, same
from deploy_ops.databases.postgresql.disk import free_bytes
from deploy_ops.databases.postgresql.programs import find_program
from deploy_ops.databases.postgresql.server import Connection, Server, scalar
from deploy_ops.databases.postgresql.user_tables import IN_USER_SCHEMA, USER_TABLE
from deploy_ops.errors import ProgramError

SPACE = 1.2  # indexes are built in temporary files before they are written

UNREADABLE = f"""
    SELECT nspname || '.' || relname FROM pg_class AS relation
    JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
    WHERE {USER_TABLE} AND NOT (has_schema_privilege(relnamespace, 'USAGE')
        AND has_table_privilege(relation.oid, 'SELECT')) ORDER BY 1
"""
ROW_POLICIES = f"""
    SELECT nspname || '.' || relname FROM pg_class AS relation
    JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
    WHERE {USER_TABLE} AND row_security_active(relation.oid) ORDER BY 1
"""
LARGE_OBJECTS = """
    SELECT oid::text || ' of ' || pg_get_userbyid(lomowner) FROM pg_largeobject_metadata
    WHERE NOT pg_has_role(lomowner, 'USAGE') AND NOT EXISTS (
        SELECT FROM aclexplode(lomacl) WHERE privilege_type = 'SELECT'
        AND (grantee = 0 OR pg_has_role(grantee, 'USAGE'))) ORDER BY oid
"""
# The lock table has room for this many for each unit of max_locks_per_transaction.
LOCK_UNITS = """
    SELECT current_setting('max_locks_per_transaction')::int, 1
        + current_setting('max_connections')::int
        + current_setting('max_prepared_transactions')::int
        + current_setting('max_worker_processes')::int + current_setting('max_wal_senders')::int
        + coalesce(current_setting('autovacuum_worker_slots', true),
                   current_setting('autovacuum_max_workers'))::int
"""
# pg_dump holds locks on tables, views and sequences, and counting the rows on indexes.
RELATIONS = f"""
    SELECT count(*) FROM pg_class
    JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
    WHERE relkind <> 'c' AND {IN_USER_SCHEMA}
"""
# DROP locks every object that goes, down to types, constraints and defaults.
DROPPED = """
    SELECT (SELECT count(*) FROM pg_class WHERE oid >= 16384)
        + (SELECT count(*) FROM pg_type WHERE oid >= 16384)
        + (SELECT count(*) FROM pg_proc WHERE oid >= 16384)
        + (SELECT count(*) FROM pg_constraint WHERE oid >= 16384)
        + (SELECT count(*) FROM pg_attrdef) + (SELECT count(*) FROM pg_trigger)
        + (SELECT count(*) FROM pg_rewrite WHERE oid >= 16384) + (SELECT count(*) FROM pg_policy)
        + (SELECT count(*) FROM pg_operator WHERE oid >= 16384)
        + (SELECT count(*) FROM pg_amop WHERE oid >= 16384)
        + (SELECT count(*) FROM pg_amproc WHERE oid >= 16384)
        + (SELECT count(*) FROM pg_largeobject_metadata)
"""


def check_backup(alias: str, server: Server, connection: Connection) -> list[str]:
    """Look for what would make `dump` fail; a sentence each, with its remedy."""
    return [
        *_programs(server, connection, "pg_dump", "pg_restore", "psql"),
        *same.differing_django(alias, server, connection),
        *_listed(connection, UNREADABLE, "Tables that this role may not read", "GRANT SELECT"),
        *_listed(
            connection,
            ROW_POLICIES,
            "Row policies would hide rows from the backup in",
            "ALTER ROLE ... BYPASSRLS",
        ),
        *_listed(
            connection,
            LARGE_OBJECTS,
            "Large objects that this role may not read",
            "GRANT SELECT ON LARGE OBJECT ..., or ALTER LARGE OBJECT ... OWNER TO",
        ),
        *_locks(connection, scalar(connection, RELATIONS), "A dump"),
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


def _listed(connection: Connection, query: str, what: str, remedy: str) -> Iterator[str]:
    found = [name for (name,) in connection.execute(query).fetchall()]
    if found:
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        yield f"{what}: {', '.join(found[:5])}{more}. Let the role do it: {remedy}."


def _locks(connection: Connection, needed: int, who: str) -> Iterator[str]:
    setting, units = connection.execute(LOCK_UNITS).fetchall()[0]
    if needed > setting * units:
        yield (
            f"{who} locks about {needed} tables, sequences and other objects at once, and the "
            f"server has room for {setting * units} locks. Raise it and restart the server:\n"
            f"    ALTER SYSTEM SET max_locks_per_transaction = {-(-needed // units)}"
        )


def check_restore(alias: str, server: Server, manifest: Manifest, *, into: str | None) -> list[str]:
    """Look for what would make the restore beside and the swap fail."""
    if manifest.database.engine != "postgresql":
        return [f"The backup is of {manifest.database.engine}, and the database is PostgreSQL."]
    with server.maintenance(application_name="deploy_ops/preflight") as connection:
        problems = [*_versions(connection, manifest), *_creating(connection)]
        problems += _programs(server, connection, "pg_restore", "psql")
        problems += _meant(alias, server, connection)
        problems += [*_surroundings(connection, manifest), *_disk(connection, manifest)]
        if into is not None:
            if names.exists(connection, into):
                problems.append(f"Database {into} exists already. Choose another name for --into.")
            return problems + [*live_checks.carried_over(connection, server, manifest)]
        return problems + live_checks.check_swap(connection, server, manifest)


def check_in_place(alias: str, server: Server, manifest: Manifest) -> list[str]:
    """Look for what would make the restore in place fail."""
    with server.maintenance(application_name="deploy_ops/preflight") as connection:
        problems = [*_versions(connection, manifest)]
        problems += _programs(server, connection, "pg_restore", "psql")
        problems += _meant(alias, server, connection)
        problems += _surroundings(connection, manifest)
        problems += live_checks.same_database(connection, server, manifest)
        problems += live_checks.owned(connection, server.dbname)
        problems += live_checks.subscriptions(connection, server.dbname)
    with server.connect(application_name="deploy_ops/preflight") as live:
        held = scalar(live, DROPPED) + manifest.extra["lockable"]
        problems += _locks(live, held, "A restore in place")
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


def _creating(connection: Connection) -> Iterator[str]:
    query = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
    if not scalar(connection, query):
        role = scalar(connection, "SELECT current_user")
        yield (
            f"Role {role} may not create databases, so none can be restored beside the live one. "
            f"ALTER ROLE {role} CREATEDB; or, locking everybody out for as long as it takes, "
            "replace the contents in one transaction: --in-place."
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
        yield f"Roles in the backup that no longer exist: {', '.join(gone)}. CREATE ROLE them."
    foreign = [name for name in extra["owners"] if name in roles and not roles[name]]
    if foreign:
        yield (
            f"Objects in the backup belong to {', '.join(foreign)}, and this role is no member of "
            "it, so it cannot give them back. GRANT the membership."
        )


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
