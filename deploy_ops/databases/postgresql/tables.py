"""What the catalog of one database says, read over one connection."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

from psycopg import sql

from deploy_ops.databases.base import Counts
from deploy_ops.databases.postgresql.server import Connection, Server, scalar
from deploy_ops.databases.postgresql.user_tables import NO_HEARTBEATS, USER_TABLE

COUNTING_CONNECTIONS = 2

TABLES = f"""
    SELECT nspname || '.' || relname AS name, nspname, relname, pg_table_size(relation.oid)
    FROM pg_class AS relation JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
    WHERE {USER_TABLE} AND {NO_HEARTBEATS} ORDER BY 4 DESC, 1
"""

# How many values were given out since START: grows whatever the increment is, 0 if not called
# yet. A cyclic sequence does not grow, so it is not among them.
SEQUENCES = """
    SELECT schemaname || '.' || sequencename,
           coalesce((last_value::numeric - start_value) / increment_by + 1, 0)
    FROM pg_sequences WHERE NOT cycle ORDER BY 1
"""
Table = tuple[str, str, str, int]


def tables_of(connection: Connection) -> list[Table]:
    """Name with schema, schema, bare name and size in bytes of every user table, biggest first."""
    return cast(list[Table], connection.execute(TABLES).fetchall())


def count_tables(
    connection: Connection, tables: Iterable[Table], stopped: Callable[[], bool] = lambda: False
) -> dict[str, int]:
    """Count the rows of each table; `stopped` is asked before each."""
    counts = {}
    for name, schema, table, _ in tables:
        if stopped():
            break
        query = sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(schema, table))
        row = connection.execute(query).fetchone()
        counts[name] = int(row[0]) if row else 0
    return counts


def count_rows(server: Server, name: str) -> tuple[Counts, Counts]:
    """Count every table of a database over two connections, and read its sequences."""
    with server.connect(name, application_name="deploy_ops/count") as connection:
        without_timeouts(connection)
        queue = iter(
            tables_of(connection)
        )  # next() on a list's iterator is atomic: two threads may share it
        with ThreadPoolExecutor(COUNTING_CONNECTIONS, "counting") as pool:
            parts = [
                pool.submit(_count_part, server, name, queue) for _ in range(COUNTING_CONNECTIONS)
            ]
        counts: dict[str, int] = {}
        for part in parts:
            counts |= part.result()
        return counts, sequences_of(connection)


def _count_part(server: Server, name: str, queue: Iterable[Table]) -> dict[str, int]:
    with server.connect(name, application_name="deploy_ops/count") as connection:
        without_timeouts(connection)
        connection.execute(sql.SQL("SET row_security = off"))
        return count_tables(connection, queue)


def sequences_of(connection: Connection) -> dict[str, int]:
    """How far each sequence has gone, by name with schema."""
    return {name: int(given) for name, given in connection.execute(SEQUENCES).fetchall()}


def migrations_of(connection: Connection) -> list[tuple[str, str]]:
    """Applied migrations in the order of their recording; none without Django's table."""
    if scalar(connection, "SELECT to_regclass('django_migrations')") is None:
        return []
    query = "SELECT app, name FROM django_migrations ORDER BY id"
    return cast(list[tuple[str, str]], connection.execute(query).fetchall())


def large_objects_of(connection: Connection) -> int:
    """How many large objects there are, also those that this role may not read."""
    return int(scalar(connection, "SELECT count(*) FROM pg_largeobject_metadata"))


def without_timeouts(connection: Connection) -> None:
    """Take away the time-outs that the role or the database sets: counting may take long."""
    names = ["statement_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"]
    if connection.info.server_version >= 170000:
        names.append("transaction_timeout")
    for name in names:
        connection.execute(sql.SQL("SET {} = 0").format(sql.Identifier(name)))
