"""What the catalog says of one column besides its indexes and constraints."""

from dataclasses import dataclass
from typing import Any

from django.db import transaction

from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.catalog import Catalog

_FACTS = """
    SELECT pg_get_expr(adbin, adrelid), col_description(attrelid, attnum),
        CASE WHEN attstattarget >= 0 THEN attstattarget END, array_to_string(attoptions, ', '),
        (SELECT conname FROM pg_constraint
            WHERE conrelid = attrelid AND contype = 'n' AND conkey = ARRAY[attnum])
    FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attrelid = to_regclass(%s) AND attname = %s::name AND NOT attisdropped
"""
_TYPES = """
    SELECT count(*) = 2 AND count(DISTINCT (atttypid, atttypmod, attcollation)) = 1
    FROM pg_attribute
    WHERE (attrelid, attname) IN (
        (to_regclass(%s), %s::name), ('deploy_ops_probe'::regclass, 'probe'))
"""
_TYPE = """
    SELECT format_type(atttypid, atttypmod) || CASE WHEN attcollation IN (0, typcollation) THEN ''
        ELSE ' COLLATE ' || attcollation::regcollation END
    FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
    WHERE attrelid = to_regclass(%s) AND attname = %s::name AND NOT attisdropped
"""
_GRANTS = """
    SELECT privilege_type, CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
        is_grantable
    FROM pg_attribute, aclexplode(attacl)
    WHERE attrelid = to_regclass(%s) AND attname = %s::name AND NOT attisdropped
"""
_TRIGGERS = """
    SELECT quote_ident(tgname) FROM pg_trigger JOIN pg_attribute ON attrelid = tgrelid
    WHERE tgrelid = to_regclass(%s) AND attname = %s::name AND attnum = ANY (tgattr)
        AND NOT tgisinternal ORDER BY tgname
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """None stands for what a column does not have; `not_null` is a name, from PostgreSQL 18 on."""

    default: str | None = None
    comment: str | None = None
    statistics: int | None = None
    options: str | None = None
    not_null: str | None = None


def facts_of(change: Change, table: str, column: str) -> Facts:
    """Look them up; those of a column that is not there (sqlmigrate) are none."""
    with change.connection.cursor() as cursor:
        cursor.execute(_FACTS, [change.quote(table), column])
        row = cursor.fetchone()
    return Facts(*row) if row else Facts()


def column_exists(change: Change, table: str, column: str) -> bool:
    """Whether the table has the column."""
    return Catalog(change.connection, table).is_not_null(column) is not None


def type_of(change: Change, field: Any) -> str:
    """The type of a field's column with its collation, as a definition has it."""
    parameters = field.db_parameters(connection=change.connection)
    collation = parameters.get("collation")
    collate = f" COLLATE {change.quote(collation)}" if collation else ""
    return f"{parameters['type']}{collate}"


def type_there(change: Change, table: str, column: str) -> str | None:
    """The type that a column has, with its collation; None where there is none (sqlmigrate)."""
    with change.connection.cursor() as cursor:
        cursor.execute(_TYPE, [change.quote(table), column])
        row = cursor.fetchone()
    return row[0] if row else None


def triggers_of(change: Change, table: str, column: str) -> list[str]:
    """Triggers that fire on UPDATE OF a column, quoted."""
    with change.connection.cursor() as cursor:
        cursor.execute(_TRIGGERS, [change.quote(table), column])
        return [name for (name,) in cursor.fetchall()]


def copy_grants(change: Change, table: str, column: str, second: str) -> None:
    """Give whoever has privileges on a column alone the same ones on a second one."""
    with change.connection.cursor() as cursor:
        cursor.execute(_GRANTS, [change.quote(table), column])
        found = cursor.fetchall()
    for privilege, role, is_grantable in found:
        what = f"{privilege} ({change.quote(second)}) ON {change.quote(table)}"
        option = " WITH GRANT OPTION" if is_grantable else ""
        change.execute(f"GRANT {what} TO {role}{option}")


def has_type(change: Change, table: str, field: Any) -> bool:
    """Whether the column of a field has the field's type and collation."""
    alias = change.connection.alias
    with transaction.atomic(alias), change.connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE deploy_ops_probe (probe {type_of(change, field)})")
        cursor.execute(_TYPES, [change.quote(table), field.column])
        (is_same,) = cursor.fetchone()
        transaction.set_rollback(True, alias)
    return bool(is_same)
