"""One query of a person, in a transaction that can only read; its rows as the server's text."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from deploy_ops.databases.postgresql.replacing.staging import prepare_session
from deploy_ops.databases.postgresql.server import Connection, Server
from deploy_ops.databases.rows import Row
from deploy_ops.errors import DatabaseUnavailable, RestoreRefused

CURSOR = "deploy_ops_rows"
ROWS = 1000
KEY = """
    SELECT attnum FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
    WHERE indrelid = %s AND indisprimary
"""


@dataclass(frozen=True, slots=True)
class PostgresqlQuery:
    """A query that has begun."""

    connection: Connection
    columns: tuple[str, ...]
    key: tuple[int, ...]

    def rows(self) -> Iterator[Row]:
        """Fetch them in portions."""
        with _refused():
            while portion := _fetch(self.connection, ROWS):
                yield from portion


@contextmanager
def querying(server: Server, dbname: str, query: str) -> Iterator[PostgresqlQuery]:
    """Begin a query; raises RestoreRefused for what is none, or is more."""
    with server.connect(dbname, application_name="deploy_ops/rows") as connection:
        prepare_session(connection)
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with connection.transaction(force_rollback=True):
            with _refused():
                # Prepared, so that the server takes a single statement, which cannot end this
                # transaction and begin another one.
                declare = f"DECLARE {CURSOR} NO SCROLL CURSOR FOR {query.rstrip().rstrip(';')}"
                connection.execute(declare.encode(), prepare=True)
                columns, sources = _described(connection)
                key = _key(connection, sources)
            yield PostgresqlQuery(connection, columns, key)


@contextmanager
def _refused() -> Iterator[None]:
    """The person has typed the query, so the server's own words about it are for them."""
    try:
        yield
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(
            f"The server ended the query: {error}".rstrip() + "\nNothing was changed."
        ) from error
    except psycopg.Error as error:
        raise RestoreRefused(
            f"The query cannot be run: {error}".rstrip() + "\nNothing was changed."
        ) from error


def _fetch(connection: Connection, number: int) -> list[Row]:
    statement = sql.SQL("FETCH {} FROM {}").format(sql.Literal(number), sql.Identifier(CURSOR))
    result = connection.execute(statement).pgresult
    encoding = connection.info.encoding
    assert result is not None
    return [
        tuple(
            None if (value := result.get_value(row, column)) is None else value.decode(encoding)
            for column in range(result.nfields)
        )
        for row in range(result.ntuples)
    ]


def _described(connection: Connection) -> tuple[tuple[str, ...], list[tuple[int, int]]]:
    """Names of the columns, and the table and column that each one is read from."""
    result = connection.execute(f"FETCH 0 FROM {CURSOR}").pgresult
    assert result is not None
    fields = range(result.nfields)
    encoding = connection.info.encoding
    columns = tuple((result.fname(field) or b"").decode(encoding) for field in fields)
    return columns, [(result.ftable(field), result.ftablecol(field)) for field in fields]


def _key(connection: Connection, sources: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Positions of all columns of the primary keys of all tables that columns come from."""
    found: list[int] = []
    for table in sorted({table for table, _ in sources if table}):
        parts = [(table, number) for (number,) in connection.execute(KEY, [table]).fetchall()]
        if not parts or not {*parts} <= {*sources}:
            return ()
        found += [sources.index(part) for part in parts]
    return tuple(sorted(found))
