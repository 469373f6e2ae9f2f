"""Values of a restore: the loss, the moment when it was counted, and the result."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from deploy_ops.databases.base import Counts, Json, RowCounts, Writes


@dataclass(frozen=True, slots=True)
class Contents:
    """What a restore puts back: the database as it was at a moment.

    `kind` and `title` name it in sentences; `id` begins with the moment; `write_position` is the
    one before. `run` is the run that it was made for.
    """

    id: str
    title: str
    at: datetime
    kind: str
    counts: Counts
    sequences: Counts
    write_position: Json
    run: str | None = None


@dataclass(frozen=True, slots=True)
class Loss:
    """What the restore takes out of the live database.

    `rows` is the live count minus the backup's of every table where they differ; `sequences` are
    values drawn since, which would be given out again; `writes` is what the server counted, updates
    too; `lsn_*` are positions in the write-ahead log, if there is one; `stays_in` says where all of
    it can still be found; `kind` names what is put back.
    """

    place: str
    age: timedelta
    rows: Counts
    sequences: Counts
    writes: Writes
    lsn_then: str | None
    lsn_now: str | None
    stays_in: str
    kind: str = "backup"


@dataclass(frozen=True, slots=True)
class Since:
    """A moment after which nobody else may have written: its write position, and what happened at
    it.

    `own_rows` are the rows that the caller has changed itself since, None if that is not known.
    """

    write_position: Json
    moment: str
    own_rows: RowCounts | None = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Restored:
    """Where the restored database is, and what the one before is called (None if none was kept).

    `view_differences` tells which materialized views came out other than at the backup. `loss` is
    what was taken out of the live database in the end, where that may be more than was counted
    before.
    """

    database: str
    previous_database: str | None
    previous_media: str | None = None
    safety_backup: str | None = None
    view_differences: Sequence[str] = ()
    loss: Loss | None = None
