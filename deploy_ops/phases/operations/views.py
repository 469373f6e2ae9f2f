"""A view under the name that a table had: what old code goes on reading and writing."""

from collections.abc import Mapping

from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.catalog import Catalog

COMMENT = "Old name of a table, for code of the release before (deploy_ops)"
_COLUMNS = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_GRANTS = """
    SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
        privilege_type, attname, is_grantable
    FROM (SELECT oid, relowner, relacl AS acl, NULL AS attname FROM pg_class
        UNION ALL SELECT pg_class.oid, relowner, attacl, attname FROM pg_class
        JOIN pg_attribute ON attrelid = pg_class.oid) AS given, aclexplode(acl)
    WHERE oid = to_regclass(%s) AND grantee <> relowner
        AND privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
"""
_OWNER = """
    SELECT quote_ident(pg_get_userbyid(relowner)) FROM pg_class
    WHERE oid = to_regclass(%s) AND relowner <> current_user::regrole
"""


def kind_of(change: Change, name: str) -> str | None:
    """The kind of a relation (`Catalog.kind`)."""
    return Catalog(change.connection, name).kind()


def create_view(change: Change, view: str, table: str, columns: Mapping[str, str]) -> None:
    """Make the view, unless it is there; `columns` have other names in the table than in it.

    Its statements run with the rights of who makes them, and on the table's own defaults; grants
    and owner are the table's.
    """
    is_shown = change.editor.collect_sql
    if not is_shown and kind_of(change, view) == "v":
        return
    named, quoted = {now: was for was, now in columns.items()}, change.quote(view)
    there = table if not is_shown or kind_of(change, table) else view
    with change.connection.cursor() as cursor:
        cursor.execute(_COLUMNS, [change.quote(there)])
        listed = [columns.get(name, name) for (name,) in cursor.fetchall()]
    selected = ", ".join(_as(change, name, named.get(name, name)) for name in listed) or "*"
    change.execute(
        f"CREATE VIEW {quoted} WITH (security_invoker = true) AS"
        f" SELECT {selected} FROM {change.quote(table)}"
    )
    change.execute(f"COMMENT ON VIEW {quoted} IS '{COMMENT}'")
    if not is_shown:
        _grant(change, quoted, table, named)


def drop_view(change: Change, view: str) -> None:
    """Drop it, if it is a view."""
    if change.editor.collect_sql or kind_of(change, view) == "v":
        change.execute(f"DROP VIEW {change.quote(view)}")


def _as(change: Change, column: str, name: str) -> str:
    quoted = change.quote(column)
    return quoted if column == name else f"{quoted} AS {change.quote(name)}"


def _grant(change: Change, view: str, table: str, named: Mapping[str, str]) -> None:
    with change.connection.cursor() as cursor:
        cursor.execute(_GRANTS, [change.quote(table)])
        grants = cursor.fetchall()
        cursor.execute(_OWNER, [change.quote(table)])
        owner = cursor.fetchone()
    for role, privilege, column, may_grant in grants:
        of = f" ({change.quote(named.get(column, column))})" if column else ""
        option = " WITH GRANT OPTION" if may_grant else ""
        change.execute(f"GRANT {privilege}{of} ON {view} TO {role}{option}")
    if owner is not None:
        change.execute(f"ALTER VIEW {view} OWNER TO {owner[0]}")
