"""A second column of another type: filled, kept right and indexed beside the first, then swapped.

The first column is dropped and the second gets its name in one transaction, with all that hung on
the first: its constraints and indexes under their names, its default, its comment.
"""

# pylint: disable=protected-access  # of Django's schema editor, for names and SQL as it has them

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

from django.db import transaction

from deploy_ops.errors import BackfillFailed, NotOnline, RowsInTheWay
from deploy_ops.phases.backfill import Filling, Sql, fill
from deploy_ops.phases.backfill.entry import forget
from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.catalog import Catalog
from deploy_ops.phases.operations.column_facts import Facts, column_exists, facts_of, has_type
from deploy_ops.phases.operations.column_steps import AddColumn, AddTrigger, DropColumn
from deploy_ops.phases.operations.dependents import Dependent, Kind, dependents_for
from deploy_ops.phases.operations.steps import (
    AddCheck,
    AddConstraint,
    BuildIndex,
    DropConstraint,
    Statement,
    Step,
    Validate,
    run_unhurried,
    run_whole,
)
from deploy_ops.phases.triggers import Trigger, drop_trigger

RANK = 3  # after triggers that fill the first column, or write it under another name
_LENGTH = re.compile(r"^varchar\(\d+\)")
_BAD_VALUE = ("22", "23")  # classes of SQLSTATE: data exception, integrity constraint violation


class SecondColumn:
    """Two fields of one model, and the column that is to take the place of the first one's.

    Where new code writes it, it has the name of the new field's column from the first; else a name
    of its own, which nobody but the trigger knows.
    """

    def __init__(self, change: Change, old: Any, new: Any, *, is_written: bool) -> None:
        self.change, self.old, self.new = change, old, new
        self.is_written = is_written
        self.table = str(old.model._meta.db_table)
        self.subject = f"{change.app}.{new.model._meta.model_name} {new.name}"
        self.column = str(new.column) if is_written else self._own_name("column")

    def expand_steps(self) -> Sequence[Step]:
        """What makes the second column, while the first one stays."""
        if not self._is_collected and not column_exists(self.change, self.table, self.old.column):
            return []
        return [*self._filled(), *self._indexed()]

    def undo_steps(self) -> Sequence[Step]:
        """What drops the second column again."""
        tables = (self.table,)
        return [
            DropSecond(tables=tables, column=self.column, second=self),
        ]

    def replace_steps(self) -> Sequence[Step]:
        """What puts the second column in the place of the first one; nothing once that is done."""
        if not self._is_collected and self._is_replaced():
            return []
        made = [] if self.is_written else self._filled()
        tables = (self.table,)
        return [
            *made,
            *self._indexed(),
            *self._proof(),
            Analyze(tables=tables, column=self.column),
            Swap(tables=tables, second=self),
        ]

    @cached_property
    def trigger(self) -> Trigger:
        """What keeps the second column right, and the first one where new code does not know it."""
        old, new = (f"NEW.{self.change.quote(each)}" for each in (self.old.column, self.column))
        if not self.is_written:
            body = f"{new} := {self.forwards('NEW.')};"
        else:
            before = old.replace("NEW.", "OLD.", 1), new.replace("NEW.", "OLD.", 1)
            body = (
                f"IF TG_OP = 'INSERT' AND {new} IS NULL"
                f" OR TG_OP = 'UPDATE' AND {old} IS DISTINCT FROM {before[0]} THEN"
                f" {new} := {self.forwards('NEW.')};"
                # What a backfill writes is made of the first column, and is not written back.
                f" ELSIF TG_OP = 'INSERT' OR {new} IS DISTINCT FROM {before[1]}"
                f" AND {new} IS DISTINCT FROM {self.forwards('NEW.')} THEN"
                f" {old} := {_cast(new, self._type(self.old))}; END IF;"
            )
        subject = f"{self.subject} type"
        return Trigger(table=self.table, purpose="type", subject=subject, body=body, rank=RANK)

    def forwards(self, prefix: str = "") -> str:
        """The value of the second column, made of the first one's."""
        return _cast(f"{prefix}{self.change.quote(self.old.column)}", self._type(self.new))

    def differs(self) -> str:
        """Whether a row has another value in the second column than it should have."""
        wanted = self.forwards()
        if self._collation(self.old) != self._collation(self.new):
            wanted += ' COLLATE "C"'  # else PostgreSQL does not know by which of both to compare
        return f"{self.change.quote(self.column)} IS DISTINCT FROM {wanted}"

    @cached_property
    def dependents(self) -> Sequence[Dependent]:
        """What hangs on the first column, for the second; with Django's index for LIKE."""
        editor, types = self.change.editor, (self._type(self.old), self._type(self.new))
        found = dependents_for(self.change, self.table, self.old.column, self.column)
        if not editor._is_changing_type_of_indexed_text_column(self.old, *types):
            return found
        like = editor._create_index_name(self.table, [self.old.column], suffix="_like")
        gone = next((each for each in found if each.name == like), None)
        kept = [each for each in found if each is not gone]
        sql = editor._create_like_index_sql(self.new.model, self.new)
        if gone is None or sql is None:
            return kept
        kind = "varchar" if types[1].startswith("varchar") else "text"
        body = f"btree ({self.change.quote(self.column)} {kind}_pattern_ops)"
        name = str(sql.parts["name"]).removeprefix('"').removesuffix('"')
        return [*kept, Dependent(Kind.INDEX, name, body, tablespace=gone.tablespace)]

    def twin(self, name: str) -> str:
        """What an index or a constraint is called until it gets its name."""
        return self._own_name(name)

    @property
    def proof(self) -> str:
        """The check that says that all rows are right."""
        return self._own_name("proof")

    @property
    def filling(self) -> Filling:
        """What is to be written."""
        return Filling(
            table=self.table,
            key_columns=tuple(str(each.column) for each in self.old.model._meta.pk_fields),
            assignments={self.column: Sql(self.forwards().replace("%", "%%"))},
            where=Sql(self.differs().replace("%", "%%")),
        )

    @cached_property
    def is_not_null(self) -> bool:
        """As the catalog has it, which later operations may have changed before this one's end."""
        if self._is_collected or self.is_written and not self.new.null:
            return not self.new.null
        column = self.column if self.is_written else self.old.column
        return Catalog(self.change.connection, self.table).is_not_null(column) is True

    @property
    def _is_collected(self) -> bool:
        return bool(self.change.editor.collect_sql)

    def _filled(self) -> list[Step]:
        tables, quote = (self.table,), self.change.quote
        collation = self._collation(self.new)
        collate = f" COLLATE {quote(collation)}" if collation else ""
        definition = f"{quote(self.column)} {self._type(self.new)}{collate} NULL"
        statement = Statement(f"ALTER TABLE {quote(self.table)} ADD COLUMN {definition}")
        return [
            AddColumn(tables=tables, column=self.column, statement=statement),
            AddTrigger(tables=tables, trigger=self.trigger),
            FillSecond(tables=tables, second=self),
        ]

    def _indexed(self) -> Iterator[Step]:
        tables, quote = (self.table,), self.change.quote
        for each in self.dependents:
            twin = self.twin(each.name)
            if each.kind is Kind.CHECK:
                sql = f"{each.as_check(quote(twin), quote(self.table))} NOT VALID"
                yield AddCheck(tables=tables, name=twin, statement=Statement(sql))
                if each.is_valid:
                    yield Validate(tables=tables, name=twin)
            else:
                sql = each.as_index(quote(twin), quote(self.table), "CONCURRENTLY ")
                yield BuildIndex(tables=tables, name=twin, statement=Statement(sql))

    def _proof(self) -> Iterator[Step]:
        """NOT NULL, which then reads no row; and that no row was left out."""
        column = self.change.quote(self.column)
        parts = [f"{column} IS NOT NULL"] if self.is_not_null else []
        parts += [] if self.is_written else [f"NOT ({self.differs()})"]
        if parts:
            tables, table = (self.table,), self.change.quote(self.table)
            name = self.change.quote(self.proof)
            sql = f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({' AND '.join(parts)})"
            yield AddConstraint(
                tables=tables, name=self.proof, statement=Statement(f"{sql} NOT VALID")
            )
            yield Validate(tables=tables, name=self.proof)

    def _is_replaced(self) -> bool:
        change, table = self.change, self.table
        if self.is_written or self.old.column != self.new.column:
            return not column_exists(change, table, self.old.column)
        if not column_exists(change, table, self.old.column):
            raise NotOnline(
                f"{table} has no column {self.old.column} any more, whose type was to change. "
                "Nothing was changed. If it was renamed since, change its type by a migration "
                "under its new name."
            )
        return not column_exists(change, table, self.column) and has_type(change, table, self.new)

    def _own_name(self, what: str) -> str:
        digest = sha256(f"{self.subject} {what}".encode()).hexdigest()[:16]
        return f"deploy_ops_{digest}"  # 27 characters

    def _type(self, field: Any) -> str:
        return str(field.db_parameters(connection=self.change.connection)["type"])

    def _collation(self, field: Any) -> str:
        return str(field.db_parameters(connection=self.change.connection).get("collation") or "")


@dataclass(frozen=True, kw_only=True)
class FillSecond(Step):
    """Write the second column of the rows that are there, in batches."""

    second: SecondColumn
    needs_no_transaction = True

    def is_done(self, change: Change) -> bool:
        """Whether it was proven already."""
        return self.catalog(change).is_validated(self.second.proof) is True

    def work(self, change: Change) -> None:
        """Fill it. Where a value does not fit nothing is left that would reject writes."""
        second, quote = self.second, change.quote
        if change.editor.collect_sql:
            column = quote(second.column)
            change.execute(
                f"UPDATE {quote(self.table)} SET {column} = {second.forwards()}"
                f" WHERE {second.differs()}"
            )
            return
        try:
            fill(change.connection, second.filling)
        except BackfillFailed as error:
            state = getattr(getattr(error.__cause__, "__cause__", None), "sqlstate", None) or ""
            if not state.startswith(_BAD_VALUE):
                raise
            DropSecond(tables=self.tables, column=second.column, second=second).run(change)
            raise RowsInTheWay(
                f"A value of {self.table}.{second.old.column} does not fit into its new type: "
                f"{error}\nThe type is as it was, and the column that was to replace it was "
                "dropped again. Correct the rows, and migrate again."
            ) from error


@dataclass(frozen=True, kw_only=True)
class DropSecond(DropColumn):
    """Drop the second column, its trigger, and the progress of filling it."""

    second: SecondColumn

    def is_done(self, change: Change) -> bool:
        """Each of them is looked for."""
        return False

    def work(self, change: Change) -> None:
        """Drop them."""
        drop_trigger(change, self.second.trigger)
        if change.editor.collect_sql or not super().is_done(change):
            super().work(change)
        if not change.editor.collect_sql:
            filling = self.second.filling
            with transaction.atomic(change.connection.alias):
                forget(change.connection, f"{filling.table}.{','.join(filling.columns)}")


@dataclass(frozen=True, kw_only=True)
class Analyze(Step):
    """Let the planner know the values before queries meet them."""

    column: str
    needs_no_transaction = True

    def is_done(self, change: Change) -> bool:
        """Again is harmless."""
        return False

    def work(self, change: Change) -> None:
        """Read some rows."""
        run_unhurried(change, f"ANALYZE {change.quote(self.table)} ({change.quote(self.column)})")


@dataclass(frozen=True, kw_only=True)
class Swap(Step):
    """Drop the first column, and give its names to the second and to all that hangs on it."""

    second: SecondColumn
    needs_no_transaction = True

    def check(self, change: Change) -> None:
        """Refuse partitioned tables."""
        self.refuse_partitioned(change, "change the type of a column")

    def is_done(self, change: Change) -> bool:
        """There would be no steps."""
        return False

    def work(self, change: Change) -> None:
        """All of it in one transaction."""
        run_whole(change, self.tables, lambda: self._swap(change))

    def _swap(self, change: Change) -> None:
        second, quote = self.second, change.quote
        table = f"ALTER TABLE {quote(self.table)}"
        facts = facts_of(change, self.table, second.old.column)
        drop_trigger(change, second.trigger)
        if second.is_not_null:
            change.execute(f"{table} ALTER COLUMN {quote(second.column)} SET NOT NULL")
        change.execute(f"{table} DROP COLUMN {quote(second.old.column)}")
        if second.column != second.new.column:
            change.execute(
                f"{table} RENAME COLUMN {quote(second.column)} TO {quote(second.new.column)}"
            )
        if second.is_written and second.is_not_null:
            DropConstraint(tables=self.tables, name=second.proof).work(change)
        for each in second.dependents:
            change.execute(self._named(change, each))
        self._take_over(change, facts)

    def _named(self, change: Change, each: Dependent) -> str:
        name, twin = change.quote(each.name), change.quote(self.second.twin(each.name))
        table = f"ALTER TABLE {change.quote(self.table)}"
        if each.kind is Kind.INDEX:
            return f"ALTER INDEX {twin} RENAME TO {name}"
        if each.kind is Kind.UNIQUE:
            return f"{table} ADD CONSTRAINT {name} UNIQUE USING INDEX {twin}{each.ending}"
        return f"{table} RENAME CONSTRAINT {twin} TO {name}"

    def _take_over(self, change: Change, facts: Facts) -> None:
        """Default, comment, target of statistics, and the name of NOT NULL (PostgreSQL 18)."""
        table, column = change.quote(self.table), change.quote(self.second.new.column)
        alter = f"ALTER TABLE {table} ALTER COLUMN {column}"
        if facts.default is not None:
            change.execute(f"{alter} SET DEFAULT {facts.default}")
        if facts.statistics is not None:
            change.execute(f"{alter} SET STATISTICS {facts.statistics}")
        if facts.comment is not None:
            comment = change.editor.quote_value(facts.comment)
            change.execute(f"COMMENT ON COLUMN {table}.{column} IS {comment}")
        if facts.not_null is not None:
            now = facts_of(change, self.table, self.second.new.column).not_null
            if now is not None and now != facts.not_null:
                names = f"{change.quote(now)} TO {change.quote(facts.not_null)}"
                change.execute(f"ALTER TABLE {table} RENAME CONSTRAINT {names}")


def _cast(value: str, type_: str) -> str:
    """As the type without its length: what is too long has to fail, and a cast would cut it."""
    return f"{value}::{_LENGTH.sub('varchar', type_)}"
