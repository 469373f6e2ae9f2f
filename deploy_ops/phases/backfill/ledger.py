"""The progress of one backfill in the database: who takes which range, and what is written.

Exactly once, by two facts: the cursor is moved and its range written down in one transaction, and a
range is marked as written in the transaction that writes its rows, under the lock of its row. A
worker that dies leaves a range without `written` and without a lock, which the next one takes.
"""

import json
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.phases.backfill.entry import register
from deploy_ops.phases.backfill.filling import Filling, Sql
from deploy_ops.phases.backfill.ranges import Key, Range, Statements

# Those who wait behind us wait as long as we do.
LOCK_TIMEOUT = "50ms"
# Ranges that wait for somebody else's locks; with more of them the whole table is probably locked.
MOST_OPEN_RANGES = 50
# It need not wait for the disk: what a crash of the server takes back, it takes back with the
# progress, and the last commit waits for all before it.
_PREPARE = (
    f"set_config('lock_timeout', '{LOCK_TIMEOUT}', true), "
    "set_config('synchronous_commit', 'off', true)"
)
_BEGIN = """
    UPDATE deploy_ops_backfillprogress
    SET upper = %s::jsonb, rows_total = %s, started_at = now(), updated_at = now()
    WHERE id = %s AND started_at IS NULL
"""
_TAKE = f"""
    SELECT {_PREPARE}, taken.* FROM (SELECT) AS once LEFT JOIN LATERAL (
        SELECT range.id, range.lower, range.upper, range.rows
        FROM deploy_ops_backfillrange AS range
        JOIN deploy_ops_backfillprogress AS backfill ON backfill.id = range.backfill_id
        WHERE backfill.id = %s AND backfill.paused_at IS NULL AND backfill.cancelled_at IS NULL
            AND range.written IS NULL AND range.not_before <= clock_timestamp()
        ORDER BY range.id LIMIT 1 FOR UPDATE OF range SKIP LOCKED
    ) AS taken ON TRUE
"""
_WRITTEN = "UPDATE deploy_ops_backfillrange SET written = %s WHERE id = %s"
_OPEN = """
    INSERT INTO deploy_ops_backfillrange (backfill_id, lower, upper, rows, not_before)
    VALUES (%s, %s::jsonb, %s::jsonb, %s, clock_timestamp() + make_interval(secs => %s))
"""
_LOCK = """
    SELECT cursor, upper, paused_at IS NOT NULL, cancelled_at IS NOT NULL, done_at IS NOT NULL
    FROM deploy_ops_backfillprogress WHERE id = %s FOR NO KEY UPDATE
"""
# Adds up what is written. A statement of its own behind the lock: only so it sees all ranges that
# were given out before.
_COLLECT = """
    WITH gone AS (
        DELETE FROM deploy_ops_backfillrange
        WHERE backfill_id = %s AND written IS NOT NULL RETURNING rows, written
    ), found AS (
        SELECT coalesce(sum(rows), 0) AS rows, coalesce(sum(written), 0) AS written FROM gone
    )
    UPDATE deploy_ops_backfillprogress
    SET rows_read = rows_read + found.rows, rows_written = rows_written + found.written,
        updated_at = CASE WHEN found.rows > 0 THEN now() ELSE updated_at END,
        last_error = CASE WHEN found.rows > 0 THEN '' ELSE last_error END
    FROM found WHERE id = %s
    RETURNING rows_read, (SELECT count(*) FROM deploy_ops_backfillrange
        WHERE backfill_id = %s AND written IS NULL)
"""
_ADVANCE = """
    WITH moved AS (
        UPDATE deploy_ops_backfillprogress SET cursor = %s::jsonb WHERE id = %s
    )
    INSERT INTO deploy_ops_backfillrange (backfill_id, lower, upper, rows, not_before)
    VALUES (%s, %s::jsonb, %s::jsonb, %s, clock_timestamp())
"""
_ESTIMATE = """
    SELECT CASE WHEN min(reltuples) >= 0 THEN sum(reltuples)::bigint END FROM pg_class
    WHERE relkind <> 'p' AND oid IN (
        SELECT %s::regclass UNION SELECT relid FROM pg_partition_tree(%s::regclass))
"""
_TYPES = """
    SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = %s::regclass AND attname = ANY(%s::text[]) AND NOT attisdropped
"""


class Given(Enum):
    """What came of asking for a new range."""

    RANGE = auto()
    WAIT = auto()
    PAUSED = auto()
    CANCELLED = auto()
    DONE = auto()


@dataclass(frozen=True, slots=True)
class Taken:
    """A range that is locked for this transaction."""

    id: int
    range: Range
    rows: int


class Ledger:
    """The rows of one backfill; what changes rows is called inside a transaction."""

    def __init__(self, connection: BaseDatabaseWrapper, name: str, filling: Filling) -> None:
        self._connection = connection
        self._table = connection.ops.quote_name(filling.table)
        self.statements = Statements(
            filling, _types(connection, self._table, filling), connection.ops.quote_name
        )
        self.name = name
        self.rows_read = 0
        self._id = register(connection, name, filling)

    def begin(self) -> int:
        """Fix where it ends, unless that was done before; return how many rows there are, about."""
        with self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT started_at IS NOT NULL, rows_total FROM deploy_ops_backfillprogress"
                " WHERE id = %s",
                [self._id],
            )
            is_begun, total = cursor.fetchone()
        if is_begun:
            return int(total)
        last, total = self._row(self.statements.last_key()), self._estimate()
        self._run(_BEGIN, json.dumps(last) if last else None, total, self._id)
        return total

    def take(self) -> Taken | None:
        """Set up the transaction, and lock a range that nobody works on; None if there is none."""
        row = self._row(Sql(_TAKE, (self._id,)))
        assert row is not None
        _, _, number, lower, upper, rows = row
        if number is None:
            return None
        return Taken(number, Range(json.loads(lower) if lower else None, json.loads(upper)), rows)

    def relock(self, taken: Taken) -> bool:
        """Lock a range again after its transaction failed; False if somebody else has taken it."""
        self._run(f"SELECT {_PREPARE}")
        sql = (
            "SELECT 1 FROM deploy_ops_backfillrange WHERE id = %s AND written IS NULL"
            " FOR UPDATE SKIP LOCKED"
        )
        return self._row(Sql(sql, (taken.id,))) is not None

    def is_stopped(self) -> bool:
        """Whether it was paused or cancelled."""
        sql = (
            "SELECT paused_at IS NOT NULL OR cancelled_at IS NOT NULL"
            " FROM deploy_ops_backfillprogress WHERE id = %s"
        )
        row = self._row(Sql(sql, (self._id,)))
        return row is not None and bool(row[0])

    def note_written(self, taken: Taken, rows: int) -> None:
        """Mark a range, in the transaction that wrote it."""
        self._run(_WRITTEN, rows, taken.id)

    def put_off(self, taken: Taken, seconds: float) -> None:
        """Leave a range for later, in two halves, so that what is locked gets smaller."""
        half = self._row(self.statements.nth_key(taken.range, max(1, taken.rows // 2)))
        self._run("DELETE FROM deploy_ops_backfillrange WHERE id = %s", taken.id)
        middle, size = list(half) if half else taken.range.upper, max(1, taken.rows // 2)
        if middle == taken.range.upper:
            self._open(taken.range, taken.rows, seconds)
            return
        self._open(Range(taken.range.lower, middle), size, 0)
        self._open(Range(middle, taken.range.upper), taken.rows - size, 0)

    def give_out(self, rows: int, *, wait: bool = True) -> Given:
        """Write down the next range of about so many rows, for whoever takes it.

        Somebody else may be doing that right now; `wait` for it, or leave it to the next time.
        """
        found = self._row(Sql(_LOCK if wait else f"{_LOCK} SKIP LOCKED", (self._id,)))
        if found is None:  # locked, or somebody else saw its end, and it was removed
            return Given.DONE if wait else Given.WAIT
        cursor, upper, is_paused, is_cancelled, is_done = found
        collected = self._row(Sql(_COLLECT, (self._id,) * 3))
        assert collected is not None
        self.rows_read, open_ranges = collected
        if is_done or is_cancelled or is_paused:
            return Given.DONE if is_done else Given.CANCELLED if is_cancelled else Given.PAUSED
        if cursor != upper and open_ranges < MOST_OPEN_RANGES:
            lower = json.loads(cursor) if cursor else None
            self._advance(Range(lower, json.loads(upper)), rows)
            return Given.RANGE
        if open_ranges:
            return Given.WAIT
        self._run("SELECT set_config('synchronous_commit', 'on', true)")
        self._run(
            "UPDATE deploy_ops_backfillprogress SET done_at = now(), updated_at = now()"
            " WHERE id = %s",
            self._id,
        )
        return Given.DONE

    def note_error(self, text: str) -> None:
        """Keep why a batch failed."""
        self._run(
            "UPDATE deploy_ops_backfillprogress SET last_error = %s WHERE id = %s", text, self._id
        )

    def note_waiting(self, reasons: str) -> None:
        """Keep what it waits for; empty if for nothing."""
        self._run(
            "UPDATE deploy_ops_backfillprogress SET waits_for = %s WHERE id = %s",
            reasons,
            self._id,
        )

    def rows_written(self) -> int:
        """How many rows were written so far, by all workers."""
        row = self._row(
            Sql("SELECT rows_written FROM deploy_ops_backfillprogress WHERE id = %s", (self._id,))
        )
        return int(row[0]) if row else 0

    def _advance(self, rest: Range, rows: int) -> None:
        key = self._row(self.statements.nth_key(rest, rows))
        if key is None:
            [rows] = self._row(self.statements.count(rest)) or (0,)
        upper = list(key) if key else rest.upper
        given = json.dumps(upper)
        self._run(_ADVANCE, given, self._id, self._id, _dumped(rest.lower), given, rows)

    def _open(self, given: Range, rows: int, seconds: float) -> None:
        self._run(_OPEN, self._id, _dumped(given.lower), _dumped(given.upper), rows, seconds)

    def _estimate(self) -> int:
        row = self._row(Sql(_ESTIMATE, (self._table, self._table)))
        if row is None or row[0] is None:  # never analyzed
            row = self._row(Sql(f"SELECT count(*) FROM {self._table}"))
        return int(row[0]) if row else 0

    def _run(self, sql: str, *params: Any) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, params)

    def _row(self, sql: Sql) -> tuple[Any, ...] | None:
        with self._connection.cursor() as cursor:
            cursor.execute(sql.text, sql.params)
            row: tuple[Any, ...] | None = cursor.fetchone()
            return row


def _types(connection: BaseDatabaseWrapper, table: str, filling: Filling) -> dict[str, str]:
    names = [*filling.key_columns, *filling.columns]
    with connection.cursor() as cursor:
        cursor.execute(_TYPES, [table, names])
        return dict(cursor.fetchall())


def _dumped(key: Key | None) -> str | None:
    return None if key is None else json.dumps(key)
