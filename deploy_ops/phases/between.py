"""The schema in between: after a plan has run, with what waits for the contract phase (pure).

It carries two codes. An operation that is run as a whole leaves what its models say. One of which
something waits adds what is new, and leaves what was there as it was, but for what inserts of new
code could not do without.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from deploy_ops.phases.snapshot import Check, Column, Snapshot, Table, Unique

Constraint = TypeVar("Constraint", Unique, Check)


@dataclass(frozen=True, slots=True)
class Step:
    """One operation: the models before and after it, and whether a part of it waits."""

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
    elif not waits:
        columns[name] = after


def _exchanged(
    present: tuple[Constraint, ...],
    old: tuple[Constraint, ...],
    new: tuple[Constraint, ...],
) -> tuple[Constraint, ...]:
    kept = [each for each in present if each not in old or each in new]
    return tuple(kept + [each for each in new if each not in kept])
