"""Subscriptions of restored databases: disabled and without a slot.

A dump holds the connection to the publisher and the name of the slot there, which the saved
database goes on using. Two that read one slot take each other's changes, and dropping a
subscription drops its slot. pg_dump has them restored disabled; what is left is the slot.
"""

from psycopg import sql

from deploy_ops.databases.postgresql.server import Connection

# Some columns are for superusers only, these are not.
SUBSCRIPTIONS = """
    SELECT subname FROM pg_subscription
    WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1
"""
# Dropping one of these asks no publisher for anything. Any session finds them, by their database.
DETACHED_IN = """
    SELECT subname FROM pg_subscription
    WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = %s)
      AND NOT subenabled AND subslotname IS NULL ORDER BY 1
"""


def detach(connection: Connection) -> list[str]:
    """Take their slots from the subscriptions of a restored database; return their names."""
    names = [name for (name,) in connection.execute(SUBSCRIPTIONS).fetchall()]
    for name in names:
        connection.execute(_alter("ALTER SUBSCRIPTION {} DISABLE", name))
        connection.execute(_alter("ALTER SUBSCRIPTION {} SET (slot_name = NONE)", name))
    return names


def drop_detached(connection: Connection) -> None:
    """Drop those that have no slot, since no database is dropped with one in it."""
    for (name,) in connection.execute(DETACHED_IN, [connection.info.dbname]).fetchall():
        connection.execute(_alter("DROP SUBSCRIPTION {}", name))


def _alter(statement: str, name: str) -> sql.Composed:
    return sql.SQL(statement).format(sql.Identifier(name))
