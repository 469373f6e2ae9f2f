"""Rows of single tables put back from a restored database beside, and queries on both.

By the rows, so that the live table stays what it is, with its indexes, privileges and what depends
on it (docs/decisions/0041).
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from django.db import connections
from psycopg import sql

from deploy_ops.databases.base import Counts
from deploy_ops.databases.postgresql.names import name_beside
from deploy_ops.databases.postgresql.replacing import around, find, keys, reading
from deploy_ops.databases.postgresql.replacing.exchange import Exchange
from deploy_ops.databases.postgresql.replacing.shape import Shape, refusals, shape_of
from deploy_ops.databases.postgresql.replacing.staging import prepare_session, stage
from deploy_ops.databases.postgresql.schema import KEPT_SCHEMA
from deploy_ops.databases.postgresql.server import Connection, Server, scalar, server_of
from deploy_ops.databases.rows import (
    Query,
    RowsBeside,
    TableDifference,
    refuse,
    require_no_dangling,
)
from deploy_ops.errors import DatabaseUnavailable, RestoreFailed
from deploy_ops.redact import error_text

SESSION = "deploy_ops/tables"
END_MS = 10_000
KILLED = """
    SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = %s AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True, slots=True)
class PostgresqlReplacement:
    """Tables, and the rows that the backup has for them, in one session."""

    exchange: Exchange
    notes: Sequence[str]

    @property
    def differences(self) -> Sequence[TableDifference]:
        """As they were when the rows were brought together."""
        return self.exchange.shown

    def replace(self, kept: Mapping[str, str], *, is_agreed: bool) -> None:
        """Put the rows back; raises RestoreFailed, and DatabaseUnavailable if that is not known."""
        with _translated(self.exchange.live):
            self.exchange.run(kept, is_agreed=is_agreed)


class PostgresqlRows(RowsBeside):
    """Single tables and rows of a PostgreSQL database."""

    alias: str

    def find_tables(self, given: Sequence[str], saved: Counts) -> list[str]:
        """Tables by the names that people give them; raises UsageError."""
        server = server_of(self.alias)
        with server.connect(application_name=SESSION) as live:
            known = find.relations_of(live)
            tables = [find.find_table(name, known, server.live_name, self.alias) for name in given]
            refuse([each for table in tables for each in refusals(live, table)])
        for table in tables:
            find.require_saved(table, saved, self.alias)
        return list(dict.fromkeys(map(str, tables)))

    @contextmanager
    def replacing(self, beside: str, tables: Sequence[str]) -> Iterator[PostgresqlReplacement]:
        """Bring the rows of both databases together; raises RestoreRefused, RestoreFailed."""
        connections[self.alias].close()  # what is open there must not stand in the way of locks
        server = server_of(self.alias)
        with (
            server.connect(application_name=SESSION) as live,
            server.connect(beside, application_name=SESSION) as source,
        ):
            with _translated(live):
                prepared = _prepared(live, source, tables)
            yield prepared

    def kept_name(self, table: str, stamp: str) -> str:
        """Name of a table of the schema for kept tables."""
        name = name_beside(table.removeprefix("public."), stamp)
        return sql.Identifier(KEPT_SCHEMA, name).as_string()

    def has_kept(self, name: str) -> bool:
        """Whether it is there, once no session of a killed restore is at work any more."""
        with server_of(self.alias).connect(application_name=f"{SESSION}/{os.getpid()}") as live:
            live.execute(KILLED, [END_MS, SESSION])
            return scalar(live, "SELECT to_regclass(%s)", [name]) is not None

    @contextmanager
    def querying(self, name: str, query: str) -> Iterator[Query]:
        """Run one query, which can only read."""
        with reading.querying(server_of(self.alias), name, query) as found:
            yield found


def _prepared(live: Connection, source: Connection, tables: Sequence[str]) -> PostgresqlReplacement:
    for connection in (live, source):
        prepare_session(connection)
    live.execute("SET default_transaction_read_only = off")
    live.isolation_level, live.read_only = psycopg.IsolationLevel.READ_COMMITTED, False
    shapes, problems = _shapes(live, source, tables)
    oids = [shape.table.oid for shape in shapes]
    foreign = keys.foreign_keys(live, oids)
    refuse([*problems, *keys.not_to_rebuild(keys.to_rebuild(foreign, oids))])
    staged = [stage(live, source, shape, number) for number, shape in enumerate(shapes)]
    by_number = {each.shape.table.oid: each for each in staged}
    require_no_dangling(keys.dangling(live, foreign, by_number), tables)
    shown = [each.difference(live) for each in staged]
    told = [note for shape in shapes for note in shape.notes]
    told += around.notes(live, [shape.table for shape in shapes])
    return PostgresqlReplacement(Exchange(live, source, staged, foreign, shown), told)


def _shapes(
    live: Connection, source: Connection, tables: Sequence[str]
) -> tuple[list[Shape], list[str]]:
    known = {str(table): table for table in find.relations_of(live)}
    found = [shape_of(live, source, known[name]) for name in tables]
    return [shape for shape, _ in found], [each for _, problems in found for each in problems]


@contextmanager
def _translated(live: Connection) -> Iterator[None]:
    """What the server refuses has changed nothing; where it went away, nobody knows."""
    try:
        yield
    except psycopg.Error as error:
        if live.closed:
            raise DatabaseUnavailable(
                f"The connection to the server was lost: {error_text(error)}"
            ) from error
        raise RestoreFailed(
            f"The server refused: {error_text(error)}\nNothing was changed."
        ) from error
