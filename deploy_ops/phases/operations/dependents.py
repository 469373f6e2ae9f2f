"""What hangs on a column: its indexes and constraints, and what stands in the way of another type.

Definitions for another column are PostgreSQL's own: each thing is made on an empty copy of the
table, whose column is then renamed. So expressions, conditions and classes of operators come along.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from django.db import transaction

from deploy_ops.errors import NotOnline
from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.views import COMMENT

_COLUMN = """
    (SELECT attrelid, attnum FROM pg_attribute WHERE attrelid = to_regclass(%s)
        AND attname = %s::name AND NOT attisdropped) AS own
"""
_INDEXES = f"""
    SELECT index.relname, indisunique, pg_get_indexdef(index.oid), pg_get_expr(indpred, indrelid),
        spcname, contype, condeferrable, condeferred
    FROM {_COLUMN} JOIN pg_index ON indrelid = own.attrelid AND indisvalid
    JOIN pg_class AS index ON index.oid = indexrelid
    LEFT JOIN pg_tablespace AS space ON space.oid = index.reltablespace
    LEFT JOIN pg_constraint ON conindid = index.oid AND conrelid = own.attrelid
        AND contype IN ('u', 'p', 'x')
    WHERE EXISTS (SELECT FROM pg_depend WHERE refobjid = own.attrelid
        AND refobjsubid = own.attnum AND objid IN (index.oid, pg_constraint.oid))
    ORDER BY index.relname
"""
_CHECKS = f"""
    SELECT conname, pg_get_constraintdef(pg_constraint.oid), convalidated FROM {_COLUMN}
    JOIN pg_constraint ON conrelid = own.attrelid AND contype = 'c'
        AND own.attnum = ANY(conkey) AND NOT starts_with(conname, 'deploy_ops_')
    ORDER BY conname
"""
# All but what is brought along: indexes, checks, unique constraints, NOT NULL, the default.
_OTHERS = f"""
    SELECT DISTINCT CASE WHEN rewrite.ev_class IS NULL
        THEN pg_describe_object(classid, objid, objsubid)
        ELSE pg_describe_object('pg_class'::regclass, rewrite.ev_class, 0) END
    FROM {_COLUMN} JOIN pg_depend ON refclassid = 'pg_class'::regclass
        AND refobjid = own.attrelid AND refobjsubid = own.attnum
    LEFT JOIN pg_rewrite AS rewrite ON classid = 'pg_rewrite'::regclass AND rewrite.oid = objid
    LEFT JOIN pg_constraint ON classid = 'pg_constraint'::regclass AND pg_constraint.oid = objid
    LEFT JOIN pg_index ON classid = 'pg_class'::regclass AND indexrelid = objid
    LEFT JOIN pg_attrdef ON classid = 'pg_attrdef'::regclass AND pg_attrdef.oid = objid
    WHERE coalesce(contype NOT IN ('c', 'u', 'n'), TRUE) AND indexrelid IS NULL
        AND (pg_attrdef.oid IS NULL OR adnum <> own.attnum)
    UNION ALL
    SELECT 'replica identity ' || indexrelid::regclass FROM {_COLUMN} JOIN pg_index
    ON indrelid = own.attrelid AND indisreplident AND own.attnum = ANY(indkey)
    UNION ALL
    SELECT 'privileges on the column' FROM {_COLUMN} JOIN pg_attribute AS a
    ON a.attrelid = own.attrelid AND a.attnum = own.attnum AND attacl IS NOT NULL
"""
_WAITS = """
    SELECT EXISTS (SELECT FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
        WHERE tgrelid = to_regclass(%s) AND tgname ~ '^deploy_ops_[0-9]+_(rename|type)_'
            AND tgname <> %s AND strpos(prosrc, 'NEW.' || %s) > 0)
        OR EXISTS (SELECT FROM pg_depend JOIN pg_rewrite ON pg_rewrite.oid = objid
            WHERE refobjid = to_regclass(%s) AND classid = 'pg_rewrite'::regclass
            AND obj_description(ev_class, 'pg_class') = %s)
"""
_FOREIGN_KEYS = f"""
    SELECT quote_ident(conname) FROM {_COLUMN} JOIN pg_constraint ON conrelid = own.attrelid
        AND contype = 'f' AND own.attnum = ANY(conkey)
"""
_PROBE = "deploy_ops_probe"


class Kind(Enum):
    """What hangs on a column."""

    INDEX = "index"
    UNIQUE = "unique constraint"
    CHECK = "check"


@dataclass(frozen=True, slots=True)
class Dependent:
    """An index or a constraint; `definition` is what stands in SQL behind the table's name."""

    kind: Kind
    name: str
    definition: str
    is_unique: bool = False
    tablespace: str | None = None
    where: str | None = None
    ending: str = ""  # of a constraint: when it is checked
    is_valid: bool = True

    def as_index(self, name: str, table: str, how: str = "") -> str:
        """CREATE INDEX under another name; names are quoted."""
        unique = "UNIQUE " if self.is_unique else ""
        space = f" TABLESPACE {self.tablespace}" if self.tablespace else ""
        where = f" WHERE {self.where}" if self.where else ""
        return f"CREATE {unique}INDEX {how}{name} ON {table} USING {self.definition}{space}{where}"

    def as_check(self, name: str, table: str) -> str:
        """ADD CONSTRAINT under another name; names are quoted."""
        return f"ALTER TABLE {table} ADD CONSTRAINT {name} {self.definition}"


def dependents_for(change: Change, table: str, column: str, second: str) -> list[Dependent]:
    """What hangs on a column, as it is to hang on the second one; nothing where there is none."""
    found = _dependents(change, table, column)
    if not found:
        return []
    quote, alias = change.quote, change.connection.alias
    with transaction.atomic(alias), change.connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE {_PROBE} (LIKE {quote(table)})")
        cursor.execute(f"ALTER TABLE {_PROBE} DROP COLUMN IF EXISTS {quote(second)}")
        for number, each in enumerate(found):
            if each.kind is Kind.CHECK:
                cursor.execute(each.as_check(f"probe_{number}", _PROBE), None)
            else:
                cursor.execute(each.as_index(f"deploy_ops_probe_{number}", _PROBE), None)
        cursor.execute(f"ALTER TABLE {_PROBE} RENAME COLUMN {quote(column)} TO {quote(second)}")
        moved = [_moved(cursor, number, each) for number, each in enumerate(found)]
        transaction.set_rollback(True, alias)
    return moved


def check_dependents(change: Change, table: str, column: str, own_trigger: str = "") -> None:
    """Raise NotOnline for what a second column could not take over."""
    quoted = change.quote(table)
    with change.connection.cursor() as cursor:
        cursor.execute(_WAITS, [quoted, own_trigger, change.quote(column), quoted, COMMENT])
        (waits,) = cursor.fetchone()
        cursor.execute(_OTHERS, [quoted, column] * 3)
        others = sorted(name for (name,) in cursor.fetchall())
    if waits:
        raise NotOnline(
            f"{table}.{column} has a second name for old code, in a column or a view that goes in "
            "the contract phase. Nothing was changed. Run the contract phase first, then this "
            "migration:\n" + change.contract_command
        )
    if others:
        raise NotOnline(
            f"{table}.{column} is used by {', '.join(others)}, which the change of its type would "
            "lose. Nothing was changed. Drop that before, and create it again afterwards."
        )


def check_no_foreign_key(change: Change, table: str, column: str) -> None:
    """Raise NotOnline for a foreign key, which nothing here builds for another column."""
    for (name,) in _rows(change, _FOREIGN_KEYS, table, column):
        raise NotOnline(
            f"The foreign key {name} uses {table}.{column}, the second column of a renamed field, "
            "and would be dropped with that column. Nothing was changed. Reverse the migration "
            "that made the foreign key, run the contract phase, then apply it again."
        )


def has_indexes(change: Change, table: str, column: str) -> bool:
    """Whether the column is in an index."""
    return bool(_rows(change, _INDEXES, table, column))


def has_checks(change: Change, table: str, column: str) -> bool:
    """Whether the column is in a check."""
    return bool(_rows(change, _CHECKS, table, column))


def _dependents(change: Change, table: str, column: str) -> list[Dependent]:
    indexes = [_index(*row) for row in _rows(change, _INDEXES, table, column)]
    checks = _rows(change, _CHECKS, table, column)
    return [*indexes, *map(_check, checks)]


# pylint: disable-next=too-many-arguments,too-many-positional-arguments  # a row of the catalog
def _index(
    name: str,
    is_unique: bool,
    definition: str,
    where: str | None,
    tablespace: str | None,
    kind: str | None,
    deferrable: bool | None,
    deferred: bool | None,
) -> Dependent:
    if kind not in (None, "u"):
        raise NotOnline(
            f"{name} cannot be built for a column of another type while others write. Nothing was "
            "changed. Drop it before, and make it again afterwards."
        )
    ending = " DEFERRABLE" if deferrable else ""
    ending += " INITIALLY DEFERRED" if deferred else ""
    return Dependent(
        Kind.UNIQUE if kind else Kind.INDEX,
        name,
        _body(definition, where),
        is_unique,
        tablespace,
        where,
        ending,
    )


def _check(row: tuple[Any, ...]) -> Dependent:
    name, definition, is_valid = row
    return Dependent(Kind.CHECK, name, definition.removesuffix(" NOT VALID"), is_valid=is_valid)


def _moved(cursor: Any, number: int, each: Dependent) -> Dependent:
    if each.kind is Kind.CHECK:
        sql = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass"
        cursor.execute(f"{sql} AND conname = %s", [_PROBE, f"probe_{number}"])
        return replace(each, definition=cursor.fetchone()[0])
    cursor.execute(
        "SELECT pg_get_indexdef(indexrelid), pg_get_expr(indpred, indrelid) FROM pg_index"
        " WHERE indexrelid = %s::regclass",
        [f"deploy_ops_probe_{number}"],
    )
    definition, where = cursor.fetchone()
    return replace(each, definition=_body(definition, where), where=where)


def _body(definition: str, where: str | None) -> str:
    """What stands between the table and the condition."""
    body = definition.split(" USING ", 1)[1]
    return body.removesuffix(f" WHERE {where}") if where else body


def _rows(change: Change, sql: str, table: str, column: str) -> Sequence[tuple[Any, ...]]:
    with change.connection.cursor() as cursor:
        cursor.execute(sql, [change.quote(table), column])
        return list(cursor.fetchall())
