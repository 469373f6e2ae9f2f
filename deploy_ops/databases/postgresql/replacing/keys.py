"""Foreign keys into and out of the tables, in both directions.

The server checks them in the end. Before that it is asked which rows would point to nothing, since
its own error names one of them, and since keys with an action (CASCADE, SET NULL) would let rows
elsewhere go instead of complaining.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from psycopg import sql

from deploy_ops.databases.postgresql.replacing.staging import Staged
from deploy_ops.databases.postgresql.server import Connection
from deploy_ops.databases.rows import SHOWN_KEYS, Dangling

KEYS = """
    SELECT conname, conrelid::bigint, child_space.nspname, child.relname,
        confrelid::bigint, parent_space.nspname, parent.relname,
        ARRAY(SELECT attname::text FROM unnest(conkey) WITH ORDINALITY AS part (number, place)
            JOIN pg_attribute ON attrelid = conrelid AND attnum = part.number ORDER BY place),
        ARRAY(SELECT attname::text FROM unnest(confkey) WITH ORDINALITY AS part (number, place)
            JOIN pg_attribute ON attrelid = confrelid AND attnum = part.number ORDER BY place),
        condeferrable AND confdeltype = 'a', pg_get_constraintdef(key.oid),
        obj_description(key.oid, 'pg_constraint'), pg_has_role(child.relowner, 'USAGE'),
        to_jsonb(key) @> '{"conperiod": true}' OR to_jsonb(key) @> '{"conenforced": false}'
    FROM pg_constraint AS key
    JOIN pg_class AS child ON child.oid = conrelid
    JOIN pg_namespace AS child_space ON child_space.oid = child.relnamespace
    JOIN pg_class AS parent ON parent.oid = confrelid
    JOIN pg_namespace AS parent_space ON parent_space.oid = parent.relnamespace
    WHERE contype = 'f' AND conparentid = 0
        AND (conrelid = ANY (%(oids)s) OR confrelid = ANY (%(oids)s))
    ORDER BY 3, 4, 1
"""


@dataclass(frozen=True, slots=True)
class ForeignKey:  # pylint: disable=too-many-instance-attributes  # a row of pg_constraint
    """One foreign key; what cannot wait for the end of a transaction is not `can_wait`.

    `is_other` are those that a comparison of columns says nothing about.
    """

    name: str
    child_oid: int
    child_schema: str
    child: str
    parent_oid: int
    parent_schema: str
    parent: str
    columns: Sequence[str]
    parent_columns: Sequence[str]
    can_wait: bool
    definition: str
    comment: str | None
    is_ours: bool
    is_other: bool

    @property
    def child_sql(self) -> sql.Identifier:
        """The table that points, for a statement."""
        return sql.Identifier(self.child_schema, self.child)

    @property
    def parent_sql(self) -> sql.Identifier:
        """The table that is pointed to."""
        return sql.Identifier(self.parent_schema, self.parent)

    def drop(self) -> sql.Composed:
        """Statement that takes it away."""
        return sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
            self.child_sql, sql.Identifier(self.name)
        )

    def add(self) -> Iterator[sql.Composed]:
        """Statements that make it again as it was; the server checks every row for it."""
        name, table = sql.Identifier(self.name), self.child_sql
        yield sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(
            table, name, sql.SQL(self.definition)
        )
        if self.comment is not None:
            yield sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}").format(
                name, table, sql.Literal(self.comment)
            )


def foreign_keys(live: Connection, oids: Sequence[int]) -> list[ForeignKey]:
    """All that point into the tables or out of them."""
    rows: list[Any] = live.execute(KEYS, {"oids": list(oids)}).fetchall()
    return [ForeignKey(*row) for row in rows]


def to_rebuild(keys: Sequence[ForeignKey], oids: Sequence[int]) -> list[ForeignKey]:
    """Those into the tables that would act on a row that goes, or not wait until it is back."""
    return [key for key in keys if key.parent_oid in oids and not key.can_wait]


def not_to_rebuild(keys: Sequence[ForeignKey]) -> Iterator[str]:
    """Those that only another role can make again."""
    for key in keys:
        if not key.is_ours:
            yield (
                f"The foreign key {key.name} of {key.child_schema}.{key.child} is checked at once, "
                "so that it has to be dropped and made again in the same transaction, and the "
                "table belongs to another role. Restore as its owner: give it in "
                "DEPLOY_OPS_DIRECT_DATABASE_URL."
            )


def dangling(
    live: Connection, keys: Sequence[ForeignKey], staged: Mapping[int, Staged]
) -> list[Dangling]:
    """Rows of the backup that point to nothing, and rows elsewhere that the backup leaves alone."""
    found = (_dangling(live, key, staged) for key in keys if not key.is_other)
    return [each for each in found if each is not None]


def without_keys(found: Sequence[Dangling]) -> list[Dangling]:
    """The same without values of rows."""
    return [replace(each, keys=()) for each in found]


def _dangling(live: Connection, key: ForeignKey, staged: Mapping[int, Staged]) -> Dangling | None:
    child, parent = staged.get(key.child_oid), staged.get(key.parent_oid)
    if child and not {*key.columns} <= {*child.shape.shared}:
        return None  # a column that the backup does not have: the server decides
    if parent and not {*key.parent_columns} <= {*parent.shape.shared}:
        return None
    pairs = zip(key.columns, key.parent_columns, strict=True)
    query = sql.SQL(
        """SELECT count(*), (array_agg(DISTINCT concat_ws(', ', {})))[:{}] FROM {} AS child
        WHERE {} AND NOT EXISTS (SELECT FROM {} AS parent WHERE {})"""
    ).format(
        sql.SQL(", ").join(sql.Identifier("child", name) for name in key.columns),
        sql.Literal(SHOWN_KEYS),
        child.name if child else key.child_sql,
        sql.SQL(" AND ").join(
            sql.SQL("{} IS NOT NULL").format(sql.Identifier("child", name)) for name in key.columns
        ),
        parent.name if parent else key.parent_sql,
        sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier("parent", to), sql.Identifier("child", name))
            for name, to in pairs
        ),
    )
    [(rows, values)] = live.execute(query).fetchall()
    if not rows:
        return None
    return Dangling(
        f"{key.child_schema}.{key.child}",
        ", ".join(key.columns),
        f"{key.parent_schema}.{key.parent}",
        rows,
        tuple(values),
        child is not None,
    )
