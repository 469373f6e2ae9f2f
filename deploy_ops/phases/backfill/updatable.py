"""Whether PostgreSQL takes an UPDATE of a table at all: asked of itself, before anything changes.

What a publication sends of an UPDATE has to tell the subscriber which row it was. Where it cannot
(no replica identity, a list of columns or a condition that does not fit it), every UPDATE fails.
"""

from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

_MAY_NOT = "42501"  # insufficient_privilege
# object_not_in_prerequisite_state, invalid_column_reference
_REFUSALS = frozenset({"55000", "42P10", _MAY_NOT})


def why_not_updatable(connection: BaseDatabaseWrapper, table: str, column: str) -> str:
    """What PostgreSQL says against it, with a way out; "" where rows can be updated.

    An EXPLAIN gets as far as these checks and runs nothing. Its condition is one that the planner
    does not know, so that it looks at each partition.
    """
    quoted, column = (connection.ops.quote_name(each) for each in (table, column))
    update = f"UPDATE {quoted} SET {column} = DEFAULT WHERE (SELECT FALSE)"
    try:
        with transaction.atomic(connection.alias), connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {update}", None)
    except DatabaseError as error:
        state = getattr(error.__cause__, "sqlstate", None)
        if state not in _REFUSALS:
            return ""  # a lock that others hold: the first batch will tell
        diagnostics = getattr(error.__cause__, "diag", None)
        detail = getattr(diagnostics, "message_detail", None) or ""
        said = getattr(diagnostics, "message_primary", None) or str(error)
        said = f"{said}. {detail}".strip().removesuffix(".")
        why = f"PostgreSQL takes no UPDATE of {table}: {said}. Nothing was changed."
        return f"{why} {'Migrate as its owner.' if state == _MAY_NOT else _way_out(quoted)}"
    return ""


def _way_out(quoted: str) -> str:
    return (
        "Let its publications tell rows apart by the primary key, which has to be among the "
        "columns that they send, and their conditions may name nothing else:\n"
        f"    ALTER TABLE {quoted} REPLICA IDENTITY DEFAULT;"
    )
