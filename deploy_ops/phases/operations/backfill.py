"""Fill a column of rows that are there, in batches, while old and new code work on them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db import router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation, OperationCategory
from django.db.migrations.state import ProjectState
from django.db.models import Field, Model, Q, QuerySet
from django.db.models.sql import UpdateQuery

from deploy_ops.errors import BackfillRefused
from deploy_ops.phases.backfill.filling import ALL_ROWS, Computed, Filling, Sql
from deploy_ops.phases.backfill.ledger import forget, is_there, register
from deploy_ops.phases.backfill.run import run
from deploy_ops.phases.halves import runs_alone
from deploy_ops.phases.where import Place, find_place

Values = Callable[[list[Any]], Iterable[Any]]
PLAIN_BATCH_ROWS = 1000


class Backfill(Operation):
    """Write a column of the rows that `where` holds for; by default of those where it is NULL.

    `values` is an expression (`F("km") * 2`, `RawSQL`, a constant), or a function that gets a list
    of rows, as instances of the model at this point of the migrations, and returns a value for each.
    """

    category = OperationCategory.PYTHON
    is_online = True

    def __init__(
        self,
        model_name: str,
        field_name: str,
        values: Any,
        where: Q | None = None,
        detached: bool = False,
    ) -> None:
        self.model_name = model_name
        self.field_name = field_name
        self.values = values
        self.where = where
        self.detached = detached

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """As it is written into a migration."""
        given = {"where": self.where, "detached": self.detached or None}
        kept = {name: value for name, value in given.items() if value is not None}
        return type(self).__name__, [self.model_name, self.field_name, self.values], kept

    @property
    def reduces_to_sql(self) -> bool:  # type: ignore[override]
        """What Python computes does not."""
        return self._function is None

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Rows are no part of the state."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Fill now, or leave it to workers."""
        connection = schema_editor.connection
        model = to_state.apps.get_model(app_label, self.model_name)
        if not _concerns(connection, model):
            return
        if schema_editor.collect_sql:
            sql, params = self._update(self._rows(connection, model)).as_sql()
            schema_editor.execute(sql, params)
        elif runs_alone(connection, app_label):
            self._fill_at_once(connection, model)
        elif filling := self.filling(connection, model):
            name = name_of(find_place(self, app_label))
            if self.detached:
                register(connection, name, filling)
            else:
                run(connection, name, filling)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Leave the values; forget that they were filled, so that it can be done again."""
        connection = schema_editor.connection
        if not schema_editor.collect_sql and is_there(connection):
            forget(connection, name_of(find_place(self, app_label)))

    def describe(self) -> str:
        """For people."""
        return f"Fill {self.field_name} of the rows of {self.model_name}"

    @property
    def migration_name_fragment(self) -> str:
        """For the name of a generated migration."""
        return f"fill_{self.model_name.lower()}_{self.field_name.lower()}"

    def filling(self, connection: BaseDatabaseWrapper, model: type[Model]) -> Filling | None:
        """What is to be written, in SQL; None if `where` can hold for no row."""
        field = self._field(model)
        try:
            where = self._where(self._rows(connection, model))
        except EmptyResultSet:
            return None
        return Filling(
            table=model._meta.db_table,
            key_columns=tuple(each.column for each in model._meta.pk_fields),
            assignments=self._assignments(connection, model, field),
            where=where,
        )

    @property
    def _function(self) -> Values | None:
        is_function = callable(self.values) and not hasattr(self.values, "resolve_expression")
        return self.values if is_function else None

    def _field(self, model: type[Model]) -> "Field[Any, Any]":
        field = model._meta.get_field(self.field_name)
        if field not in model._meta.local_concrete_fields:
            raise BackfillRefused(
                f"{self.describe()}: the column is in no row of {model._meta.db_table}. Nothing was "
                "changed. Name the model whose table has it, such as the parent of an inherited one."
            )
        return field  # type: ignore[return-value]  # a concrete one

    def _rows(self, connection: BaseDatabaseWrapper, model: type[Model]) -> "QuerySet[Any]":
        where = Q(**{f"{self.field_name}__isnull": True}) if self.where is None else self.where
        return model._base_manager.using(connection.alias).filter(where)

    def _update(self, rows: "QuerySet[Any]") -> Any:
        """Django's compiler of the UPDATE of these rows."""
        query = rows.query.chain(UpdateQuery)
        query.add_update_values({self.field_name: self.values})
        return query.get_compiler(using=rows.db)

    def _where(self, rows: "QuerySet[Any]") -> Sql:
        compiler = rows.query.get_compiler(using=rows.db)
        compiler.pre_sql_setup()
        if len(rows.query.alias_map) > 1:
            raise BackfillRefused(
                f"{self.describe()}: its `where` follows a relation, which would be read as a whole "
                "for each batch. Nothing was changed. Ask for each row instead:\n"
                "    where=Exists(Other.objects.filter(pk=OuterRef('other_id'), ...))"
            )
        try:
            text, params = compiler.compile(rows.query.where)
        except FullResultSet:
            return ALL_ROWS
        return Sql(text, tuple(params))

    def _assignments(
        self, connection: BaseDatabaseWrapper, model: type[Model], field: "Field[Any, Any]"
    ) -> Mapping[str, Sql] | Computed:
        if self._function is not None:
            return Computed((field.column,), _Computation(connection, model, field, self._function))
        text, params = self._update(model._base_manager.using(connection.alias).all()).as_sql()
        quote = connection.ops.quote_name
        prefix = f"UPDATE {quote(model._meta.db_table)} SET {quote(field.column)} = "
        return {field.column: Sql(text.removeprefix(prefix), tuple(params))}

    def _fill_at_once(self, connection: BaseDatabaseWrapper, model: type[Model]) -> None:
        """Nobody else is at work: one transaction."""
        rows = self._rows(connection, model)
        with transaction.atomic(connection.alias):
            if self._function is None:
                rows.update(**{self.field_name: self.values})
                return
            batch = list(rows.order_by("pk")[:PLAIN_BATCH_ROWS])
            while batch:
                for row, value in zip(batch, self._function(batch), strict=True):
                    model._base_manager.using(connection.alias).filter(pk=row.pk).update(
                        **{self.field_name: value}
                    )
                batch = list(rows.filter(pk__gt=batch[-1].pk).order_by("pk")[:PLAIN_BATCH_ROWS])


class _Computation:
    """Rows as instances of a model, and the values of a function as the database wants them."""

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        model: type[Model],
        field: "Field[Any, Any]",
        function: Values,
    ) -> None:
        self._connection = connection
        self._model = model
        self._fields = (*model._meta.pk_fields, field)
        self._function = function

    def __call__(self, select: Sql) -> Iterable[tuple[Any, ...]]:
        manager = self._model._base_manager.using(self._connection.alias)
        rows = list(manager.raw(select.text, select.params))
        for row, value in zip(rows, self._function(rows), strict=True):
            given = [getattr(row, each.attname) for each in self._fields[:-1]]
            yield tuple(
                each.get_db_prep_save(one, self._connection)
                for each, one in zip(self._fields, (*given, value))
            )


def name_of(place: Place) -> str:
    """The name of the backfill of an operation."""
    return f"{place.app}.{place.migration}.{place.path}"


def _concerns(connection: BaseDatabaseWrapper, model: type[Model]) -> bool:
    """Whether the table is in this database; a proxy and an unmanaged model have one too."""
    return not model._meta.swapped and router.allow_migrate_model(connection.alias, model)
