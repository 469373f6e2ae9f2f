"""How many locks a dump or a restore holds at once, and whether the server has room for them."""

from collections.abc import Iterator

from deploy_ops.backup.manifest import Manifest
from deploy_ops.databases.postgresql.server import Connection, scalar
from deploy_ops.databases.postgresql.user_tables import IN_USER_SCHEMA

# The lock table has room for this many for each unit of max_locks_per_transaction.
LOCK_UNITS = """
    SELECT current_setting('max_locks_per_transaction')::int, 1
        + current_setting('max_connections')::int
        + current_setting('max_prepared_transactions')::int
        + current_setting('max_worker_processes')::int + current_setting('max_wal_senders')::int
        + coalesce(current_setting('autovacuum_worker_slots', true),
                   current_setting('autovacuum_max_workers'))::int
"""
# pg_dump holds locks on tables, views and sequences, and counting the rows on indexes.
RELATIONS = f"""
    SELECT count(*) FROM pg_class
    JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
    WHERE relkind <> 'c' AND {IN_USER_SCHEMA}
"""
# DROP locks every object that goes, down to types, constraints and defaults.
DROPPED = """
    SELECT (SELECT count(*) FROM pg_class WHERE oid >= 16384)
        + (SELECT count(*) FROM pg_type WHERE oid >= 16384)
        + (SELECT count(*) FROM pg_proc WHERE oid >= 16384)
        + (SELECT count(*) FROM pg_constraint WHERE oid >= 16384)
        + (SELECT count(*) FROM pg_attrdef) + (SELECT count(*) FROM pg_trigger)
        + (SELECT count(*) FROM pg_rewrite WHERE oid >= 16384) + (SELECT count(*) FROM pg_policy)
        + (SELECT count(*) FROM pg_operator WHERE oid >= 16384)
        + (SELECT count(*) FROM pg_amop WHERE oid >= 16384)
        + (SELECT count(*) FROM pg_amproc WHERE oid >= 16384)
        + (SELECT count(*) FROM pg_largeobject_metadata)
"""


def too_few_to_dump(connection: Connection) -> Iterator[str]:
    """Say so if the server has fewer locks than a dump needs."""
    yield from _missing(connection, scalar(connection, RELATIONS), "A dump")


def too_few_in_place(connection: Connection, manifest: Manifest) -> Iterator[str]:
    """Say so if the server has fewer locks than dropping and making everything again needs."""
    needed = scalar(connection, DROPPED) + manifest.extra["lockable"]
    yield from _missing(connection, needed, "A restore in place")


def _missing(connection: Connection, needed: int, who: str) -> Iterator[str]:
    setting, units = connection.execute(LOCK_UNITS).fetchall()[0]
    if needed > setting * units:
        yield (
            f"{who} locks about {needed} tables, sequences and other objects at once, and the "
            f"server has room for {setting * units} locks. Raise the setting as a superuser, then "
            "restart the server:\n"
            f"    ALTER SYSTEM SET max_locks_per_transaction = {-(-needed // units)};"
        )
