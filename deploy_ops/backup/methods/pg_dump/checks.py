"""What would make a dump or a restore fail, looked for before anything is touched."""

from collections.abc import Iterator

from deploy_ops.advice import manage
from deploy_ops.backup.manifest import Manifest
from deploy_ops.backup.methods.pg_dump import drops, live_checks, locks, privileges
from deploy_ops.backup.methods.pg_dump.load import AS_ANOTHER, is_same_cluster
from deploy_ops.databases.postgresql import names, same
from deploy_ops.databases.postgresql.disk import free_bytes
from deploy_ops.databases.postgresql.programs import find_program
from deploy_ops.databases.postgresql.server import Connection, Server, quoted, quoted_role, scalar
from deploy_ops.databases.postgresql.surroundings import giving, is_superuser
from deploy_ops.errors import ProgramError

SPACE = 1.2  # indexes are built in temporary files before they are written


def check_backup(
    alias: str, server: Server, connection: Connection, *, is_copy: bool = False
) -> list[str]:
    """Look for what would make `dump` fail; a sentence each, with its remedy.

    A copy is not what Django's alias reaches, so that is not compared.
    """
    return [
        *_programs(server, connection, "pg_dump", "pg_restore", "psql"),
        *([] if is_copy else same.differing_django(alias, server, connection)),
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
            if not 0 < len(into.encode()) <= names.LIMIT_BYTES:
                problems.append(
                    f"A name of a database has 1 to {names.LIMIT_BYTES} bytes, and --into has "
                    f"{len(into.encode())}. Choose another."
                )
            elif names.exists(connection, into):
                problems.append(f"Database {into} exists already. Choose another name for --into.")
            return problems + [*live_checks.carried_over(connection, server, manifest)]
        return problems + live_checks.check_swap(alias, connection, server, manifest)


def check_in_place(alias: str, server: Server, manifest: Manifest) -> list[str]:
    """Look for what would make the restore in place fail."""
    with server.maintenance(application_name="deploy_ops/preflight") as connection:
        problems = [*_versions(connection, manifest)]
        problems += _programs(server, connection, "pg_restore", "psql")
        problems += _meant(alias, server, connection)
        problems += [*_surroundings(connection, manifest), *_not_trusted(connection, manifest)]
        problems += live_checks.same_database(alias, connection, server, manifest)
        problems += live_checks.owned(connection, server.dbname)
        problems += live_checks.subscriptions(connection, server.dbname)
    with server.connect(application_name="deploy_ops/preflight") as live:
        problems += locks.too_few_in_place(live, manifest)
        problems += [
            f"{what}, so this role may not drop it. Restore as one that may: give it in "
            "DEPLOY_OPS_DIRECT_DATABASE_URL."
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
            f"As a superuser, run:\n    ALTER ROLE {quoted(connection, role)} CREATEDB;\n"
            "or, locking everybody out for as long as it takes, replace the contents in one "
            f"transaction:\n{manage('restore', manifest.id, '--in-place', alias=alias)}"
        )


def _surroundings(connection: Connection, manifest: Manifest) -> Iterator[str]:
    extra, is_same = manifest.extra, is_same_cluster(connection, manifest)
    for name, version in extra["extensions"].items():
        yield from _not_offered(connection, name, version)
    query = "SELECT rolname, rolsuper, pg_has_role(oid, %s) FROM pg_roles"
    rows = connection.execute(query, [giving(connection)]).fetchall()
    there = {name for name, _, _ in rows}
    needed = extra["roles"] if is_same else extra.get("named_roles", [])
    if gone := [name for name in needed if name not in there]:
        whose = "Roles in the backup" if is_same else "Roles in policies and user mappings"
        yield (
            f"{whose} that do not exist on this server: {', '.join(gone)}. Run:"
            + "".join(f"\n    CREATE ROLE {quoted(connection, name)};" for name in gone)
        )
    if not is_same:
        return
    foreign = {name: is_super for name, is_super, is_ours in rows if not is_ours}
    for name in extra["owners"]:
        if name in foreign:
            yield _not_given_back(connection, name, is_super=foreign[name])
    without_create = extra.get("owners_without_create", ())
    listed = [f"{owner} in schema {schema}" for owner, schema in without_create]
    if listed and not is_superuser(connection):
        yield (
            "Owners in the backup may not create in the schema of what they own, and so this role "
            f"is not allowed to give it back: {', '.join(listed)}. {AS_ANOTHER}"
        )


def _not_given_back(connection: Connection, owner: str, *, is_super: bool) -> str:
    what = (
        f"Objects in the backup belong to {owner}, and this role is not allowed to give them to it."
    )
    if is_super:
        return f"{what} {owner} is a superuser. {AS_ANOTHER}"
    grant = f"GRANT {quoted(connection, owner)} TO {quoted_role(connection)};"
    return f"{what} As {owner}'s administrator, run:\n    {grant}"


def _not_offered(connection: Connection, name: str, version: str) -> Iterator[str]:
    query = "SELECT FROM pg_available_extensions WHERE name = %s"
    if not connection.execute(query, [name]).fetchall():
        yield (
            f"Extension {name} {version} is in the backup and is not installed on the server. "
            "Install its package there."
        )


def _not_trusted(connection: Connection, manifest: Manifest) -> Iterator[str]:
    """In place there is no second database to try it in, and everybody would wait for the no."""
    query = """
        SELECT name FROM pg_available_extension_versions WHERE name = ANY (%s)
        GROUP BY name HAVING NOT bool_or(trusted OR NOT superuser) ORDER BY name
    """
    extensions = [*manifest.extra["extensions"]]
    for (name,) in () if is_superuser(connection) else connection.execute(query, [extensions]):
        yield f"Extension {name} can only be created by a superuser. {AS_ANOTHER}"


def _disk(connection: Connection, manifest: Manifest) -> Iterator[str]:
    free = free_bytes(connection)
    needed = int(manifest.database.size_bytes * SPACE)
    if free is not None and free < needed:
        yield (
            f"The restored database needs about {needed / 1e6:.0f} MB beside the live one, and "
            f"the server's disk has {free / 1e6:.0f} MB free."
        )
