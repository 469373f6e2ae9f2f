"""How long work on a table takes, and how bad that is.

Rates were measured on PostgreSQL 15 with 3 million rows on two cores: other machines differ, so
times are said with "about" and levels are an order of magnitude apart.
"""

from django.core import checks

from deploy_ops.databases.facts import TableFacts
from deploy_ops.migrate.lint.impact import Work

ERROR_SECONDS = 0.5  # what a user notices, and a pool of connections does not survive
WARNING_SECONDS = 0.05
BIG_BYTES = 64 * 1024 * 1024  # a lock of a moment is a matter of traffic, which size stands for
SCANNED_BYTES = 500e6
REWRITTEN_BYTES = 50e6
ROWS_PER_SECOND = {
    Work.SCAN: 4e6,
    Work.BUILD: 2e6,
    Work.CHECK_KEYS: 5e6,
    Work.UPDATE: 60e3,
    Work.SAVE_EACH: 1.4e3,
}


def seconds_of(work: Work, table: TableFacts | None, times: int = 1) -> float | None:
    """How long the work takes; None for a table whose size is not known."""
    if work is Work.NONE:
        return 0.0
    if table is None:
        return None
    if work is Work.REWRITE:
        return table.total_bytes / REWRITTEN_BYTES
    return times * (table.heap_bytes / SCANNED_BYTES + table.likely_rows / ROWS_PER_SECOND[work])


def level_of(work: Work, table: TableFacts | None, seconds: float | None) -> int:
    """How bad it is that others wait so long; what is not known is not small."""
    if work is Work.NONE:
        is_small = table is not None and table.heap_bytes < BIG_BYTES
        return checks.INFO if is_small else checks.WARNING
    if seconds is None or seconds >= ERROR_SECONDS:
        return checks.ERROR
    return checks.WARNING if seconds >= WARNING_SECONDS else checks.INFO


def spoken_seconds(seconds: float) -> str:
    """As people say it: `about 2 s`, `about 12 min`."""
    if seconds < 0.01:
        return "a moment"
    if seconds < 1:
        return f"about {seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min"


def spoken_size(table: TableFacts | None) -> str:
    """How much there is of a table: `3.0 million rows (451 MB)`."""
    if table is None:
        return "all rows of a table of unknown size"
    size = _bytes(table.heap_bytes)
    return f"{_rows(table.rows)} ({size})" if table.rows else f"all rows ({size})"


def _rows(rows: int | None) -> str:
    if rows is None:
        return "all rows"
    return f"{rows / 1e6:.1f} million rows" if rows >= 1e6 else f"{rows} rows"


def _bytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
