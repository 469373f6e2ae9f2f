"""The schema in between: after a plan has run, with what waits for the contract phase (pure).

It carries two codes. An operation that is run as a whole leaves what its models say; of one whose
contract waits, what is looser of both stays.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from deploy_ops.phases.column_types import takes_all_of
from deploy_ops.phases.snapshot import Check, Column, Snapshot, Table, Unique

Constraint = TypeVar("Constraint", Unique, Check)


@dataclass(frozen=True, slots=True)
class Step:
    """One operation: the models before and after it, and whether its contract waits."""

    before: Snapshot
    after: Snapshot
    waits: bool


def schema_between(start: Snapshot, steps: Iterable[Step]) -> Snapshot:
    """The schema that the steps make of the one at their start."""
    tables = dict(start.tables)
    for step in steps:
        for name in {*step.before.tables, *step.after.tables}:
            old, new = step.before.tables.get(name), step.after.tables.get(name)
            if old != new:
                _apply(tables, name, old, new, step.waits)
    return Snapshot(tables)


def _apply(
    tables: dict[str, Table], name: str, old: Table | None, new: Table | None, waits: bool
) -> None:
    if new is None:
        if not waits:
            tables.pop(name, None)
    elif old is None or name not in tables:
        tables[name] = new
    else:
        tables[name] = _changed(tables[name], old, new, waits)


def _changed(table: Table, old: Table, new: Table, waits: bool) -> Table:
    columns = dict(table.columns)
    for name in {*old.columns, *new.columns}:
        before, after = old.columns.get(name), new.columns.get(name)
        if before != after:
            _apply_column(columns, name, before, after, waits)
    if waits:
        # What is unique stays as it is, for ON CONFLICT of old code; a check goes at once.
        gone = set(old.checks) - set(new.checks)
        uniques = table.uniques
        checks = tuple(check for check in table.checks if check not in gone)
    else:
        uniques = _exchanged(table.uniques, old.uniques, new.uniques)
        checks = _exchanged(table.checks, old.checks, new.checks)
    return replace(table, model=new.model, columns=columns, uniques=uniques, checks=checks)


def _apply_column(
    columns: dict[str, Column],
    name: str,
    before: Column | None,
    after: Column | None,
    waits: bool,
) -> None:
    if after is None:
        if not waits:
            columns.pop(name, None)
        elif name in columns and not columns[name].may_be_left_out:
            columns[name] = replace(columns[name], null=True)
    elif before is None:
        columns[name] = replace(after, null=True) if waits else after
    elif not waits or _is_looser(after, before):
        columns[name] = after


def _is_looser(after: Column, before: Column) -> bool:
    """Whether the change runs at once though the rest waits: NULL, or longer text."""
    if (before.null and not after.null) or after.default != before.default:
        return False
    is_text = before.type.startswith("varchar") and after.type.startswith("varchar")
    return after.type == before.type or (is_text and takes_all_of(after.type, before.type))


def _exchanged(
    present: tuple[Constraint, ...],
    old: tuple[Constraint, ...],
    new: tuple[Constraint, ...],
) -> tuple[Constraint, ...]:
    kept = [each for each in present if each not in old or each in new]
    return tuple(kept + [each for each in new if each not in kept])
