"""The position of writes at a moment: who is connected, and what every table has seen."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from deploy_ops.databases.base import Json
from deploy_ops.databases.postgresql import own_sessions
from deploy_ops.databases.postgresql.server import Connection, scalar, system_identifier
from deploy_ops.databases.postgresql.user_tables import NO_HEARTBEATS

ENDING_TRIES = 40
ENDING_PAUSE_SECONDS = 0.05
# pg_locks shows the number of every open transaction that has one, prepared ones too, to any role.
# The oldest is that of this database: another's may be open for hours.
POSITION = """
    SELECT jsonb_build_object(
        'database_oid', database.oid::bigint,
        'lsn', CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_insert_lsn() END,
        'next_xid', pg_snapshot_xmax(pg_current_snapshot())::text,
        'oldest_xid', coalesce(
            (SELECT transactionid::text FROM pg_locks
            WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted
                AND (pid IN (SELECT pid FROM pg_stat_activity WHERE datid = database.oid)
                    OR transactionid IN (SELECT transaction FROM pg_prepared_xacts
                        WHERE database = datname))
            ORDER BY age(transactionid) DESC LIMIT 1),
            pg_snapshot_xmax(pg_current_snapshot())::text),
        'open_transactions', (SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid'
            AND mode = 'ExclusiveLock' AND granted AND pid IS DISTINCT FROM pg_backend_pid()),
        'prepared', (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()),
        'subscriptions', (SELECT count(*) FROM pg_subscription WHERE subdbid = database.oid),
        'sessions', (SELECT sessions FROM pg_stat_database WHERE datid = database.oid),
        'others', (SELECT coalesce(jsonb_agg(pid), '[]') FROM pg_stat_activity
            WHERE datid = database.oid AND usesysid IS NOT NULL AND NOT pid = ANY (%s::int[])),
        'track_counts', current_setting('track_counts')::bool,
        'epoch', jsonb_build_array(
            pg_postmaster_start_time(),
            (SELECT stats_reset FROM pg_stat_database WHERE datid = database.oid),
            (SELECT stats_reset FROM pg_stat_archiver),
            (SELECT stats_reset FROM pg_stat_bgwriter)))
    FROM pg_database AS database WHERE datname = current_database()
"""
# All that a dump holds, tables of extensions too, and the catalogs but what ANALYZE writes: more
# than the user's tables (user_tables.py), so that no write goes unseen.
TABLES = f"""
    SELECT relation.oid::bigint, nspname || '.' || relname,
           coalesce(pg_relation_filenode(relation.oid)::bigint, 0), relpersistence = 'u',
           pg_stat_get_tuples_inserted(relation.oid) + pg_stat_get_tuples_updated(relation.oid)
           + pg_stat_get_tuples_deleted(relation.oid)
    FROM pg_class AS relation JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
    WHERE relkind IN ('r', 'm', 'p') AND NOT relisshared AND relpersistence <> 't'
      AND relname NOT IN ('pg_statistic', 'pg_statistic_ext_data') AND {NO_HEARTBEATS}
"""
LARGE_OBJECTS = "pg_catalog.pg_largeobject"


@dataclass(frozen=True, slots=True)
class Table:
    """One table at a moment: rows changed since statistics began, and the file that holds it."""

    name: str
    file: int
    unlogged: bool
    changes: int

    @property
    def is_catalog(self) -> bool:
        """Whether its rows are the schema, and not somebody's data."""
        return self.name.startswith("pg_catalog.") and self.name != LARGE_OBJECTS


@dataclass(frozen=True, slots=True)
class WritePosition:  # pylint: disable=too-many-instance-attributes
    """The position of writes of one database at a moment."""

    system_identifier: str
    database_oid: int
    lsn: str | None
    next_xid: str
    oldest_xid: str
    open_transactions: int
    prepared: int
    subscriptions: int
    sessions: int
    others: tuple[int, ...]
    own_sessions: int
    track_counts: bool
    epoch: tuple[str | None, ...]
    tables: Mapping[int, Table]

    @property
    def place(self) -> tuple[str, int]:
        """Cluster and database."""
        return self.system_identifier, self.database_oid

    @property
    def is_alone(self) -> bool:
        """Whether nobody but this process is connected, or can come back with what it prepared."""
        return not (self.others or self.prepared or self.subscriptions)

    def as_json(self) -> Json:
        """For the manifest and the journal."""
        return {**asdict(self), "tables": {str(oid): asdict(t) for oid, t in self.tables.items()}}

    @classmethod
    def from_json(cls, facts: Json) -> "WritePosition":
        """As it was read back; KeyError or TypeError if it is none of this form."""
        tables = {int(oid): Table(**table) for oid, table in facts["tables"].items()}
        lists = {name: tuple(facts[name]) for name in ("others", "epoch")}
        return cls(**{**facts, **lists, "tables": tables})


def take_write_position(connection: Connection) -> WritePosition:
    """Take the present position of writes in the connection's database."""
    connection.execute("SELECT pg_stat_force_next_flush()")
    identifier, dbname = system_identifier(connection), connection.info.dbname
    position = _position(connection)
    # Read after the position, so that what is written in between is counted twice, not missed.
    rows = connection.execute(TABLES).fetchall()
    return WritePosition(
        system_identifier=identifier,
        own_sessions=own_sessions.opened(dbname),
        tables={int(oid): Table(name, file, unlogged, n) for oid, name, file, unlogged, n in rows},
        **{**position, "others": tuple(position["others"]), "epoch": tuple(position["epoch"])},
    )


def _position(connection: Connection) -> Json:
    """Ask until our own sessions that are about to end are gone."""
    for _ in range(ENDING_TRIES):
        position: Json = scalar(connection, POSITION, [own_sessions.open_pids()])
        if not position["others"] or not own_sessions.are_ending(position["others"]):
            break
        time.sleep(ENDING_PAUSE_SECONDS)
    return position
