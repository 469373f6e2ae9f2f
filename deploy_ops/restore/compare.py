"""Comparisons: the restored database with its manifest, the live one with what is restored."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from deploy_ops.backup.entry import Backup
from deploy_ops.databases import Database, database_for
from deploy_ops.databases.base import Counts
from deploy_ops.errors import RestoreFailed
from deploy_ops.restore.interrupted import Restoring
from deploy_ops.restore.job import RestoreJob, contents_of
from deploy_ops.restore.values import Contents, Loss

UNTOUCHED = "The live database was not changed."


def require_same_rows(job: RestoreJob, name: str, state: str) -> None:
    """Count database `name` and compare it with the manifest; raises RestoreFailed.

    Sequences are no part of a snapshot and may be ahead of it. `state` says what has and has not
    been changed.
    """
    counts, sequences = job.database.count_rows(name)
    differences = [
        f"{table}: {_found(counts, table, 'table', '{} rows')}, {rows} rows in the backup"
        for table, rows in job.manifest.counts.items()
        if counts.get(table) != rows
    ]
    differences += [
        f"{sequence}: {_found(sequences, sequence, 'sequence', 'at {}')}, "
        f"at {position} in the backup"
        for sequence, position in job.manifest.sequences.items()
        if sequences.get(sequence, position - 1) < position
    ]
    if differences:
        raise RestoreFailed(
            f"The restored database {name} is not what was backed up:\n"
            + "\n".join(f"- {line}" for line in differences)
            + f"\n{state}"
        )


def _found(numbers: Counts, name: str, kind: str, form: str) -> str:
    return form.format(numbers[name]) if name in numbers else f"{kind} missing"


def view_differences(job: RestoreJob, name: str) -> tuple[str, ...]:
    """Tell which materialized views came out otherwise; whether that is right a person decides."""
    recorded = job.manifest.extra.get("materialized_views", {})
    return tuple(job.database.view_differences(name, recorded))


def compared_loss(job: RestoreJob, names: Restoring) -> Loss:
    """Count the restored and the live database at once: the proof, and what would be lost."""
    live = job.database.identify().name
    with ThreadPoolExecutor(1, "counting") as pool:
        counting = pool.submit(job.database.count_rows, live)
        require_same_rows(job, names.beside, UNTOUCHED)
        counts, sequences = counting.result()
    uploads = f", and uploads in {names.media.previous}" if names.media else ""
    return loss_of(
        job.database, job.contents, counts, sequences, f"database {names.previous}{uploads}"
    )


def loss_now(alias: str, backup: Backup) -> Loss:
    """What the live database would lose by a restore of this backup, as far as it can be counted
    without one."""
    database = database_for(alias)
    counts, sequences = database.count_rows(database.identify().name)
    stays_in = "the database before it, which is kept"
    return loss_of(database, contents_of(backup), counts, sequences, stays_in)


def loss_of(
    database: Database, contents: Contents, live: Counts, sequences: Counts, stays_in: str
) -> Loss:
    """Compare what the live database has with what is put back."""
    then = contents.write_position
    return Loss(
        place=database.identify().place,
        age=datetime.now(UTC) - contents.at,
        rows=rows_lost(contents, live),
        sequences=values_lost(contents, sequences),
        writes=database.writes_since(then, own_rows={}),
        lsn_then=then.get("lsn"),
        lsn_now=database.write_position().get("lsn"),
        stays_in=stays_in,
        kind=contents.kind,
    )


def rows_lost(contents: Contents, live: Counts) -> dict[str, int]:
    """Rows more (or fewer) than in what is put back, of each table where they differ."""
    saved = contents.counts
    more = {name: live.get(name, 0) - saved.get(name, 0) for name in {*live, *saved}}
    return {name: more[name] for name in sorted(more) if more[name]}


def values_lost(contents: Contents, live: Counts) -> dict[str, int]:
    """How many values each sequence has given out since then."""
    saved = contents.sequences
    drawn = {name: given - saved.get(name, 0) for name, given in live.items()}
    return {name: drawn[name] for name in sorted(drawn) if drawn[name] > 0}
