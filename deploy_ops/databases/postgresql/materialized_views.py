"""What is in the materialized views: the only rows that a dump does not hold.

A restore computes them anew. So their contents are noted with a backup, under its snapshot, and
compared after a restore: rows that depend on a setting, on the time, or on a refresh that had not
been done would otherwise change without a word.
"""

from collections.abc import Callable

import psycopg
from psycopg import sql

from deploy_ops.databases.base import Json
from deploy_ops.databases.postgresql.server import Connection, Server
from deploy_ops.databases.postgresql.tables import without_timeouts
from deploy_ops.databases.postgresql.user_tables import USER_RELATION

VIEWS = f"""
    SELECT nspname || '.' || relname, nspname, relname FROM pg_class AS relation
    JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
    WHERE relkind = 'm' AND relispopulated
      AND has_schema_privilege(relnamespace, 'USAGE') AND has_table_privilege(relation.oid, 'SELECT')
      AND {USER_RELATION} ORDER BY 1
"""
# A sum, so that the order of the rows does not matter.
DIGEST = """
    SELECT count(*), coalesce(sum(('x' || left(md5(ROW(r.*)::text), 16))::bit(64)::bigint), 0)::text
    FROM {} AS r
"""
# What the text of a value depends on besides the value.
TEXT = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "search_path": "",
}
# A refresh holds its view as long as it takes; what is being refreshed need not be compared.
LOCK_WAIT_MS = 2000


def digests_of(
    connection: Connection, stopped: Callable[[], bool] = lambda: False
) -> dict[str, Json]:
    """Number of rows and digest of each populated view; one being refreshed is left out.

    Changes settings of the connection's transaction, so what comes after it has them too.
    """
    found: dict[str, Json] = {}
    for name, schema, view in connection.execute(VIEWS).fetchall():
        if stopped():
            break
        try:
            with connection.transaction():
                found[name] = _digest(connection, sql.Identifier(schema, view))
        except psycopg.errors.LockNotAvailable:
            continue
    return found


def _digest(connection: Connection, view: sql.Identifier) -> Json:
    for setting, value in (*TEXT.items(), ("lock_timeout", str(LOCK_WAIT_MS))):
        connection.execute("SELECT set_config(%s, %s, true)", [setting, value])
    rows, digest = connection.execute(sql.SQL(DIGEST).format(view)).fetchall()[0]
    return {"rows": rows, "digest": digest}


def differences(server: Server, dbname: str, recorded: Json) -> list[str]:
    """Compare the views of a restored database with what was recorded; a sentence for each."""
    with server.connect(dbname, application_name="deploy_ops/count") as connection:
        without_timeouts(connection)
        found = digests_of(connection)
    return [
        f"Materialized view {name} has other rows than at the backup ({facts['rows']} then, "
        f"{found[name]['rows'] if name in found else 'none to be read'} now). A restore "
        "computes it from its tables, which hold what was backed up: it had not been refreshed, "
        "or it depends on the time or on settings of the session that refreshed it."
        for name, facts in sorted(recorded.items())
        if found.get(name) != facts
    ]
