"""What the SQL of a RunSQL takes from the models of the running release."""

from __future__ import annotations  # Django's Field is generic in its stubs only

from collections.abc import Iterator
from typing import Any

from django.core import checks

from deploy_ops.migrate.lint.parsing import kind, last_name, name_of, statements_of
from deploy_ops.migrate.lint.remark import Remark
from deploy_ops.migrate.lint.scene import Scene, table_of

COLUMN_GONE = {"AT_DropColumn", "AT_AlterColumnType", "AT_SetNotNull"}


def sql_breaks(operation: Any, scene: Scene) -> Iterator[Remark]:
    """Columns and tables that a model still has, and the SQL drops, renames or narrows."""
    parsed = statements_of(operation.sql)
    columns = _columns(scene)
    for node in parsed if isinstance(parsed, list) else ():
        for table, column, what in _taken(node):
            names = columns.get(table)
            if names is not None and (column is None or column in names):
                place = f"{table}.{column}" if column else table
                yield Remark(
                    "L110",
                    checks.ERROR,
                    f"{what} {place}, which a model of the running release uses.",
                    "Contract(migrations.RunSQL(...))",
                    table,
                )


def _columns(scene: Scene) -> dict[str, set[str]]:
    models = scene.before.get_models(include_auto_created=True)
    return {
        table_of(model): {each.column for each in model._meta.local_fields if each.column}
        for model in models
    }


def _taken(node: Any) -> Iterator[tuple[str, str | None, str]]:
    what = kind(node)
    if what == "AlterTableStmt":
        for command in node.cmds:
            if command.subtype.name in COLUMN_GONE:
                yield name_of(node.relation), command.name, "This drops or narrows"
    elif what == "RenameStmt" and node.relation is not None:
        if node.renameType.name == "OBJECT_COLUMN":
            yield name_of(node.relation), node.subname, "This renames"
        elif node.renameType.name == "OBJECT_TABLE":
            yield name_of(node.relation), None, "This renames"
    elif what == "DropStmt" and node.removeType.name == "OBJECT_TABLE":
        for names in node.objects:
            yield last_name(names), None, "This drops"
