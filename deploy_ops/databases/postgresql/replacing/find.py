"""Tables by the names that people give them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from deploy_ops.databases.base import Counts
from deploy_ops.databases.postgresql.schema import KEPT_SCHEMA
from deploy_ops.databases.postgresql.server import Connection
from deploy_ops.databases.postgresql.user_tables import USER_RELATION
from deploy_ops.databases.rows import not_found
from deploy_ops.errors import UsageError

RELATIONS = f"""
    SELECT relation.oid::bigint, nspname, relname, relkind::text, pg_table_is_visible(relation.oid)
    FROM pg_class AS relation JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND relpersistence <> 't'
        AND nspname <> '{KEPT_SCHEMA}' AND {USER_RELATION} ORDER BY nspname, relname
"""
QUOTED = re.compile(r'(?:(?:"((?:[^"]|"")+)"|([^".]+))\.)?(?:"((?:[^"]|"")+)"|([^".]+))')
TABLE, PARTITIONED = "r", "p"


@dataclass(frozen=True, slots=True)
class Table:
    """A table or something like it; `kind` is pg_class.relkind, `is_visible` without its schema."""

    oid: int
    schema: str
    name: str
    kind: str
    is_visible: bool

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def sql(self) -> sql.Identifier:
        """The name for a statement."""
        return sql.Identifier(self.schema, self.name)


def relations_of(connection: Connection) -> list[Table]:
    """All tables and views of the user."""
    return [Table(*row) for row in connection.execute(RELATIONS).fetchall()]


def find_table(given: str, known: Sequence[Table], where: str, alias: str) -> Table:
    """The table of a name: as it is, with schema, or quoted as SQL and Django's db_table are."""
    schema, name = _parts(given)
    found = [
        table
        for table in known
        if given == str(table)
        or (given == table.name and table.is_visible)
        or (name == table.name and (schema == table.schema or schema is None and table.is_visible))
    ]
    if len(found) > 1:
        spelled = ", ".join(f'"{each.schema}"."{each.name}"' for each in found)
        raise UsageError(
            f"{given} can be each of {spelled}. Nothing was changed. Give it in this form."
        )
    if not found:
        raise not_found(given, where, [str(each) for each in known], alias)
    return found[0]


def require_saved(table: Table, saved: Counts, alias: str) -> None:
    """Raise UsageError for a table that the backup does not have, before that is restored.

    Partitioned tables and views have no rows of their own, so that a manifest does not have them.
    """
    if table.kind == TABLE and str(table) not in saved:
        raise not_found(str(table), "the backup", [*saved], alias)


def _parts(given: str) -> tuple[str | None, str]:
    """Schema and name of an SQL name, each quoted or not."""
    match = QUOTED.fullmatch(given)
    if match is None:
        return None, given
    schema = match[1] or match[2]
    name = match[3] or match[4]
    return schema and schema.replace('""', '"'), name.replace('""', '"')
