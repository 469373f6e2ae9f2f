"""A second column of another type, as a value: its name, what is in it, and what hangs on it."""

# pylint: disable=protected-access  # of Django's schema editor, for names and SQL as it has them

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from django.db import ProgrammingError, transaction

from deploy_ops.phases.backfill import Filling
from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.catalog import Catalog
from deploy_ops.phases.operations.column_facts import type_of
from deploy_ops.phases.operations.dependents import Dependent, Kind, dependents_for
from deploy_ops.phases.operations.doubled import Doubled
from deploy_ops.phases.operations.shadow import equal
from deploy_ops.phases.operations.twins import own_name
from deploy_ops.phases.triggers import Trigger

RANK = 3  # after triggers that fill the first column, or write it under another name
# Their casts depend on TimeZone and the like of whoever writes.
_BY_SETTINGS = ("date", "time", "interval", "double", "real", "bytea")
_NO_CAST = "42846"  # cannot_coerce
_LENGTH = re.compile(r"^varchar\(\d+\)")


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
                f" OR TG_OP = 'UPDATE' AND NOT ({equal(old, before[0])}) THEN"
                f" {new} := {self.forwards('NEW.')};"
                # What a backfill writes is made of the first column, and is not written back.
                f" ELSIF TG_OP = 'INSERT' OR NOT ({equal(new, before[1])})"
                f" AND NOT ({equal(new, self.forwards('NEW.'))}) THEN"
                f" {old} := {_cast(new, self._type(self.old))}; END IF;"
            )
        subject = f"{self.subject} type"
        types = {self._type(each) for each in (self.old, self.new)}
        return Trigger(
            table=self.table,
            purpose="type",
            subject=subject,
            body=body,
            rank=RANK,
            is_by_settings=any(each.startswith(_BY_SETTINGS) for each in types),
        )

    def forwards(self, prefix: str = "") -> str:
        """The value of the second column, made of the first one's."""
        return _cast(f"{prefix}{self.change.quote(self.old.column)}", self._type(self.new))

    def differs(self) -> str:
        """Whether a row has another value in the second column than it should have."""
        return f"NOT ({equal(self.change.quote(self.column), self.forwards())})"

    def agrees(self) -> str:
        """Whether one of both columns is made of the other, so that nothing is only in the old."""
        same = f"NOT ({self.differs()})"
        if not self.is_written:
            return same
        old, new = (self.change.quote(each) for each in (self.old.column, self.column))
        return f"({equal(old, _cast(new, self._type(self.old)))} OR {same})"

    def has_casts(self) -> bool:
        """Whether PostgreSQL makes a value of the one type of one of the other, as is needed."""
        old, new = (self._type(each) for each in (self.old, self.new))
        casts = [(old, new), *([(new, old)] if self.is_written else [])]
        alias = self.change.connection.alias
        try:
            with transaction.atomic(alias), self.change.connection.cursor() as cursor:
                for one, other in casts:
                    cursor.execute(f"EXPLAIN SELECT NULL::{one}::{other}")
        except ProgrammingError as error:
            if getattr(error.__cause__, "sqlstate", None) != _NO_CAST:
                raise
            return False
        return True

    @property
    def doubled(self) -> Doubled:
        """The first one, and this one as its copy."""
        return Doubled(self.table, str(self.old.column), self.column, made=self.forwards())

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
        return Filling.of_column(self.old.model, self.column, self.forwards(), self.differs())

    @cached_property
    def is_not_null(self) -> bool:
        """As the catalog has it, which later operations may have changed before this one's end."""
        if self.is_collected or self.is_written and not self.new.null:
            return not self.new.null
        column = self.column if self.is_written else self.old.column
        return Catalog(self.change.connection, self.table).is_not_null(column) is True

    @property
    def is_collected(self) -> bool:
        """Whether statements are only written down (sqlmigrate)."""
        return bool(self.change.editor.collect_sql)

    @property
    def definition(self) -> str:
        """The column with its type, as ADD COLUMN takes it."""
        return f"{self.change.quote(self.column)} {type_of(self.change, self.new)} NULL"

    def _own_name(self, what: str) -> str:
        return own_name(f"{self.subject} {what}")

    def _type(self, field: Any) -> str:
        return str(field.db_parameters(connection=self.change.connection)["type"])


def _cast(value: str, type_: str) -> str:
    """As the type without its length: what is too long has to fail, and a cast would cut it."""
    return f"{value}::{_LENGTH.sub('varchar', type_)}"
