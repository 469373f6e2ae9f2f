"""The restore beside: a new database from the dump, analysed, with the live one's properties.

Nobody knows the new database yet, so pg_restore may run in parallel and without one big
transaction; what goes wrong is answered by dropping it.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from deploy_ops.backup.engines.base import Counts, Json
from deploy_ops.backup.engines.postgresql import facts, names, properties
from deploy_ops.backup.engines.postgresql.disk import free_bytes
from deploy_ops.backup.engines.postgresql.dump import as_role
from deploy_ops.backup.engines.postgresql.lines import follow_tables
from deploy_ops.backup.engines.postgresql.programs import find_program
from deploy_ops.backup.manifest import Manifest
from deploy_ops.errors import DeployOpsError, RestoreFailed
from deploy_ops.postgresql import Connection, Server, system_identifier
from deploy_ops.process import run
from deploy_ops.progress import Progress

COUNTING_CONNECTIONS = 2


def restore_beside(  # pylint: disable=too-many-arguments  # the contract of Engine
    server: Server, directory: Path, manifest: Manifest, *, name: str, jobs: int, progress: Progress
) -> None:
    """Create database `name` from the dump; raises RestoreFailed, and then it is gone again."""
    with server.maintenance(application_name=f"deploy_ops/restore/{os.getpid()}") as connection:
        facts.without_timeouts(connection)
        if free_bytes(connection) is None:
            progress.say("Free space on the server's disk cannot be told from here.")
        wanted = wanted_properties(connection, server, manifest)
        _create(connection, name, wanted)
        sizes = manifest.extra["table_bytes"]
        try:
            argv = [*_pg_restore(connection, server, manifest), f"--jobs={jobs}", str(directory)]
            if "--no-owner" in argv:
                progress.say(_what_is_dropped(manifest))
            with follow_tables("Restore", sizes, jobs, progress) as on_line:
                _run(server, name, argv, on_line)
            _carry_over(connection, name, wanted)
            analyse(server, name)
        except BaseException as error:
            names.drop(connection, server.dbname, name)
            if isinstance(error, (DeployOpsError, psycopg.Error)):
                raise _failed(server, name, error) from error
            raise


def is_same_cluster(connection: Connection, manifest: Manifest) -> bool:
    """Was the backup taken in the cluster that it is restored to?"""
    return bool(manifest.database.system_identifier == system_identifier(connection))


def wanted_properties(connection: Connection, server: Server, manifest: Manifest) -> Json:
    """Properties for the new database: the live one's, else the manifest's.

    In another cluster, owner, ACL and settings of roles name roles that may not exist there.
    """
    live = properties.properties_of(connection, server.dbname)
    if live is not None and is_same_cluster(connection, manifest):
        return live
    wanted: Json = live or manifest.extra["properties"]
    if is_same_cluster(connection, manifest):
        return wanted
    if live is None:
        no_roles = [item for item in wanted["settings"] if not item["role"]]
        wanted = {**wanted, "owner": None, "acl": None, "settings": no_roles}
        wanted["tablespace"] = "pg_default"
    return wanted


def _what_is_dropped(manifest: Manifest) -> str:
    roles = ", ".join(manifest.extra["roles"]) or "none"
    return (
        "The backup comes from another server: owners and privileges in it are not restored "
        f"(roles there: {roles}); all objects belong to the restoring role."
    )


def _create(connection: Connection, name: str, wanted: Json) -> None:
    try:
        connection.execute(properties.create_statement(name, wanted))
    except psycopg.Error as error:
        raise RestoreFailed(
            f"Database {name} could not be created: {error}".rstrip()
            + "\nThe live database was not changed."
        ) from error


def _pg_restore(connection: Connection, server: Server, manifest: Manifest) -> list[str]:
    program = find_program("pg_restore", connection.info.server_version // 10000)
    argv = [program.path, "--exit-on-error", "--no-password", "--verbose", *as_role(server)]
    if not is_same_cluster(connection, manifest):
        argv += ["--no-owner", "--no-acl"]
    return argv


def _run(server: Server, name: str, argv: list[str], on_line: Callable[[str], None]) -> None:
    # --dbname is taken for a connection string if it looks like one, so it is made one.
    with server.environment(name) as env:
        run([*argv, f"--dbname={make_conninfo(dbname=name)}"], env=env, on_line=on_line)


def _carry_over(connection: Connection, name: str, wanted: Json) -> None:
    with connection.transaction():
        for statement in properties.carry_over_statements(name, wanted):
            connection.execute(statement)


def analyse(server: Server, name: str) -> None:
    """Collect the planner's statistics, which no dump before PostgreSQL 18 holds."""
    with server.connect(name, application_name="deploy_ops/analyse") as connection:
        facts.without_timeouts(connection)
        connection.execute("ANALYZE")


def count_rows(server: Server, name: str) -> tuple[Counts, Counts]:
    """Count every table of a database over two connections, and read its sequences."""
    with server.connect(name, application_name="deploy_ops/count") as connection:
        facts.without_timeouts(connection)
        tables = facts.tables_of(connection)
        queue = iter(tables)  # next() on a list's iterator is atomic: two threads may share it
        with ThreadPoolExecutor(COUNTING_CONNECTIONS, "counting") as pool:
            parts = [
                pool.submit(_count_part, server, name, queue) for _ in range(COUNTING_CONNECTIONS)
            ]
        counts: dict[str, int] = {}
        for part in parts:
            counts |= part.result()
        return counts, facts.sequences_of(connection)


def _count_part(server: Server, name: str, queue: Iterable[facts.Table]) -> dict[str, int]:
    with server.connect(name, application_name="deploy_ops/count") as connection:
        facts.without_timeouts(connection)
        connection.execute(sql.SQL("SET row_security = off"))
        return facts.count_tables(connection, queue)


def _failed(server: Server, name: str, error: Exception) -> RestoreFailed:
    return RestoreFailed(
        f"The backup could not be restored into {name}:\n{error}".rstrip()
        + f"\nThe half-made database was dropped; {server.dbname} was not changed."
    )
