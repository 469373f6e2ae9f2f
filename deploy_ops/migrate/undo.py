"""Undoing what this run applied, newest first, only if nothing is lost by it (undoing.py).

A step that only builds indexes concurrently holds no rows and is undone by itself.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from deploy_ops.databases.base import RowCounts
from deploy_ops.errors import NotLossless
from deploy_ops.migrate.apply import perform
from deploy_ops.migrate.history import History
from deploy_ops.migrate.plan import Step, effects_after
from deploy_ops.migrate.reversal import NewTable, Reversal
from deploy_ops.migrate.run import Applied, Run
from deploy_ops.migrate.undoing import Undoing, bookkeeping, together


def obstacles(run: Run) -> Iterator[str]:
    """Why undoing what this run applied is not lossless, as far as it can be told beforehand."""
    new = {each.table for each in effects_after(run.applied_steps) if isinstance(each, NewTable)}
    for group in run.applied:
        for step in group.steps:
            if why := _obstacle(run, step, group, new):
                yield why


def _obstacle(run: Run, step: Step, group: Applied, new_tables: set[str]) -> str | None:
    if step.backwards:
        return f"{step} was itself a reverse migration."
    if not step.is_atomic and step.indexes is None:
        return f"{step} runs without a transaction."
    if step.reversal not in (Reversal.LOSSLESS, Reversal.UNPROVEN):
        return f"reversing {step} is {step.reversal}."
    is_unproven = step.reversal is Reversal.UNPROVEN
    if is_unproven and (
        group.rows is None or group.have_changed_files or not run.database.counts_rows
    ):
        return f"{step} runs code, and what that changed is not known."
    if others := _other_tables(run, step, group.rows or {}, new_tables):
        how = "runs code that changed" if step.runs_code else "made triggers change"
        return f"{step} {how} rows of {', '.join(others)}."
    return None


def _other_tables(run: Run, step: Step, rows: RowCounts, new_tables: set[str]) -> list[str]:
    """Tables that are not dropped again, and whose rows nobody gives back."""
    database, relations = run.database, run.database.relations()
    own = database.partitions_of(bookkeeping(step))
    own |= {oid for oid, each in relations.items() if each.name in new_tables} - run.tables_before
    return sorted(relations[oid].name for oid in rows.keys() & relations.keys() - own)


def undo(run: Run) -> list[str]:
    """Undo every step that this run applied; return the names of the kept tables.

    Raises NotLossless or MigrationFailed; then `run.applied` has what is still applied.
    """
    kept: list[str] = []
    run.history = History.read(run.connection)
    for group in together(reversed(run.applied_steps)):
        backwards = tuple(replace(step, backwards=True) for step in group)
        undoing, is_atomic = Undoing(run, group, run.tables_before), group[0].is_atomic
        work = undoing.work if is_atomic else undoing.unapply
        undone = perform(run, backwards, work, then=_forget(run, group))
        if is_atomic and undone.rows is None and run.database.counts_rows:
            raise NotLossless("the reverse used other connections, and what it did is not known.")
        kept += undoing.kept
    return kept


def _forget(run: Run, group: tuple[Step, ...]) -> Callable[[Applied], None]:
    def forget(_undone: Applied) -> None:
        run.applied = [each for each in run.applied if each.steps[0] not in group]

    return forget
