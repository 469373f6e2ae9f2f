"""Who wrote since: marks of the position of writes, and their comparison.

The proof is by the cumulative statistics: every INSERT, UPDATE and DELETE of a row of a user
table adds to that table's counters, also when its transaction is rolled back (then the answer
is WROTE although nothing stayed: the safe side).

NOBODY is answered only if all of this holds:
- the same cluster and database (system identifier, database oid), not promoted since;
- no statistics were lost: not reset, no crash (a crash resets the ones of the whole server,
  whose reset times are part of the mark), server not restarted, track_counts on at both times;
- every table of the mark is still there with the same file, or is one of `own_rows`: a TRUNCATE
  or a rewrite gives a new file, and DROP takes the counters away;
- for every user table and for large objects, the counters rose by exactly `own_rows`;
- or, without `own_rows`: no transaction got a number since the mark and none was open then,
  which alone proves that nothing was written in the whole cluster.

A session reports its counters at the end of a transaction, but no more often than once a second,
and up to ten seconds late when it then idles. Proof therefore needs that all others have ended,
as inside `before` of a swap: ending reports everything. A superuser's `SET track_counts = off`
in a session of its own stays unseen by the counters; where pg_walinspect can be used (wal.py),
the write-ahead log is a second opinion: it can turn NOBODY or UNKNOWN into WROTE, and UNKNOWN
into NOBODY if no table is unlogged. Not counted as writes: sequences, materialized views,
temporary tables, and changes of the schema that change no row.
"""

from deploy_ops.databases.base import Answer, Counts, Json, Writes
from deploy_ops.databases.postgresql import wal
from deploy_ops.databases.postgresql.server import Connection, scalar, system_identifier
from deploy_ops.databases.postgresql.tables import USER_TABLE

POSITION = """
    SELECT jsonb_build_object(
        'database_oid', (SELECT oid::bigint FROM pg_database WHERE datname = current_database()),
        'lsn', CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_insert_lsn() END,
        'at', now(),
        'next_xid', pg_snapshot_xmax(pg_current_snapshot())::text,
        'open_transactions',
            pg_snapshot_xmin(pg_current_snapshot()) <> pg_snapshot_xmax(pg_current_snapshot()),
        'track_counts', current_setting('track_counts')::bool,
        'epoch', jsonb_build_array(
            pg_postmaster_start_time(),
            (SELECT stats_reset FROM pg_stat_database WHERE datname = current_database()),
            (SELECT stats_reset FROM pg_stat_archiver),
            (SELECT stats_reset FROM pg_stat_bgwriter)))
"""
TABLES = f"""
    SELECT nspname || '.' || relname, relation.oid::bigint,
           pg_relation_filenode(relation.oid)::bigint, relpersistence = 'u',
           pg_stat_get_tuples_inserted(relation.oid) + pg_stat_get_tuples_updated(relation.oid)
           + pg_stat_get_tuples_deleted(relation.oid)
    FROM pg_class AS relation JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
    WHERE ({USER_TABLE}) OR relation.oid = 'pg_largeobject'::regclass
"""


def take_mark(connection: Connection) -> Json:
    """Take the present position of writes in the connection's database."""
    connection.execute("SELECT pg_stat_force_next_flush()")
    position: Json = scalar(connection, POSITION)
    # Read after the position, so that what is written in between is counted twice, not missed.
    rows = connection.execute(TABLES).fetchall()
    return {
        "system_identifier": system_identifier(connection),
        **position,
        "tables": {
            name: {"oid": oid, "file": file, "unlogged": unlogged, "changes": changes}
            for name, oid, file, unlogged, changes in rows
        },
    }


def writes_since(connection: Connection, mark: Json, own_rows: Counts | None = None) -> Writes:
    """Tell what others wrote since the mark; see the module for what NOBODY means."""
    own = own_rows or {}
    now = take_mark(connection)
    if _place(mark) != _place(now):
        why = "the mark is of another database, or of the one that a restore has put aside"
        return Writes(Answer.UNKNOWN, {}, why)
    if not own and _no_transaction_since(mark, now):
        return Writes(Answer.NOBODY, {}, "no transaction got a number since")
    first = _compare(mark, now, own)
    if first.answer is Answer.WROTE:
        return first
    return _second_opinion(first, wal.changes_since(connection, mark, now, own), mark, now)


def _place(mark: Json) -> tuple[str, int]:
    return mark["system_identifier"], mark["database_oid"]


def _lost_counters(mark: Json, now: Json) -> str | None:
    if mark["epoch"] != now["epoch"]:
        return "the statistics were reset or the server was restarted since"
    if not (mark["track_counts"] and now["track_counts"]):
        return "track_counts is off, so the server does not count writes"
    return None


def _no_transaction_since(mark: Json, now: Json) -> bool:
    return bool(mark["next_xid"] == now["next_xid"] and not mark["open_transactions"])


def _compare(mark: Json, now: Json, own: Counts) -> Writes:
    if lost := _lost_counters(mark, now):
        return Writes(Answer.UNKNOWN, {}, lost)
    rows, doubts = {}, []
    for name in sorted({*mark["tables"], *now["tables"]}):
        before, after = mark["tables"].get(name), now["tables"].get(name)
        if after is None:
            doubts.append(f"{name} is gone")
            continue
        if before and before["file"] != after["file"] and name not in own:
            doubts.append(f"{name} was truncated or rewritten")
        same = before is not None and before["oid"] == after["oid"]
        changes = after["changes"] - (before["changes"] if same else 0) - own.get(name, 0)
        if changes > 0:
            rows[name] = changes
        elif changes < 0:
            doubts.append(f"{name} has fewer changes than were made")
    if rows:
        return Writes(Answer.WROTE, rows, "tuple counters of the tables")
    if doubts:
        return Writes(Answer.UNKNOWN, {}, "; ".join(doubts))
    return Writes(Answer.NOBODY, {}, "tuple counters of every table are unchanged")


def _second_opinion(first: Writes, changes: Counts | None, mark: Json, now: Json) -> Writes:
    if changes is None:
        return first
    more = {name: rows for name, rows in sorted(changes.items()) if rows > 0}
    if more:
        return Writes(Answer.WROTE, more, "write-ahead log")
    # What a transaction wrote before the mark and committed after it is not in this stretch.
    is_whole = not mark["open_transactions"] and not any(changes.values())
    unlogged = any(table["unlogged"] for table in now["tables"].values())
    if first.answer is Answer.UNKNOWN and is_whole and not unlogged:
        return Writes(Answer.NOBODY, {}, f"write-ahead log, since {first.evidence}")
    return first
