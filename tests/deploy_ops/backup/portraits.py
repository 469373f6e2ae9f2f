"""Everything about a PostgreSQL database that a restore must bring back, as comparable values."""

from pathlib import Path

from psycopg import sql

from deploy_ops.backup.manifest import Manifest
from deploy_ops.databases import database_for
from deploy_ops.progress import Silent
from tests.deploy_ops.backup.manifests import manifest_of

USER = "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'"
QUERIES = {
    "columns": f"""
        SELECT n.nspname, c.relname, attname, format_type(atttypid, atttypmod), attnotnull,
            attidentity, attgenerated, pg_get_expr(adbin, adrelid)
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n
            ON n.oid = relnamespace LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attnum > 0 AND NOT attisdropped AND {USER}""",
    "relations": f"""
        SELECT n.nspname, relname, relkind, pg_get_userbyid(relowner), relacl::text,
            obj_description(c.oid, 'pg_class'), relispopulated
        FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE {USER}""",
    "constraints": f"""
        SELECT n.nspname, conname, convalidated, pg_get_constraintdef(c.oid)
        FROM pg_constraint c JOIN pg_namespace n ON n.oid = connamespace WHERE {USER}""",
    "indexes": f"""
        SELECT pg_get_indexdef(indexrelid), indisvalid FROM pg_index JOIN pg_class c
            ON c.oid = indexrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE {USER}""",
    "views": "SELECT schemaname, viewname, definition FROM pg_views WHERE schemaname = 'public'",
    "matviews": "SELECT matviewname, definition, ispopulated FROM pg_matviews",
    "matview_rows": "SELECT person_id, km FROM monthly",
    "sequences": "SELECT * FROM pg_sequences",
    "routines": """
        SELECT oid::regprocedure::text, prosrc, pg_get_userbyid(proowner) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace""",
    "triggers": "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
    "statistics": "SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext",
    "types": f"""
        SELECT n.nspname, typname, typtype FROM pg_type t JOIN pg_namespace n
        ON n.oid = typnamespace WHERE {USER}""",
    "extensions": "SELECT extname, extversion FROM pg_extension",
    "schemas": f"SELECT nspname, pg_get_userbyid(nspowner), nspacl::text FROM pg_namespace n"
    f" WHERE {USER}",
    "default_acl": "SELECT pg_get_userbyid(defaclrole), defaclobjtype, defaclacl::text"
    " FROM pg_default_acl",
    "large_objects": "SELECT oid, pg_get_userbyid(lomowner), encode(lo_get(oid), 'hex')"
    " FROM pg_largeobject_metadata",
    "analysed": "SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'trip'",
}
PROPERTIES = """
    SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype,
        datlocprovider, datconnlimit, datistemplate, datacl::text, datallowconn,
        shobj_description(d.oid, 'pg_database'),
        (SELECT array_agg(coalesce(pg_get_userbyid(nullif(setrole, 0)), '') || setconfig::text
         ORDER BY 1) FROM pg_db_role_setting WHERE setdatabase = d.oid)
    FROM pg_database d WHERE datname = %s
"""


def portray(cluster, name: str) -> dict[str, list]:
    """All of it, read as superuser, without what only names the database."""
    with cluster.connect(name) as connection:
        connection.execute("SET search_path = public")
        portrait = {
            part: sorted(connection.execute(query).fetchall(), key=repr)
            for part, query in QUERIES.items()
        }
        tables = [row[:2] for row in portrait["relations"] if row[2] == "r"]
        for table in tables:
            query = sql.SQL("SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {} t")
            rows = connection.execute(query.format(sql.Identifier(*table))).fetchall()
            portrait[f"rows of {table}"] = rows
        portrait["properties"] = connection.execute(PROPERTIES, [name]).fetchall()
    return portrait


def furnish(database) -> None:
    """Fill a database with one of everything, and give it properties of its own."""
    cluster, name = database.cluster, sql.Identifier(database.name)
    exists = "SELECT 1 FROM pg_roles WHERE rolname = 'reader'"
    if not cluster.execute(exists):
        cluster.create_role("reader", createdb=False)
    with database.connect() as connection:
        connection.execute(Path(__file__).with_name("trips.sql").read_text())
        for statement in (
            'ALTER DATABASE {} SET search_path TO public, archive, "$user", "Odd, one"',
            "ALTER DATABASE {} SET statement_timeout TO '41s'",
            "ALTER DATABASE {} SET application_name TO 'it''s, mine'",
            "ALTER DATABASE {} CONNECTION LIMIT 23",
            "ALTER DATABASE {} IS_TEMPLATE true",
            "COMMENT ON DATABASE {} IS 'it''s the live one'",
            "REVOKE CONNECT ON DATABASE {} FROM PUBLIC",
            "GRANT CONNECT ON DATABASE {} TO reader WITH GRANT OPTION",
            "ALTER ROLE app IN DATABASE {} SET lock_timeout TO '7s'",
        ):
            connection.execute(sql.SQL(statement).format(name))


def save(method, directory: Path) -> Manifest:
    """Dump into a directory; the part of the manifest that the method reads back."""
    directory.mkdir(mode=0o700, exist_ok=True)
    identity = database_for(method.alias).identify()
    snapshot = method.dump(directory, jobs=2, progress=Silent())
    return manifest_of(identity, snapshot)


def restore(
    method, directory: Path, manifest: Manifest, suffix: str = "restoring_20260131T020000Z"
):
    """Restore beside; the name."""
    name = database_for(method.alias).name_beside(suffix)
    method.restore_beside(directory, manifest, name=name, jobs=2, progress=Silent())
    return name
