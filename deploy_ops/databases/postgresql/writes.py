"""Who wrote since: positions of writes, and their comparison.

Two proofs that nobody else did, each enough by itself; two unknowns never add up to one.

By connections. Nobody else was connected: no other session, worker or walsender of this database,
no subscription and no prepared transaction then or now, and the server has counted exactly
as many new sessions as this process opened (own_sessions.py). Whatever was written is our own.

By counters. Every INSERT, UPDATE and DELETE of a row adds to its table's counters, also when its
transaction is rolled back (then the answer is WROTE although nothing stayed: the safe side). The
tables of the catalog are counted too: their rows change with the schema, with TRUNCATE and DROP.
NOBODY is answered only if no statistics were lost (not reset, no crash, server not restarted,
track_counts on at both times), every table of that time is still there, and each has exactly the
changes that the caller passes as its own. Not seen: a superuser's `SET track_counts = off` in a
session of its own; where pg_walinspect can be used (wal.py), the write-ahead log is asked for
such writes, and can only turn an answer into WROTE.

A session reports its counters at the end of a transaction, but no more often than once a second,
and up to ten seconds late when it then idles. Proof therefore needs that all others have ended, as
inside `before` of a swap: ending reports everything. Not counted as writes: values drawn from
sequences, and temporary tables' rows.
"""

from deploy_ops.databases.base import Answer, RowCounts, Writes
from deploy_ops.databases.postgresql import wal
from deploy_ops.databases.postgresql.server import Connection, Server
from deploy_ops.databases.postgresql.write_position import Table, WritePosition, take_write_position


def writes_since(
    server: Server, connection: Connection, then: WritePosition, own_rows: RowCounts | None
) -> Writes:
    """Tell what others wrote since the position; see the module for what NOBODY means.

    `own_rows` are the rows that the caller changed, by table; None if that is not known.
    """
    now = take_write_position(connection)
    if then.place != now.place:
        why = "its position was recorded for another database, or for one that a restore replaced"
        return Writes(Answer.UNKNOWABLE, {}, why)
    if _nobody_connected(then, now):
        return Writes(Answer.NOBODY, {}, "nobody else was connected since")
    if own_rows is None:
        why = "what this run wrote itself is not known, and others were connected"
        # Sessions of ours that have just ended may not be counted yet; who was there then, was.
        answer = Answer.UNKNOWN if then.is_alone else Answer.UNKNOWABLE
        return Writes(answer, {}, why)
    if not own_rows and then.next_xid == now.next_xid and not then.open_transactions:
        return Writes(Answer.NOBODY, {}, "no transaction got a number since")
    first = _compare(then, now, own_rows)
    if first.answer is Answer.WROTE:
        return first
    seen = wal.changes_since(server, then, now, own_rows)
    return Writes(Answer.WROTE, seen, "write-ahead log") if seen else first


def anybody_wrote(connection: Connection, then: WritePosition) -> Writes:
    """Tell whether anybody at all, this process included, changed a row since the position.

    The counters of another session may still be on their way, so that they prove nothing unless
    there is none: a migration can open sessions of its own.
    """
    now = take_write_position(connection)
    if then.place != now.place:
        return Writes(Answer.UNKNOWN, {}, "its position was recorded for another database")
    if then.next_xid == now.next_xid and not then.open_transactions:
        return Writes(Answer.NOBODY, {}, "no transaction got a number since")
    if not (then.is_alone and now.is_alone):
        return Writes(Answer.UNKNOWN, {}, "others are connected")
    return _compare(then, now, {})


def _nobody_connected(then: WritePosition, now: WritePosition) -> bool:
    counted, own = now.sessions - then.sessions, now.own_sessions - then.own_sessions
    return then.is_alone and now.is_alone and then.epoch == now.epoch and counted == own


def _compare(then: WritePosition, now: WritePosition, own: RowCounts) -> Writes:
    if then.epoch != now.epoch:
        why = "the statistics were reset or the server was restarted since"
        return Writes(Answer.UNKNOWABLE, {}, why)
    if not (then.track_counts and now.track_counts):
        why = "track_counts is off, so the server does not count writes"
        return Writes(Answer.UNKNOWABLE, {}, why)
    changes = {
        oid: table.changes
        - (then.tables[oid].changes if oid in then.tables else 0)
        - own.get(oid, 0)
        for oid, table in now.tables.items()
    }
    rows = {now.tables[oid].name: n for oid, n in changes.items() if n > 0}
    data = {name: n for name, n in rows.items() if not Table(name, 0, False, 0).is_catalog}
    catalogs = tuple(sorted(rows.keys() - data.keys()))
    if data:
        why = "tuple counters of the tables"
        return Writes(Answer.WROTE, dict(sorted(data.items())), why, catalogs)
    if catalogs:
        why = f"the schema was changed: rows of {', '.join(catalogs)}"
        return Writes(Answer.WROTE, {}, why, catalogs)
    doubts = [
        f"{table.name} is gone" for oid, table in then.tables.items() if oid not in now.tables
    ]
    doubts += [
        f"the counters of {now.tables[oid].name} are lower than expected"
        for oid, n in changes.items()
        if n < 0
    ]
    if doubts:
        return Writes(Answer.UNKNOWN, {}, "; ".join(sorted(doubts)))
    return Writes(Answer.NOBODY, {}, "tuple counters of every table are unchanged")
