"""From Django's words to SQL: which rows of a model, and what a column of them becomes."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, Model, Q, QuerySet
from django.db.models.sql import UpdateQuery

from deploy_ops.errors import BackfillRefused
from deploy_ops.phases.backfill.filling import ALL_ROWS, Computed, Filling, Sql, key_columns

Function = Callable[[list[Any]], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class Subject:
    """A column of the rows of a model that `where` holds for, in one database."""

    connection: BaseDatabaseWrapper
    model: type[Model]
    field_name: str
    where: Q

    @property
    def all_rows(self) -> "QuerySet[Any]":
        """Every row of the table."""
        # pylint: disable-next=protected-access  # documented, for what must not be filtered
        return self.model._base_manager.using(self.connection.alias)

    @property
    def rows(self) -> "QuerySet[Any]":
        """Those to be written."""
        return self.all_rows.filter(self.where)

    @property
    def field(self) -> "Field[Any, Any]":
        """The field, whose column must be in the table of the model."""
        field = self.model._meta.get_field(self.field_name)
        if field not in self.model._meta.local_concrete_fields:
            raise BackfillRefused(
                f"{self.model._meta.db_table} has no column for {self.field_name}. Nothing was "
                "changed. Name the model whose table has it, such as the parent of an inherited "
                "one."
            )
        return field  # type: ignore[return-value]  # a concrete one


def compile_filling(subject: Subject, values: Any) -> Filling | None:
    """What is to be written, in SQL; None if `where` can hold for no row."""
    try:
        where = _where(subject)
    except EmptyResultSet:
        return None
    return Filling(
        table=subject.model._meta.db_table,
        key_columns=key_columns(subject.model),
        assignments=_assignments(subject, values),
        where=where,
    )


def compile_update(rows: "QuerySet[Any]", field_name: str, values: Any) -> Sql:
    """The UPDATE of these rows as Django writes it."""
    query: UpdateQuery = rows.query.chain(UpdateQuery)  # type: ignore[assignment]
    query.add_update_values({field_name: values})
    text, params = query.get_compiler(using=rows.db).as_sql()
    return Sql(text, tuple(params))


def function_in(values: Any) -> Function | None:
    """The function that computes the values, if they are no expression."""
    return values if callable(values) and not hasattr(values, "resolve_expression") else None


def _where(subject: Subject) -> Sql:
    query = subject.rows.query
    compiler = query.get_compiler(using=subject.connection.alias)
    compiler.pre_sql_setup()
    if len(query.alias_map) > 1:
        raise BackfillRefused(
            f"The condition for {subject.field_name} of {subject.model._meta.db_table} follows a "
            "relation, which would be read as a whole for each batch. Nothing was changed. Ask for "
            "each row instead:\n"
            "    where=Q(Exists(Other.objects.filter(pk=OuterRef('other_id'), ...)))"
        )
    try:
        text, params = compiler.compile(query.where)
    except FullResultSet:
        return ALL_ROWS
    return Sql(text, tuple(params))


def _assignments(subject: Subject, values: Any) -> Mapping[str, Sql] | Computed:
    column = _column(subject.field)
    if function := function_in(values):
        return Computed((column,), _Computation(subject, function))
    update = compile_update(subject.all_rows, subject.field_name, values)
    quote = subject.connection.ops.quote_name
    prefix = f"UPDATE {quote(subject.model._meta.db_table)} SET {quote(column)} = "
    return {column: Sql(update.text.removeprefix(prefix), update.params)}


@dataclass(frozen=True, slots=True)
class _Computation:
    """Rows as instances of the model, and the values of a function as the database wants them."""

    subject: Subject
    function: Function

    def __call__(self, select: Sql) -> Iterable[tuple[Any, ...]]:
        keys, field = self.subject.model._meta.pk_fields, self.subject.field
        rows = list(self.subject.all_rows.raw(select.text, select.params))
        for row, value in zip(rows, self.function(rows), strict=True):
            key = (self._prepared(each, getattr(row, each.attname)) for each in keys)
            yield *key, self._prepared(field, value)

    def _prepared(self, field: "Field[Any, Any]", value: Any) -> Any:
        return field.get_db_prep_save(value, self.subject.connection)


def _column(field: "Field[Any, Any]") -> str:
    assert field.column is not None, "a concrete field has one"
    return field.column
