"""What a database needs around it: extensions, roles that own or are named, subscriptions."""

from deploy_ops.databases.base import Json
from deploy_ops.databases.postgresql.server import Connection, scalar
from deploy_ops.databases.postgresql.subscriptions import SUBSCRIPTIONS
from deploy_ops.databases.postgresql.tables import large_objects_of
from deploy_ops.databases.postgresql.user_tables import IN_USER_SCHEMA, not_of_extension

EXTENSIONS = """
    SELECT extname, extversion FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY extname
"""
# All that pg_dump gives an owner. Read from each catalog, since pg_shdepend does not list what the
# bootstrap superuser owns.
_CATALOGS = """
    pg_event_trigger.evtowner pg_publication.pubowner pg_foreign_data_wrapper.fdwowner
    pg_foreign_server.srvowner pg_language.lanowner pg_proc.proowner pg_operator.oprowner
    pg_opclass.opcowner pg_opfamily.opfowner pg_collation.collowner pg_conversion.conowner
    pg_ts_dict.dictowner pg_ts_config.cfgowner pg_statistic_ext.stxowner
""".split()
_EACH = " UNION ALL ".join(
    f"SELECT tableoid, oid, {owner} FROM {catalog}"
    for catalog, owner in (each.split(".") for each in _CATALOGS)
)
# Schema public is the user's, and numbers of large objects are chosen. Neither is in a schema.
_WITH_ANY_NUMBER = "(classid IN ('pg_namespace'::regclass, 'pg_largeobject'::regclass))"
OWNED = f"""
    SELECT classid, oid, owner FROM (
        SELECT relation.tableoid, relation.oid, relowner FROM pg_class AS relation
            JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
            WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND {IN_USER_SCHEMA}
        UNION ALL SELECT tableoid, oid, typowner FROM pg_type
            WHERE typcategory <> 'A' AND typtype <> 'm'
            AND (typrelid = 0 OR (SELECT relkind = 'c' FROM pg_class WHERE oid = typrelid))
        UNION ALL SELECT tableoid, oid, nspowner FROM pg_namespace AS namespace
            WHERE {IN_USER_SCHEMA}
        UNION ALL SELECT 'pg_largeobject'::regclass, oid, lomowner FROM pg_largeobject_metadata
        UNION ALL {_EACH}
    ) AS object (classid, oid, owner)
    WHERE (object.oid >= 16384 OR {_WITH_ANY_NUMBER})
      AND owner <> 'pg_database_owner'::regrole
      AND {not_of_extension("object.classid", "object.oid")}
"""
OWNERS = f"SELECT DISTINCT pg_get_userbyid(owner) FROM ({OWNED}) AS owned ORDER BY 1"
# An ordinary role gives a thing only to an owner that may create in its schema, and pg_restore
# grants at the end: so far only the schema's owner may.
OWNERS_WITHOUT_CREATE = f"""
    SELECT DISTINCT pg_get_userbyid(owner), kind.schema
    FROM ({OWNED}) AS owned, pg_identify_object(classid, owned.oid, 0) AS kind
        JOIN pg_namespace AS namespace ON namespace.nspname = kind.schema
    WHERE NOT {_WITH_ANY_NUMBER} AND NOT pg_has_role(owner, CASE
        WHEN nspowner <> 'pg_database_owner'::regrole THEN nspowner
        ELSE (SELECT datdba FROM pg_database WHERE datname = current_database()) END, 'USAGE')
    ORDER BY 1, 2
"""
# Owners, grantees and the subjects of policies; what the bootstrap superuser has is not listed.
ROLES = """
    SELECT DISTINCT pg_get_userbyid(refobjid) FROM pg_shdepend
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND refclassid = 'pg_authid'::regclass ORDER BY 1
"""
# Their statements name roles, and no option of pg_restore leaves those out.
NAMED_ROLES = """
    SELECT pg_get_userbyid(role) FROM pg_policy, unnest(polroles) AS role WHERE role <> 0
    UNION SELECT usename FROM pg_user_mappings WHERE umuser <> 0 ORDER BY 1
"""
# What PostgreSQL lets only superusers create, apart from extensions.
SUPERUSER_OBJECTS = f"""
    SELECT kind, classid, oid FROM (
        SELECT 'event trigger', tableoid, oid FROM pg_event_trigger
        UNION ALL SELECT 'publication of all tables', tableoid, oid FROM pg_publication
            WHERE puballtables
        UNION ALL SELECT DISTINCT 'publication of a schema', 'pg_publication'::regclass::oid, pnpubid
            FROM pg_publication_namespace
        UNION ALL SELECT 'foreign-data wrapper', tableoid, oid FROM pg_foreign_data_wrapper
        UNION ALL SELECT 'operator family', tableoid, oid FROM pg_opfamily
        UNION ALL SELECT 'leakproof function', tableoid, oid FROM pg_proc WHERE proleakproof
        UNION ALL SELECT 'function in an untrusted language', pg_proc.tableoid, pg_proc.oid
            FROM pg_proc JOIN pg_language ON pg_language.oid = prolang WHERE NOT lanpltrusted
    ) AS object (kind, classid, oid)
    WHERE object.oid >= 16384 AND {not_of_extension("object.classid", "object.oid")}
"""
SUPERUSER_ONLY = f"""
    SELECT kind, (pg_identify_object(classid, oid, 0)).identity
    FROM ({SUPERUSER_OBJECTS}) AS only_theirs ORDER BY 1, 2
"""
# What one transaction that creates all of it holds locks on.
LOCKABLE = """
    SELECT (SELECT count(*) FROM pg_class WHERE oid >= 16384)
        + (SELECT count(*) FROM pg_proc WHERE oid >= 16384)
        + (SELECT count(*) FROM pg_type WHERE oid >= 16384)
        + (SELECT count(*) FROM pg_largeobject_metadata)
"""


def surroundings_of(connection: Connection) -> Json:
    """What the database needs around it, and how many large objects it has."""
    owners = _column(connection, OWNERS)
    extensions = connection.execute(EXTENSIONS).fetchall()
    return {
        "extensions": {str(name): str(version) for name, version in extensions},
        "owners": owners,
        "roles": sorted({*owners, *_column(connection, ROLES)}),
        "owners_without_create": rows_of(connection, OWNERS_WITHOUT_CREATE),
        "named_roles": _column(connection, NAMED_ROLES),
        "superuser_only": rows_of(connection, SUPERUSER_ONLY),
        "subscriptions": _column(connection, SUBSCRIPTIONS),
        "large_objects": large_objects_of(connection),
        "lockable": scalar(connection, LOCKABLE),
        "has_public": scalar(connection, "SELECT to_regnamespace('public') IS NOT NULL"),
    }


def rows_of(connection: Connection, query: str) -> list[list[str]]:
    """Rows of text, as a manifest has them."""
    return [list(row) for row in connection.execute(query).fetchall()]


def is_superuser(connection: Connection) -> bool:
    """Whether the session's role is one."""
    query = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
    return bool(scalar(connection, query))


def giving(connection: Connection) -> str:
    """The privilege on a role that giving it an object needs: membership with SET since 16."""
    return "SET" if connection.info.server_version >= 160000 else "MEMBER"


def _column(connection: Connection, query: str) -> list[str]:
    return [value for (value,) in connection.execute(query).fetchall()]
