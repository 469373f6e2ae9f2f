"""Names of the databases beside the live one, and what may be done with them."""

import hashlib
import re

from psycopg import sql

from deploy_ops.conf import conf
from deploy_ops.databases.postgresql import subscriptions
from deploy_ops.databases.postgresql.properties import template_statement
from deploy_ops.databases.postgresql.server import Connection, Server, scalar
from deploy_ops.errors import RestoreRefused

LIMIT_BYTES = 63  # NAMEDATALEN - 1; PostgreSQL cuts longer names without a word
SUFFIX_BYTES = 31  # before_restore_20260131T020000Z
KINDS = "before_restore|restoring|verify|failed|closed|point"


def name_beside(live: str, suffix: str) -> str:
    """Name a database after the live one; a long live name is cut and told apart by its hash."""
    if len(suffix.encode()) > SUFFIX_BYTES:
        raise ValueError(f"suffix {suffix!r} is longer than {SUFFIX_BYTES} bytes")
    return f"{_prefix(live)}_{suffix}"


def databases_beside(connection: Connection, live: str) -> list[str]:
    """Names that restores gave, by the UTC time in them, oldest first."""
    form = re.compile(rf"{re.escape(_prefix(live))}_({KINDS})_(?P<time>[0-9]{{8}}T[0-9]{{6}}Z)\w*")
    rows = connection.execute("SELECT datname FROM pg_database ORDER BY datname").fetchall()
    found = [(match["time"], name) for (name,) in rows if (match := form.fullmatch(name))]
    return [name for _, name in sorted(found)]


def exists(connection: Connection, name: str) -> bool:
    """Is there a database of that name?"""
    row = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
    return row is not None


def drop(connection: Connection, server: Server, name: str) -> None:
    """Drop a database beside the live one, with the sessions in it; raises RestoreRefused."""
    live = (server.live_name, server.dbname)
    if name in (*live, conf.maintenance_database, "template0", "template1"):
        raise RestoreRefused(
            f"{name} is the live database or one that the server needs. Nothing was dropped."
        )
    if exists(connection, name):
        _make_droppable(connection, server, name)
    statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    connection.execute(statement)


def _make_droppable(connection: Connection, server: Server, name: str) -> None:
    """Take away what a restore has given it and what DROP DATABASE refuses."""
    query = "SELECT datistemplate FROM pg_database WHERE datname = %s"
    if scalar(connection, query, [name]):
        connection.execute(template_statement(name, False))
    if scalar(connection, subscriptions.DETACHED_IN, [name]):
        with server.connect(name, application_name="deploy_ops/drop") as inside:
            subscriptions.drop_detached(inside)


def _prefix(live: str) -> str:
    available_bytes = LIMIT_BYTES - SUFFIX_BYTES - 1
    if len(live.encode()) <= available_bytes:
        return live
    digest = hashlib.sha256(live.encode()).hexdigest()[:8]
    return live.encode()[: available_bytes - len(digest) - 1].decode(errors="ignore") + f"_{digest}"
