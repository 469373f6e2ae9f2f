"""Whether anybody else wrote since a moment: the question that decides about a restore."""

import time

from deploy_ops.databases.base import Answer, Database, Writes
from deploy_ops.errors import RestoreFailed
from deploy_ops.restore.values import Since

COUNTERS_TRIES = 5
COUNTERS_PAUSE_SECONDS = 0.2
AGAIN = "Stop what writes to it, then restore again."


def writes_since(database: Database, since: Since) -> Writes:
    """Ask who wrote; the counters of a session that has just ended arrive a moment later."""
    for _ in range(COUNTERS_TRIES):
        writes = database.writes_since(since.write_position, own_rows=since.own_rows)
        if writes.answer is not Answer.UNKNOWN:
            break
        time.sleep(COUNTERS_PAUSE_SECONDS)
    return writes


def require_nobody_wrote(database: Database, since: Since, state: str) -> None:
    """Raise RestoreFailed unless it is proven; `state` says what has and has not been changed."""
    writes = writes_since(database, since)
    if writes.answer is Answer.NOBODY:
        return
    rows = ", ".join(f"{rows} in {table}" for table, rows in writes.rows.items())
    more = f" Rows inserted, updated or deleted: {rows}." if rows else ""
    raise RestoreFailed(
        f"Others may have written since {since.moment} ({writes.evidence}), and restoring would "
        f"lose it.{more} {state} {AGAIN}"
    )
