"""AddFieldOnline: a column with its index and constraints, while others use the table."""

from copy import copy
from typing import Any

# pylint: disable=protected-access  # the parts of a column have to be those of Django itself
from django.db import transaction
from django.db.migrations.operations import AddField
from django.db.migrations.operations.base import Operation
from django.db.models import AutoField, Model, Value

from deploy_ops.errors import NotOnline
from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.catalog import Catalog
from deploy_ops.phases.operations.column_steps import AddColumn, DropColumn, DropTable
from deploy_ops.phases.operations.columns import FK_SUFFIX
from deploy_ops.phases.operations.now import fields_now
from deploy_ops.phases.operations.online import PhasedOnline, run_steps
from deploy_ops.phases.operations.shadow import shadows_of
from deploy_ops.phases.operations.statements import online_steps
from deploy_ops.phases.operations.steps import Brief, Statement, Step
from deploy_ops.phases.operations.values import composed, python_default
from deploy_ops.phases.rows import Entry
from deploy_ops.phases.taken_names import check_column, removed_columns


class AddFieldOnline(PhasedOnline, AddField):
    """AddField: the column without a rewrite, its index and constraints afterwards, one by one.

    A default in Python stays a default of the database until the contract phase: code of the old
    release inserts rows without the column. What would rewrite the table, or has no one value for
    the rows that are there, is refused with the way around it.
    """

    def expand(self, change: Change) -> None:
        """The column, what belongs to it, and a default for code that does not know it."""
        model, field = self._field(change)
        if not change.editor.collect_sql:  # else it would take over the old one
            names = model._meta.db_table, field.column
            check_column(change.connection, change.app, self, *names)
        if _has_column(change, field):
            run_steps(self, change, self._steps(change, model, field))
        elif _makes_table(field):
            through = field.remote_field.through
            steps = online_steps(change, through, lambda editor: editor.create_model(through))
            run_steps(self, change, steps)

    def undo(self, change: Change) -> None:
        """Drop the column or the table."""
        model, field = self._field(change)
        if _has_column(change, field):
            drop = DropColumn(tables=_tables(model, field), column=field.column)
            run_steps(self, change, [drop])
        elif _makes_table(field):
            through = field.remote_field.through
            ends = [each.related_model for each in through._meta.local_fields if each.is_relation]
            tables = [each._meta.db_table for each in (through, *ends)]
            run_steps(self, change, [DropTable(tables=tuple(tables))])

    def contract(self, change: Change) -> None:
        """Drop the default."""
        model, field = self._field(change)
        if self._default(change, field) is None:
            return
        table = model._meta.db_table
        if not change.editor.collect_sql and _is_needed(change, table, field.column):
            return
        column = f"{change.quote(table)} ALTER COLUMN {change.quote(field.column)}"
        statement = Statement(f"ALTER TABLE {column} DROP DEFAULT")
        run_steps(self, change, [Brief(tables=(table,), statement=statement)])

    def entry(self, change: Change) -> Entry | None:
        """The default, if there is one that Django would not have left."""
        model, field = self._field(change)
        if self._default(change, field) is None:
            return None
        return Entry(model._meta.db_table, f"Drop the default of {self.name}")

    def reduce(self, operation: Operation, app_label: str) -> bool | list[Operation]:
        """As AddField; what is left of two is online again."""
        reduced = super().reduce(operation, app_label)
        if isinstance(reduced, list):
            return [self._online(each) for each in reduced]
        return reduced

    def _online(self, operation: Operation) -> Operation:
        if isinstance(operation, AddField):
            return AddFieldOnline(operation.model_name, operation.name, operation.field)
        return operation

    def _field(self, change: Change) -> tuple[type[Model], Any]:
        """The model, and the field with a default that is for this once on it."""
        model = change.model_after(self.model_name)
        field: Any = copy(model._meta.get_field(self.name))
        if not self.preserve_default:
            field.default = self.field.default
        return model, field

    def _default(self, change: Change, field: Any) -> str | None:
        """What the database is to insert in between, as SQL."""
        if not _has_column(change, field) or field.has_db_default() or field.generated:
            return None
        if field.null and field.has_default() and callable(field.default):
            return None  # NULL does for the rows of code that does not know the column
        return python_default(change, field) or _empty_text(change, field)

    def _steps(self, change: Change, model: type[Model], field: Any) -> list[Step]:
        default = self._default(change, field)
        _check_column(change, model, field, default)
        table, quoted = model._meta.db_table, change.quote(model._meta.db_table)
        bare = _bare(field)
        definition, params = change.editor.column_sql(model, bare)
        sql = f"ALTER TABLE {quoted} ADD COLUMN {change.quote(field.column)} {definition}"
        if default is not None:
            sql += f" DEFAULT {default}" if not params else f" DEFAULT {default}".replace("%", "%%")
        column = AddColumn(
            tables=(table,), column=field.column, statement=Statement(sql, params or None)
        )
        return [column, *online_steps(change, model, lambda editor: _rest(editor, model, field))]


def _is_needed(change: Change, table: str, column: str) -> bool:
    """Whether a later migration needs a default: it set one, or code leaves the column out now."""
    columns = {column, *shadows_of(change, table, column)}
    if removed_columns(change.connection).keys() & {(table, each) for each in columns}:
        return True
    return any(each.has_db_default() for each in fields_now(change, table, columns))


def _rest(editor: Any, model: type[Model], field: Any) -> None:
    """What Django writes into the column's definition, under the names that it gets there."""
    catalog = Catalog(editor.connection, model._meta.db_table)
    if check := field.db_parameters(connection=editor.connection)["check"]:
        name = catalog.automatic_name(field.column, "check")
        editor.execute(editor._create_check_sql(model, name, check), None)
    if field.unique:
        name = catalog.automatic_name(field.column, "key")
        sql = editor._create_unique_sql(model, [field], name)
        if tablespace := field.db_tablespace or model._meta.db_tablespace:
            sql.parts["tablespace"] = f" {editor.connection.ops.tablespace_sql(tablespace)}"
        editor.execute(sql)
    if field.db_comment:
        db_type = field.db_type(editor.connection)
        editor.execute(*editor._alter_column_comment_sql(model, field, db_type, field.db_comment))
    for sql in editor._field_indexes_sql(model, field):
        editor.execute(sql, None)
    if field.remote_field and field.db_constraint:
        editor.execute(editor._create_fk_sql(model, field, FK_SUFFIX), None)


def _bare(field: Any) -> Any:
    """The field without what reads the table or builds an index."""
    bare = copy(field)
    bare._unique = False
    bare.db_index = False
    return bare


def _has_column(change: Change, field: Any) -> bool:
    return field.db_parameters(connection=change.connection)["type"] is not None


def _makes_table(field: Any) -> bool:
    return bool(field.many_to_many and field.remote_field.through._meta.auto_created)


def _tables(model: type[Model], field: Any) -> tuple[str, ...]:
    """The table, and the one that a foreign key points to: both are locked."""
    tables = [model._meta.db_table]
    if field.remote_field and field.db_constraint:
        tables.append(field.related_model._meta.db_table)
    return tuple(tables)


def _empty_text(change: Change, field: Any) -> str | None:
    """The text that Django fills in for a field that may be left blank."""
    default = change.editor.effective_default(field)
    return None if default is None else composed(change, "%s", [default])


def _check_column(change: Change, model: type[Model], field: Any, default: str | None) -> None:
    """Raise NotOnline for a column that cannot be added without rewriting or failing."""
    name = f"{model._meta.label}.{field.name}"
    if field.primary_key or isinstance(field, AutoField):
        raise NotOnline(
            f"{name} is numbered by the database, so adding it rewrites {model._meta.db_table} "
            "while all reads and writes wait. Nothing was changed."
        )
    if field.generated and field.db_persist:
        raise NotOnline(
            f"{name} is a stored generated column, so adding it rewrites {model._meta.db_table} "
            "while all reads and writes wait. Nothing was changed. On PostgreSQL 18 use "
            "db_persist=False, else a column of its own that code or a trigger fills."
        )
    if field.null or field.generated:
        has_value = True
    else:
        has_value = field.has_db_default() or default is not None
    if not has_value or field.unique and default is not None:
        raise NotOnline(
            f"{name} has no value for existing rows of {model._meta.db_table}, or the same for "
            "all of them although it has to be unique. Nothing was changed. Add it with null=True, "
            "fill it, then enforce it:\n"
            f'    AddFieldOnline("{model._meta.model_name}", "{field.name}", ...(null=True))\n'
            f'    EnforceNotNull("{model._meta.model_name}", "{field.name}", ..., fill=...)'
        )
    if field.has_db_default() and _rewrites(change, model, field):
        raise NotOnline(
            f"The db_default of {name} gives each row another value, so adding it rewrites "
            f"{model._meta.db_table} while all reads and writes wait. Nothing was changed. Add it "
            "with null=True and no default, then enforce it:\n"
            f'    AddFieldOnline("{model._meta.model_name}", "{field.name}", ...(null=True))\n'
            f'    EnforceNotNull("{model._meta.model_name}", "{field.name}", ...(db_default=...))'
        )


def _rewrites(change: Change, model: type[Model], field: Any) -> bool:
    """Try it on an empty table: where PostgreSQL keeps no value for old rows, it rewrites them."""
    if change.editor.collect_sql or isinstance(field._db_default_expression, Value):
        return False
    definition, params = change.editor.column_sql(model, _bare(field))
    with (
        transaction.atomic(change.connection.alias),
        change.connection.cursor() as cursor,
    ):
        cursor.execute("CREATE TEMPORARY TABLE deploy_ops_probe () ON COMMIT DROP")
        add = f"ALTER TABLE deploy_ops_probe ADD COLUMN probe {definition}"
        cursor.execute(composed(change, add, params), None)
        cursor.execute(
            "SELECT NOT atthasmissing FROM pg_attribute"
            " WHERE attrelid = 'deploy_ops_probe'::regclass AND attname = 'probe'"
        )
        (rewrites,) = cursor.fetchone()
        cursor.execute("DROP TABLE deploy_ops_probe")
    return bool(rewrites)
