"""What belongs to a database but lies outside it, and is in no dump without --create.

Owner, ACL, connection limit, comment, IS_TEMPLATE, ALTER DATABASE SET, ALTER ROLE IN DATABASE SET,
encoding and locale. A restored database gets them from the live one, else from the manifest (all
of them are lost in a plain restore and swap: docs/decisions/0003).
"""

import re
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql

from deploy_ops.databases.base import Json
from deploy_ops.databases.postgresql.server import Connection, quoted
from deploy_ops.errors import RestoreRefused

PROPERTIES = """
    SELECT to_jsonb(d) - '{oid,datdba,dattablespace,datacl,encoding}'::text[] || jsonb_build_object(
        'owner', pg_get_userbyid(datdba),
        'encoding', pg_encoding_to_char(encoding),
        'tablespace', (SELECT spcname FROM pg_tablespace WHERE oid = dattablespace),
        'comment', shobj_description(d.oid, 'pg_database'),
        'acl', CASE WHEN datacl IS NOT NULL THEN (SELECT coalesce(jsonb_agg(jsonb_build_object(
            'grantee', CASE grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(grantee) END,
            'privilege', privilege_type, 'grantable', is_grantable)
            ORDER BY grantee, privilege_type), '[]') FROM aclexplode(datacl)) END,
        'settings', (SELECT coalesce(jsonb_agg(jsonb_build_object(
            'role', CASE setrole WHEN 0 THEN NULL ELSE pg_get_userbyid(setrole) END,
            'setting', setting) ORDER BY setrole, place), '[]')
            FROM pg_db_role_setting, unnest(setconfig) WITH ORDINALITY AS s (setting, place)
            WHERE setdatabase = d.oid))
    FROM pg_database AS d WHERE datname = %s
"""
KEPT = (
    "owner encoding tablespace comment acl settings datcollate datctype datlocprovider daticulocale"
    " datlocale daticurules datconnlimit datistemplate"
).split()
PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}

# These hold lists of quoted names; pg_dump knows them by name too (variable_is_guc_list_quote).
LISTS = frozenset(
    "local_preload_libraries search_path session_preload_libraries shared_preload_libraries"
    " temp_tablespaces unix_socket_directories".split()
)
_LIST_ITEM = re.compile(r'"((?:[^"]|"")*)"|([^,\s]+)')


def properties_of(connection: Connection, dbname: str) -> Json | None:
    """Read the properties of a database of this server, None if there is no such database.

    Raises RestoreRefused for texts that the connection's database cannot hold, and so not give on.
    """
    try:
        row = connection.execute(PROPERTIES, [dbname]).fetchone()
    except (UnicodeDecodeError, psycopg.DataError) as error:
        raise not_carried_over(connection, dbname) from error
    if row is None:
        return None
    return {name: value for name, value in row[0].items() if name in KEPT}


def not_carried_over(connection: Connection, dbname: str) -> RestoreRefused:
    """The error for texts of a database that were written in another encoding."""
    return RestoreRefused(
        f"The comment on database {dbname} or one of its settings is no text in the encoding of "
        f"database {connection.info.dbname}, from where they are carried over. Nothing was "
        "changed. Write them in ASCII, the comment so:\n"
        f"    COMMENT ON DATABASE {quoted(connection, dbname)} IS '...';"
    )


def create_statement(dbname: str, properties: Json) -> sql.Composed:
    """CREATE DATABASE from the untouched template, with the given encoding and locale."""
    # Naming pg_default asks for a privilege on it, which its use as the template's does not.
    tablespace = properties["tablespace"]
    options: dict[str, Any] = {
        "OWNER": sql.Identifier(properties["owner"]) if properties.get("owner") else None,
        "TEMPLATE": sql.Identifier("template0"),
        "ENCODING": properties["encoding"],
        "TABLESPACE": sql.Identifier(tablespace) if tablespace != "pg_default" else None,
        **_locale(properties),
    }
    words = [
        sql.SQL("{} {}").format(
            sql.SQL(name), value if isinstance(value, sql.Composable) else value
        )
        for name, value in options.items()
        if value is not None
    ]
    return sql.SQL("CREATE DATABASE {} {}").format(sql.Identifier(dbname), sql.SQL(" ").join(words))


def _locale(properties: Json) -> dict[str, Any]:
    provider = PROVIDERS[properties.get("datlocprovider") or "c"]
    # PostgreSQL 17 renamed daticulocale to datlocale, which also serves its builtin provider.
    locale = properties.get("datlocale") or properties.get("daticulocale")
    return {
        "LOCALE_PROVIDER": sql.SQL(provider),
        "LC_COLLATE": properties["datcollate"],
        "LC_CTYPE": properties["datctype"],
        "ICU_LOCALE": locale if provider == "icu" else None,
        "ICU_RULES": properties.get("daticurules"),
        "BUILTIN_LOCALE": locale if provider == "builtin" else None,
    }


def carry_over_statements(dbname: str, properties: Json) -> list[sql.Composed]:
    """Statements that give a database these properties; all can run in one transaction."""
    name = sql.Identifier(dbname)
    statements = [
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, sql.Literal(properties["comment"])),
        sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(
            name, sql.Literal(properties["datconnlimit"])
        ),
    ]
    if (is_template := properties.get("datistemplate")) is not None:
        statements.append(template_statement(dbname, is_template))
    statements += setting_statements(dbname, properties["settings"])
    return statements + _grants(name, properties)


def template_statement(dbname: str, is_template: bool) -> sql.Composed:
    """ALTER DATABASE: whether others may be made of it. One that is a template is not dropped."""
    statement = sql.SQL("ALTER DATABASE {} IS_TEMPLATE {}")
    return statement.format(sql.Identifier(dbname), sql.Literal(is_template))


def setting_statements(dbname: str, settings: Sequence[Json]) -> list[sql.Composed]:
    """ALTER DATABASE and ALTER ROLE IN DATABASE for each setting."""
    return [_setting(sql.Identifier(dbname), item) for item in settings]


def reset_statements(dbname: str, settings: Sequence[Json]) -> list[sql.Composed]:
    """Take all settings of the database away again, and those of these roles in it."""
    name = sql.Identifier(dbname)
    roles = sorted({item["role"] for item in settings if item["role"]})
    reset = sql.SQL("ALTER ROLE {} IN DATABASE {} RESET ALL")
    return [
        sql.SQL("ALTER DATABASE {} RESET ALL").format(name),
        *(reset.format(sql.Identifier(role), name) for role in roles),
    ]


def revoke_statements(dbname: str, properties: Json) -> list[sql.Composed]:
    """Take away what each role has been granted on the database."""
    name, grantees = sql.Identifier(dbname), {item["grantee"] for item in properties["acl"] or ()}
    revoke = sql.SQL("REVOKE ALL ON DATABASE {} FROM {}")
    return [
        revoke.format(name, sql.Identifier(grantee)) for grantee in sorted(filter(None, grantees))
    ]


def _setting(database: sql.Identifier, item: Json) -> sql.Composed:
    parameter, _, value = item["setting"].partition("=")
    target = sql.SQL("DATABASE {}").format(database)
    if item["role"]:
        role = sql.Identifier(item["role"])
        target = sql.SQL("ROLE {} IN DATABASE {}").format(role, database)
    values = _items(value) if parameter in LISTS else [value]
    return sql.SQL("ALTER {} SET {} TO {}").format(
        target,
        sql.Identifier(*parameter.split(".")),
        sql.SQL(", ").join(map(sql.Literal, values)),
    )


def _items(text: str) -> list[str]:
    found = [quoted.replace('""', '"') or bare for quoted, bare in _LIST_ITEM.findall(text)]
    return found or [""]


def _grants(database: sql.Identifier, properties: Json) -> list[sql.Composed]:
    if properties["acl"] is None:
        return []
    owner = sql.Identifier(properties["owner"])
    revoke = sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC, {}").format(database, owner)
    return [revoke, *(_grant(database, item) for item in properties["acl"])]


def _grant(database: sql.Identifier, item: Json) -> sql.Composed:
    return sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
        sql.SQL(item["privilege"]),
        database,
        sql.Identifier(item["grantee"]) if item["grantee"] else sql.SQL("PUBLIC"),
        sql.SQL(" WITH GRANT OPTION" if item["grantable"] else ""),
    )
