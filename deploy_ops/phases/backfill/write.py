"""Write the rows of one range by one UPDATE, from expressions or from values of Python."""

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.phases.backfill.filling import Computed, Sql
from deploy_ops.phases.backfill.ranges import Range, Statements


def write_range(connection: BaseDatabaseWrapper, statements: Statements, within: Range) -> int:
    """Write, in the transaction of the connection; return how many rows."""
    assignments = statements.filling.assignments
    if not isinstance(assignments, Computed):
        return _execute(connection, statements.update(within))
    rows = list(assignments.compute(statements.select(within)))
    if not rows:
        return 0
    columns = statements.filling.key_columns + assignments.columns
    arrays = tuple(
        _texts(connection, values) if statements.is_array(column) else values
        for column, values in zip(columns, map(list, zip(*rows, strict=True)), strict=True)
    )
    return _execute(connection, statements.write(arrays))


def _texts(connection: BaseDatabaseWrapper, values: list[Any]) -> list[str | None]:
    """Arrays as PostgreSQL writes them, `{1,2}`."""
    from psycopg.adapt import PyFormat, Transformer  # migrations of projects without it load this

    adapt = Transformer(connection.connection)
    return [
        (
            None
            if value is None
            else bytes(adapt.get_dumper(value, PyFormat.TEXT).dump(value) or b"").decode()
        )
        for value in values
    ]


def _execute(connection: BaseDatabaseWrapper, sql: Sql) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql.text, sql.params)
        return int(cursor.rowcount)
