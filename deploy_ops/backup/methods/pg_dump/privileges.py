"""What the role of a dump may not read, with the statements that let it."""

from collections.abc import Iterator

from deploy_ops.databases.postgresql.server import Connection
from deploy_ops.databases.postgresql.user_tables import USER_TABLE

SHOWN = 5

# Each row: what it is, and the statement that lets the role read it.
UNREADABLE = f"""
    SELECT nspname || '.' || relname, concat_ws(' ',
        CASE WHEN NOT has_schema_privilege(relnamespace, 'USAGE')
            THEN format('GRANT USAGE ON SCHEMA %I TO %I;', nspname, current_user) END,
        CASE WHEN NOT has_table_privilege(relation.oid, 'SELECT')
            THEN format('GRANT SELECT ON %I.%I TO %I;', nspname, relname, current_user) END)
    FROM pg_class AS relation
    JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
    WHERE {USER_TABLE} AND NOT (has_schema_privilege(relnamespace, 'USAGE')
        AND has_table_privilege(relation.oid, 'SELECT')) ORDER BY 1
"""
ROW_POLICIES = f"""
    SELECT nspname || '.' || relname, format('ALTER ROLE %I BYPASSRLS;', current_user)
    FROM pg_class AS relation
    JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
    WHERE {USER_TABLE} AND row_security_active(relation.oid) ORDER BY 1
"""
LARGE_OBJECTS = """
    SELECT oid::text || ' of ' || pg_get_userbyid(lomowner),
        format('GRANT SELECT ON LARGE OBJECT %s TO %I;', oid, current_user)
    FROM pg_largeobject_metadata
    WHERE NOT pg_has_role(lomowner, 'USAGE') AND NOT EXISTS (
        SELECT FROM aclexplode(lomacl) WHERE privilege_type = 'SELECT'
        AND (grantee = 0 OR pg_has_role(grantee, 'USAGE'))) ORDER BY oid
"""


def missing_to_read(connection: Connection) -> Iterator[str]:
    """A sentence for each kind of thing that a dump by this role would lack."""
    yield from _listed(connection, UNREADABLE, "Tables that this role may not read")
    yield from _listed(connection, ROW_POLICIES, "Row policies would hide rows from the backup in")
    yield from _listed(connection, LARGE_OBJECTS, "Large objects that this role may not read")


def _listed(connection: Connection, query: str, what: str) -> Iterator[str]:
    found = connection.execute(query).fetchall()
    if not found:
        return
    shown, left = found[:SHOWN], len(found) - SHOWN
    more = f" and {left} more" if left > 0 else ""
    statements = list(dict.fromkeys(statement for _, statement in shown))
    if left > 0 and len(statements) > 1:
        statements.append(f"-- and so on for the other {left}")
    yield (
        f"{what}: {', '.join(name for name, _ in shown)}{more}. As a superuser, run:"
        + "".join(f"\n    {statement}" for statement in statements)
    )
