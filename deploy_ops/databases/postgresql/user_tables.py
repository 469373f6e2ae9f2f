"""Which tables are the user's, as conditions in SQL; every query that asks so has them from here.

They read `pg_class AS relation` and `pg_namespace AS namespace`. What write_position.py watches
is more on purpose: catalogs and tables of extensions, such as cron.job, are written to as well.
"""


def not_of_extension(catalog: str, oid: str) -> str:
    """Condition that an object of a catalog was not made by an extension's script."""
    return f"""NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = {catalog} AND objid = {oid} AND deptype = 'e')"""


# The server keeps names with pg_ for itself: catalogs, TOAST, temporary tables.
IN_USER_SCHEMA = "namespace.nspname !~ '^(pg_|information_schema$)'"
# A user's relation of any kind that is no part of an extension.
USER_RELATION = f"""{IN_USER_SCHEMA}
    AND {not_of_extension("'pg_class'::regclass", "relation.oid")}"""
# User tables that hold rows of their own. Tables of extensions are filled by the extension's
# script; partitioned parents hold their partitions' rows; foreign tables hold somebody else's.
USER_TABLE = f"relation.relkind = 'r' AND relation.relpersistence <> 't' AND {USER_RELATION}"
# Every process of the application writes there once a minute when it was last seen: nobody's data.
NO_HEARTBEATS = "relation.relname <> 'deploy_ops_instance'"
