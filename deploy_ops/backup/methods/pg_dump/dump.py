"""The dump: pg_dump, and everything the manifest says about it, under one snapshot.

A connection of ours exports its snapshot, pg_dump reads under it, and meanwhile the same
connection counts the rows of every table; so the counts are those of the dump, whatever others
write (docs/decisions/0002).
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psycopg

from deploy_ops.backup.methods.base import Snapshot
from deploy_ops.backup.methods.pg_dump import archive
from deploy_ops.backup.methods.pg_dump.lines import follow_tables
from deploy_ops.backup.methods.pg_dump.restorable import unrestorable
from deploy_ops.databases.base import Json
from deploy_ops.databases.postgresql import materialized_views, properties, tables
from deploy_ops.databases.postgresql.programs import Program, find_program
from deploy_ops.databases.postgresql.server import Connection, Server, scalar, server_encoding
from deploy_ops.databases.postgresql.surroundings import surroundings_of
from deploy_ops.databases.postgresql.write_position import take_write_position
from deploy_ops.errors import BackupFailed
from deploy_ops.process import run
from deploy_ops.progress import Progress
from deploy_ops.redact import error_text

# array_nulls decides what NULL in an array of the dump means; false conflicts between parallel
# jobs only come with serializable; jobs idle while others work.
SAFE = {
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    "array_nulls": "on",
    "idle_session_timeout": "0",
}
LOCK_WAIT_MS = 20_000  # behind a migration that holds a table; then the backup gives up


def dump(server: Server, directory: Path, *, jobs: int, progress: Progress) -> Snapshot:
    """Dump the database into the empty directory; raises BackupFailed, ProgramError."""
    with server.connect(application_name=f"deploy_ops/backup/{os.getpid()}") as connection:
        program = find_program("pg_dump", connection.info.server_version // 10000)
        tables.without_timeouts(connection)
        connection.execute(f"SET lock_timeout = {LOCK_WAIT_MS}")
        try:
            position = take_write_position(connection).as_json()
            with _snapshot(connection) as snapshot:
                options = [f"--file={directory}", f"--jobs={jobs}", f"--snapshot={snapshot}"]
                # The database's own: whatever the settings say, no byte is converted.
                options.append(f"--encoding={server_encoding(connection)}")
                seen = _look_around(server, connection)
                listen = follow_tables("Dump", seen.extra["table_bytes"], jobs, progress)
                with _counting(connection) as counted, listen as on_line:
                    _pg_dump(server, program, options, on_line)
                server.note_program(server.dbname, 1 + jobs)  # a leader and its workers
                seen = _with_contents(seen, *counted())
        except psycopg.Error as error:
            raise _unreadable(server, error) from error
    return replace(seen, write_position=position, versions=_versions(directory))


def _with_contents(seen: Snapshot, counts: dict[str, int], views: dict[str, Json]) -> Snapshot:
    return replace(seen, counts=counts, extra={**seen.extra, "materialized_views": views})


def _unreadable(server: Server, error: psycopg.Error) -> BackupFailed:
    return BackupFailed(
        f"Database {server.dbname} could not be read: {error_text(error)}"
        + "\nNo backup was made. The database was not changed."
    )


@contextmanager
def _snapshot(connection: Connection) -> Iterator[str]:
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # As pg_dump does: an error, and not silently fewer rows, where a row policy applies.
        connection.execute("SET LOCAL row_security = off")
        yield scalar(connection, "SELECT pg_export_snapshot()")


def _versions(directory: Path) -> dict[str, str]:
    header = archive.read_header(directory)
    words = {"server": header.server, "pg_dump": header.pg_dump, "archive": header.archive_version}
    return {name: version.split()[0] for name, version in words.items()}


def _look_around(server: Server, connection: Connection) -> Snapshot:
    sizes = {name: size for name, _, _, size in tables.tables_of(connection)}
    return Snapshot(
        counts={},
        # Sequences are not in the snapshot; read before pg_dump reads them, they are never ahead.
        sequences=tables.sequences_of(connection),
        migrations=tables.migrations_of(connection),
        write_position={},
        versions={},
        extra={
            **surroundings_of(connection),
            "unrestorable": [each.as_json() for each in unrestorable(connection, server.alias)],
            "properties": properties.properties_of(connection, connection.info.dbname),
            "table_bytes": sizes,
        },
    )


Counted = tuple[dict[str, int], dict[str, Json]]


@contextmanager
def _counting(connection: Connection) -> Iterator[Callable[[], Counted]]:
    """Count in a second thread; an error of the block stops the counting."""
    stop, user_tables = threading.Event(), tables.tables_of(connection)

    def count() -> Counted:
        counts = tables.count_tables(connection, user_tables, stop.is_set)
        return counts, materialized_views.digests_of(connection, stop.is_set)

    with ThreadPoolExecutor(1, "counting") as pool:
        counting = pool.submit(count)
        try:
            yield counting.result
        except BaseException:
            stop.set()
            with suppress(psycopg.Error):  # it may be what failed
                connection.cancel_safe()
            raise


def _pg_dump(
    server: Server, program: Program, options: list[str], on_line: Callable[[str], None]
) -> None:
    argv = [program.path, "--format=directory", "--compress=1", "--no-password", "--verbose"]
    argv += [f"--lock-wait-timeout={LOCK_WAIT_MS}", *options, *as_role(server)]
    with server.environment(settings=safe_settings(server, server.dbname)) as env:
        run(argv, env=env, on_line=on_line)


def safe_settings(server: Server, dbname: str) -> dict[str, str]:
    """Settings of sessions in a database that would break a dump or a restore: what is needed.

    The programs themselves take care of the others, such as search_path and statement_timeout.
    """
    with server.connect(dbname, application_name="deploy_ops/settings") as connection:
        rows = connection.execute(
            "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(SAFE)]
        ).fetchall()
    return {setting: SAFE[setting] for setting, value in rows if value != SAFE[setting]}


def as_role(server: Server) -> list[str]:
    """The option of pg_dump and pg_restore for the role that Django assumes after login."""
    return [f"--role={server.role}"] if server.role else []
