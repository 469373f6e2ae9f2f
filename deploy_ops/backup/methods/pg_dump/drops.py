"""Emptying a database in one transaction: all that pg_dump dumps, also outside schemas.

pg_restore creates everything anew and knows nothing of what is newer than the dump, so what is
there has to be gone first. What belongs to an extension goes with it.
"""

from collections.abc import Iterator

from psycopg import sql

from deploy_ops.databases.postgresql.server import Connection
from deploy_ops.databases.postgresql.user_tables import IN_USER_SCHEMA, not_of_extension

# Event triggers first, since they would fire on the drops. Then what uses types, while the types
# are there; then schemas; then what is in none.
_OBJECTS = f"""
    SELECT place, upper(kind.type), kind.identity, pg_has_role(owner, 'USAGE'),
           pg_get_userbyid(owner)
    FROM (
        SELECT 1 AS place, tableoid, oid, evtowner AS owner FROM pg_event_trigger
        UNION ALL SELECT 2, tableoid, oid, pubowner FROM pg_publication
        UNION ALL SELECT 3, tableoid, oid, NULL FROM pg_transform
        UNION ALL SELECT 4, tableoid, oid, NULL FROM pg_cast
        UNION ALL SELECT 5, tableoid, oid, extowner FROM pg_extension WHERE extname <> 'plpgsql'
        UNION ALL SELECT 6, tableoid, oid, nspowner FROM pg_namespace AS namespace
            WHERE {IN_USER_SCHEMA}
        UNION ALL SELECT 7, tableoid, oid, srvowner FROM pg_foreign_server
        UNION ALL SELECT 8, tableoid, oid, fdwowner FROM pg_foreign_data_wrapper
        UNION ALL SELECT 9, tableoid, oid, lanowner FROM pg_language
        UNION ALL SELECT 10, tableoid, oid, NULL FROM pg_am
    ) AS object, pg_identify_object(object.tableoid, object.oid, 0) AS kind
    WHERE (object.oid >= 16384 OR place = 6)
      AND {not_of_extension("object.tableoid", "object.oid")}
    ORDER BY 1, 3
"""
_KINDS = {"SERVER": "SERVER", "FOREIGN-DATA WRAPPER": "FOREIGN DATA WRAPPER"}
_FOREIGN_LARGE_OBJECTS = """
    SELECT count(*) FROM pg_largeobject_metadata WHERE NOT pg_has_role(lomowner, 'USAGE')
"""
_DEFAULT_PRIVILEGES = """
    SELECT DISTINCT pg_get_userbyid(defaclrole), defaclobjtype, grantee,
        CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee) END
    FROM pg_default_acl, aclexplode(defaclacl) WHERE defaclnamespace = 0 ORDER BY 1, 2, 3
"""
_FOREIGN_DEFAULT_PRIVILEGES = """
    SELECT DISTINCT pg_get_userbyid(defaclrole) FROM pg_default_acl
    WHERE NOT pg_has_role(defaclrole, 'USAGE') ORDER BY 1
"""
_PLURALS = {
    "r": "TABLES",
    "S": "SEQUENCES",
    "f": "FUNCTIONS",
    "T": "TYPES",
    "n": "SCHEMAS",
    "L": "LARGE OBJECTS",
}
# What a role and PUBLIC have without ALTER DEFAULT PRIVILEGES.
_BUILT_IN = {"f": "EXECUTE", "T": "USAGE"}
LARGE_OBJECTS = "SELECT lo_unlink(oid) FROM pg_largeobject_metadata"


def drop_statements(connection: Connection) -> Iterator[str]:
    """Say how to empty the connection's database, in an order that works."""
    yield from _default_privileges(connection)
    for _, kind, identity, _, _ in connection.execute(_OBJECTS).fetchall():
        yield f"DROP {_KINDS.get(kind, kind)} IF EXISTS {identity} CASCADE"
    yield LARGE_OBJECTS


def not_droppable(connection: Connection) -> Iterator[str]:
    """Name what the connection's role may not drop; a sentence each."""
    for _, kind, identity, is_ours, owner in connection.execute(_OBJECTS).fetchall():
        if is_ours is False:
            yield f"{kind.capitalize()} {identity} belongs to {owner}"
    for (role,) in connection.execute(_FOREIGN_DEFAULT_PRIVILEGES).fetchall():
        yield f"The default privileges of role {role} are only its own to change"
    [(number,)] = connection.execute(_FOREIGN_LARGE_OBJECTS).fetchall()
    if number:
        yield f"{number} large objects belong to other roles"


def _default_privileges(connection: Connection) -> Iterator[str]:
    """Take back what was granted by default, so that new tables have only what the dump grants."""
    seen = set()
    for role, kind, _, grantee in connection.execute(_DEFAULT_PRIVILEGES).fetchall():
        seen.add((role, kind))
        to = sql.Identifier(grantee) if grantee else sql.SQL("PUBLIC")
        yield _alter(connection, role, sql.SQL("REVOKE ALL ON {} FROM {}"), kind, to)
    for role, kind in sorted(seen):
        owner = sql.Identifier(role)
        yield _alter(connection, role, sql.SQL("GRANT ALL ON {} TO {}"), kind, owner)
        if kind in _BUILT_IN:
            grant = sql.SQL(f"GRANT {_BUILT_IN[kind]} ON {{}} TO {{}}")
            yield _alter(connection, role, grant, kind, sql.SQL("PUBLIC"))


def _alter(
    connection: Connection, role: str, what: sql.SQL, kind: str, grantee: sql.Composable
) -> str:
    statement = sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} {}").format(
        sql.Identifier(role), what.format(sql.SQL(_PLURALS[kind]), grantee)
    )
    return statement.as_string(connection)
