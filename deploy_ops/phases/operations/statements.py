"""What Django would run for a change, turned into steps for which nobody waits.

Names, columns, types and conditions are those of Django's schema editor, so the schema in the end
is the one of the plain operation.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement as Template
from django.db.models import Model

from deploy_ops.errors import NotOnline
from deploy_ops.phases.backfill.filling import key_columns
from deploy_ops.phases.operations.base import Change
from deploy_ops.phases.operations.column_steps import CreateTable
from deploy_ops.phases.operations.steps import (
    AddCheck,
    AddConstraint,
    AddForeignKey,
    Brief,
    BuildIndex,
    DropConstraint,
    DropIndex,
    Statement,
    Step,
    Validate,
)

Recorded = tuple[Any, Any]
_COMMENT = re.compile(r"COMMENT ON (COLUMN|TABLE) ")
_CREATE_TABLE = re.compile(r"CREATE TABLE ")


def online_steps(
    change: Change, model: type[Model], act: Callable[[BaseDatabaseSchemaEditor], Any]
) -> list[Step]:
    """The steps for what `act` does with a schema editor; what is dropped goes last."""
    steps = [step for sql in _record(change, act) for step in _steps(change, model, *sql)]
    made = {step.name for step in steps if isinstance(step, BuildIndex | AddConstraint)}
    drops = [step for step in steps if isinstance(step, DropIndex | DropConstraint)]
    return [
        *(step for step in steps if step not in drops),
        *(step for step in drops if step.name not in made),
    ]


def _record(change: Change, act: Callable[[BaseDatabaseSchemaEditor], Any]) -> Iterable[Recorded]:
    recorded: list[Recorded] = []

    class Recorder(change.connection.SchemaEditorClass):  # type: ignore[name-defined,misc]
        """Django's schema editor, which executes nothing."""

        def execute(self, sql: Any, params: Any = ()) -> None:
            """Keep a statement in its parts."""
            recorded.append((sql, params))

    editor = Recorder(change.connection, collect_sql=True, atomic=False)
    editor.deferred_sql = []  # pylint: disable=attribute-defined-outside-init  # as __enter__
    act(editor)
    return [*recorded, *((sql, None) for sql in editor.deferred_sql)]


def _steps(change: Change, model: type[Model], sql: Any, params: Any) -> list[Step]:
    """The online form of one statement."""
    if isinstance(sql, Template):
        for name, form in _FORMS.items():
            if sql.template == getattr(change.editor, name):
                return form(model, sql, params)
    elif _CREATE_TABLE.match(str(sql)):
        table = model._meta.db_table
        return [CreateTable(tables=(table,), statement=Statement(str(sql), params))]
    elif _COMMENT.match(str(sql)):
        statement = Statement(str(sql), params)
        return [Brief(tables=(model._meta.db_table,), statement=statement)]
    raise NotOnline(
        f"Django would run this, for which others wait, or which old code cannot live with:\n"
        f"    {sql}\n"
        "Nothing was changed. Change one thing at a time: what this operation is for, and the rest "
        "by an operation of its own."
    )


def _index(_model: type[Model], sql: Template, params: Any) -> list[Step]:
    template = sql.template.replace("INDEX", "INDEX CONCURRENTLY", 1)
    return [_build(sql, template, params)]


def _unique(_model: type[Model], sql: Template, params: Any) -> list[Step]:
    """A unique constraint, which takes over an index of the name that it will have itself."""
    template = (
        "CREATE UNIQUE INDEX CONCURRENTLY %(name)s ON %(table)s (%(columns)s)%(nulls_distinct)s"
        "%(tablespace)s"
    )
    parts = {"tablespace": "", **sql.parts}
    takes = "ALTER TABLE %(table)s ADD CONSTRAINT %(name)s UNIQUE USING INDEX %(name)s"
    statement = Statement(str(Template(f"{takes}%(deferrable)s", **sql.parts)), params)
    constraint = AddConstraint(tables=(_table(sql),), name=_name(sql), statement=statement)
    return [_build(Template(template, **parts), template, params), constraint]


def _check(model: type[Model], sql: Template, params: Any) -> list[Step]:
    statement = Statement(f"{sql} NOT VALID", params)
    where = (_table(sql),)
    return [
        AddCheck(tables=where, name=_name(sql), statement=statement),
        Validate(
            tables=where, name=_name(sql), violating=row_without(model, str(sql.parts["check"]))
        ),
    ]


def _foreign_key(_model: type[Model], sql: Template, params: Any) -> list[Step]:
    statement = Statement(f"{sql} NOT VALID", params)
    both = (_table(sql), sql.parts["to_table"].table)
    return [
        AddForeignKey(tables=both, name=_name(sql), statement=statement),
        Validate(tables=both, name=_name(sql)),
    ]


def _no_constraint(_model: type[Model], sql: Template, _params: Any) -> list[Step]:
    return [DropConstraint(tables=(_table(sql),), name=_name(sql))]


def _no_index(_model: type[Model], sql: Template, _params: Any) -> list[Step]:
    return [DropIndex(tables=(_table(sql),), name=_name(sql))]


_FORMS: dict[str, Callable[[type[Model], Template, Any], list[Step]]] = {
    "sql_create_index": _index,
    "sql_create_unique_index": _index,
    "sql_create_unique": _unique,
    "sql_create_check": _check,
    "sql_create_fk": _foreign_key,
    "sql_delete_unique": _no_constraint,
    "sql_delete_check": _no_constraint,
    "sql_delete_fk": _no_constraint,
    "sql_delete_index": _no_index,
}


def _build(sql: Template, template: str, params: Any) -> BuildIndex:
    statement = Statement(str(Template(template, **sql.parts)), params)
    return BuildIndex(tables=(_table(sql),), name=_name(sql), statement=statement)


def _table(sql: Template) -> str:
    return str(sql.parts["table"].table)


def _name(sql: Template) -> str:
    return str(sql.parts["name"]).removeprefix('"').removesuffix('"')


def row_without(model: type[Model], condition: str) -> Callable[[Change], str | None]:
    """A look for one row that a condition is false for, which says its primary key."""
    columns = key_columns(model)

    def look(change: Change) -> str | None:
        listed = ", ".join(change.quote(column) for column in columns)
        table = change.quote(model._meta.db_table)
        with change.connection.cursor() as cursor:
            cursor.execute(f"SELECT {listed} FROM {table} WHERE NOT ({condition}) LIMIT 1", None)
            row = cursor.fetchone()
        return row and " and ".join(f"{name} = {key}" for name, key in zip(columns, row))

    return look
