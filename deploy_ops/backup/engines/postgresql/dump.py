"""The dump: pg_dump, and everything the manifest says about it, under one snapshot.

A connection of ours exports its snapshot, pg_dump reads under it, and meanwhile the same
connection counts the rows of every table; so the counts are those of the dump, whatever others
write (research/backups.md, 7 #27).
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg

from deploy_ops.backup.engines.base import Json, Snapshot
from deploy_ops.backup.engines.postgresql import archive, facts, properties, writes
from deploy_ops.backup.engines.postgresql.lines import follow_tables
from deploy_ops.backup.engines.postgresql.programs import Program, find_program
from deploy_ops.errors import BackupFailed
from deploy_ops.postgresql import Connection, Server, scalar
from deploy_ops.process import run
from deploy_ops.progress import Progress

LOCK_WAIT_MS = 20_000  # behind a migration that holds a table; then the backup gives up


def dump(server: Server, directory: Path, *, jobs: int, progress: Progress) -> Snapshot:
    """Dump the database into the empty directory; raises BackupFailed, ProgramError."""
    with server.connect(application_name=f"deploy_ops/backup/{os.getpid()}") as connection:
        program = find_program("pg_dump", connection.info.server_version // 10000)
        facts.without_timeouts(connection)
        connection.execute(f"SET lock_timeout = {LOCK_WAIT_MS}")
        mark = writes.take_mark(connection)
        try:
            with _snapshot(connection) as snapshot:
                seen = _look_around(connection)
                tables = facts.tables_of(connection)
                with _counting(connection, tables) as counted:
                    _pg_dump(server, program, directory, snapshot, tables, jobs, progress)
                counts = counted()
        except psycopg.Error as error:
            raise BackupFailed(
                f"Database {server.dbname} could not be read: {error}".rstrip()
                + "\nNo backup was made. The database was not changed."
            ) from error
        return Snapshot(
            counts=counts,
            sequences=seen.pop("sequences"),
            migrations=seen.pop("migrations"),
            mark=mark,
            versions={
                "server": scalar(connection, "SHOW server_version"),
                "pg_dump": program.version,
                "archive": archive.read_header(directory).archive_version,
            },
            extra={**seen, "table_bytes": {name: size for name, _, _, size in tables}},
        )


@contextmanager
def _snapshot(connection: Connection) -> Iterator[str]:
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # As pg_dump does: an error, and not silently fewer rows, where a row policy applies.
        connection.execute("SET LOCAL row_security = off")
        yield scalar(connection, "SELECT pg_export_snapshot()")


def _look_around(connection: Connection) -> Json:
    # Sequences are not in the snapshot; read before pg_dump reads them, they are never ahead.
    return {
        "sequences": facts.sequences_of(connection),
        "migrations": facts.migrations_of(connection),
        **facts.surroundings_of(connection),
        "properties": properties.properties_of(connection, connection.info.dbname),
    }


@contextmanager
def _counting(
    connection: Connection, tables: list[facts.Table]
) -> Iterator[Callable[[], dict[str, int]]]:
    """Count in a second thread; an error of the block stops the counting."""
    stop = threading.Event()
    with ThreadPoolExecutor(1, "counting") as pool:
        counting = pool.submit(facts.count_tables, connection, tables, stop.is_set)
        try:
            yield counting.result
        except BaseException:
            stop.set()
            connection.cancel_safe()
            raise


def _pg_dump(
    server: Server,
    program: Program,
    directory: Path,
    snapshot: str,
    tables: list[facts.Table],
    jobs: int,
    progress: Progress,
) -> None:
    argv = [program.path, "--format=directory", f"--jobs={jobs}", "--compress=1"]
    argv += [f"--snapshot={snapshot}", f"--lock-wait-timeout={LOCK_WAIT_MS}"]
    argv += ["--no-password", "--verbose", f"--file={directory}", *as_role(server)]
    sizes = {name: size for name, _, _, size in tables}
    with server.environment() as env, follow_tables("Dump", sizes, jobs, progress) as on_line:
        run(argv, env=env, on_line=on_line)


def as_role(server: Server) -> list[str]:
    """The option of pg_dump and pg_restore for the role that Django assumes after login."""
    return [f"--role={server.role}"] if server.role else []
