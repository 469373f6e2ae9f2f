"""Indexes and constraints built for another column, under other names until they get theirs."""

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256

from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.dependents import Dependent, Kind
from deploy_ops.phases.operations.steps import (
    AddCheck,
    AddConstraint,
    BuildIndex,
    Statement,
    Step,
    Validate,
)


def own_name(subject: str) -> str:
    """A name that only deploy_ops gives, and always the same: 27 characters."""
    return f"deploy_ops_{sha256(subject.encode()).hexdigest()[:16]}"


def twin_steps(
    change: Change, table: str, dependents: Iterable[Dependent], twin: Callable[[str], str]
) -> Iterator[Step]:
    """What builds them while others use the table."""
    tables, quote = (table,), change.quote
    for each in dependents:
        name = twin(each.name)
        if each.kind is Kind.CHECK:
            sql = f"{each.as_check(quote(name), quote(table))} NOT VALID"
            yield AddCheck(tables=tables, name=name, statement=Statement(sql))
            if each.is_valid:
                yield Validate(tables=tables, name=name)
        else:
            sql = each.as_index(quote(name), quote(table), "CONCURRENTLY ")
            yield BuildIndex(tables=tables, name=name, statement=Statement(sql))
            if each.ending:  # an index alone rejects what a transaction sets right before its end
                constraint = Statement(_unique(change, table, name, name, each.ending))
                yield AddConstraint(tables=tables, name=name, statement=constraint)


def name_twin(change: Change, table: str, each: Dependent, twin: str) -> None:
    """Give one the name that it is to have, which is free by now."""
    name, quoted = change.quote(each.name), change.quote(twin)
    alter = f"ALTER TABLE {change.quote(table)}"
    if each.kind is Kind.INDEX:
        change.execute(f"ALTER INDEX {quoted} RENAME TO {name}")
    elif each.kind is Kind.UNIQUE and not each.ending:
        change.execute(_unique(change, table, each.name, twin))
    else:
        change.execute(f"{alter} RENAME CONSTRAINT {quoted} TO {name}")


def _unique(change: Change, table: str, name: str, index: str, ending: str = "") -> str:
    alter = f"ALTER TABLE {change.quote(table)} ADD CONSTRAINT {change.quote(name)}"
    return f"{alter} UNIQUE USING INDEX {change.quote(index)}{ending}"


def proof_steps(change: Change, table: str, name: str, condition: str) -> Iterator[Step]:
    """What shows that a condition holds for every row, and goes on doing so; others write."""
    alter = f"ALTER TABLE {change.quote(table)} ADD CONSTRAINT {change.quote(name)}"
    statement = Statement(f"{alter} CHECK ({condition}) NOT VALID")
    yield AddConstraint(tables=(table,), name=name, statement=statement)
    yield Validate(tables=(table,), name=name)
