"""What the database is made of: as pg_dump writes it, as the catalogs hold it, and what is unsound.

For "the schema is as it was" pg_dump's own text is compared: it covers all that a backup would
(what it cannot see: docs/explanation/recovery-ladder.md). For "nothing happened at all" the rows
of the catalogs are, numbers of objects included: they are equal only if nobody changed anything.
"""

import json
import re
from collections.abc import Iterator

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from deploy_ops.databases.base import Invalid, Relation, Schema
from deploy_ops.databases.postgresql.programs import find_program
from deploy_ops.databases.postgresql.server import Server, server_encoding
from deploy_ops.databases.postgresql.user_tables import IN_USER_SCHEMA
from deploy_ops.process import run

KEPT_SCHEMA = "deploy_ops_kept"
LOCK_WAIT_MS = 20_000
# A line of its own in newer dumps, with another random word in each.
_RESTRICT = re.compile(r"^\\(un)?restrict ")

# Not compared: what the role may not read (user mappings), planner statistics, large objects'
# data, and the progress of replication; of pg_class and pg_index the columns that VACUUM, ANALYZE
# and index scans change by themselves.
CATALOGS = """
    SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r'
    AND NOT relisshared AND has_table_privilege(oid, 'SELECT')
    AND relname NOT IN ('pg_statistic', 'pg_statistic_ext_data', 'pg_largeobject',
                        'pg_subscription_rel') ORDER BY 1
"""
VOLATILE = {
    "pg_class": (
        "relpages reltuples relallvisible relallfrozen relfrozenxid relminmxid relhasindex"
        " relhasrules relhastriggers relhassubclass"
    ).split(),
    "pg_index": ["indcheckxmin"],
    "pg_database": ["datfrozenxid", "datminmxid"],
}
DIGEST = """
    SELECT {name}, md5(coalesce(string_agg(row, chr(10) ORDER BY row), '')) FROM (
        SELECT md5((to_jsonb(catalog) - {volatile}::text[])::text) AS row
        FROM pg_catalog.{table} AS catalog) AS rows
"""
# What all databases of the server share, and any role may read: pg_roles is pg_authid without
# passwords.
SHARED = """
    SELECT 'databases and roles', md5(coalesce(string_agg(row, chr(10) ORDER BY row), '')) FROM (
        SELECT md5((to_jsonb(d) - '{datfrozenxid,datminmxid}'::text[])::text) AS row
            FROM pg_database AS d
        UNION ALL SELECT md5(to_jsonb(s)::text) FROM pg_db_role_setting AS s
        UNION ALL SELECT md5(to_jsonb(s)::text) FROM pg_shdescription AS s
        UNION ALL SELECT md5(to_jsonb(s)::text) FROM pg_tablespace AS s
        UNION ALL SELECT md5(to_jsonb(s)::text) FROM pg_roles AS s
        UNION ALL SELECT md5(to_jsonb(s)::text) FROM pg_auth_members AS s) AS rows
"""
# Sequences keep their position in a relation of their own, which no catalog shows.
SEQUENCES = """
    SELECT 'sequences', md5(coalesce(string_agg(
        concat_ws(':', schemaname, sequencename, last_value), chr(10)
        ORDER BY schemaname, sequencename), '')) FROM pg_sequences
"""
# Tables of extensions too: their files and columns may be changed by a migration as well. Of the
# catalogs those that hold what no schema does: large objects, roles, databases and their settings.
RELATIONS = f"""
    SELECT relation.oid::bigint, nspname, relname, coalesce(pg_relation_filenode(relation.oid), 0),
           (SELECT jsonb_object_agg(attnum, format_type(atttypid, atttypmod))::text FROM pg_attribute
            WHERE attrelid = relation.oid AND attnum > 0 AND NOT attisdropped)
    FROM pg_class AS relation JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'm', 'v', 'f') AND relpersistence <> 't' AND ({IN_USER_SCHEMA}
        OR relation.oid IN ('pg_largeobject'::regclass, 'pg_largeobject_metadata'::regclass)
        OR relisshared AND relation.oid <> 'pg_shdepend'::regclass)
"""
INDEXES = """
    SELECT nspname, index.relname, indrelid::regclass::text
    FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid
    JOIN pg_namespace ON pg_namespace.oid = index.relnamespace
    WHERE NOT indisvalid AND index.relkind = 'i' ORDER BY 1, 2
"""
CONSTRAINTS = """
    SELECT nspname, conname, conrelid::regclass::text
    FROM pg_constraint JOIN pg_namespace ON pg_namespace.oid = connamespace
    WHERE NOT convalidated AND conrelid <> 0 ORDER BY 1, 2
"""


def dump_schema(server: Server) -> Schema:
    """Return the schema as pg_dump writes it; raises ProgramError, DatabaseUnavailable."""
    with server.connect(application_name="deploy_ops/schema") as connection:
        program = find_program("pg_dump", connection.info.server_version // 10000)
        is_bytes = server_encoding(connection) == "SQL_ASCII"
    argv = [program.path, "--schema-only", "--no-sync", "--no-password"]
    argv += [f"--exclude-schema={KEPT_SCHEMA}", f"--lock-wait-timeout={LOCK_WAIT_MS}"]
    argv.append(f"--encoding={'SQL_ASCII' if is_bytes else 'UTF8'}")
    argv += [f"--role={server.role}"] if server.role else []
    with server.environment() as env:
        text = run(argv, env=env).stdout
    server.note_program(server.dbname, 1)
    return Schema(tuple(line for line in text.splitlines() if not _RESTRICT.match(line)))


def catalog_digests(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """A hash of the rows of each catalog, and of the positions of the sequences."""
    with connection.cursor() as cursor:
        cursor.execute(CATALOGS)
        names = [name for (name,) in cursor.fetchall()]
        parts = [*map(_digest, names), sql.SQL(SHARED), sql.SQL(SEQUENCES)]
        cursor.execute(sql.SQL(" UNION ALL ").join(parts).as_string(None))
        return dict(cursor.fetchall())


def _digest(name: str) -> sql.Composed:
    volatile = "{" + ",".join(VOLATILE.get(name, ())) + "}"
    return sql.SQL(DIGEST).format(name=name, table=sql.Identifier(name), volatile=volatile)


def relations(connection: BaseDatabaseWrapper) -> dict[int, Relation]:
    """Every table by its number: name, file, and the type of each column.

    With them the catalogs that are data rather than schema.
    """
    with connection.cursor() as cursor:
        cursor.execute(RELATIONS)
        return {
            int(oid): Relation(schema, name, int(file), json.loads(columns or "{}"))
            for oid, schema, name, file, columns in cursor.fetchall()
        }


def invalid_objects(connection: BaseDatabaseWrapper) -> Iterator[Invalid]:
    """Indexes that no query uses, and constraints that old rows may break."""
    with connection.cursor() as cursor:
        for kind, query in (("index", INDEXES), ("constraint", CONSTRAINTS)):
            cursor.execute(query)
            for schema, name, table in cursor.fetchall():
                yield Invalid(kind, schema, name, table)
