"""What breaks the release that still runs while this one comes: for changes in two phases."""

from __future__ import annotations  # Django's Field is generic in its stubs only

from collections.abc import Callable, Iterator
from typing import Any

from django.core import checks
from django.db import models
from django.db.migrations import RenameModel

from deploy_ops.migrate.lint.column_types import work_of_change
from deploy_ops.migrate.lint.impact import Work
from deploy_ops.migrate.lint.remark import Remark
from deploy_ops.migrate.lint.scene import Scene, code_of, has_column, implicit_through, table_of
from deploy_ops.migrate.lint.sql_old_code import sql_breaks
from deploy_ops.phases.column_types import takes_all_of

Reader = Callable[[Any, Scene], Iterator[Remark]]


def old_code_remarks(operation: Any, scene: Scene) -> Iterator[Remark]:
    """What the code before this operation cannot do any more after it."""
    reader = READERS.get(type(operation).__name__)
    for remark in reader(operation, scene) if reader else ():
        if remark.table not in scene.world.created:
            yield remark


def _error(rule: str, msg: str, cure: str, table: str) -> Remark:
    return Remark(rule, checks.ERROR, msg, cure, table)


def _remove_field(operation: Any, scene: Scene) -> Iterator[Remark]:
    each: Any = scene.old(operation.model_name)._meta.get_field(operation.name)
    through = implicit_through(each)
    if not has_column(each) and through is None:
        return
    gone = table_of(through) if through else f"{table_of(each.model)}.{each.column}"
    yield _error(
        "L101",
        f"The running release still reads and writes {gone}.",
        f'Contract(migrations.RemoveField("{operation.model_name}", "{operation.name}"))',
        table_of(each.model),
    )


def _delete_model(operation: Any, scene: Scene) -> Iterator[Remark]:
    table = table_of(scene.old(operation.name))
    cure = f'Contract(migrations.DeleteModel("{operation.name}"))'
    yield _error("L102", f"The running release still reads and writes {table}.", cure, table)


def _rename_field(operation: Any, scene: Scene) -> Iterator[Remark]:
    old: Any = scene.old(operation.model_name)._meta.get_field(operation.old_name)
    new: Any = scene.new(operation.model_name)._meta.get_field(operation.new_name)
    names = f'"{operation.model_name}", "{operation.old_name}", "{operation.new_name}"'
    yield from _renamed(old, new, f"RenameFieldOnline({names})")


def _renamed(old: Any, new: Any, cure: str) -> Iterator[Remark]:
    if has_column(old) and old.column != new.column:
        table = table_of(old.model)
        msg = f"The running release asks for {table}.{old.column}, which is {new.column} now."
        yield _error("L103", msg, cure, table)


def _rename_model(operation: Any, scene: Scene) -> Iterator[Remark]:
    old = scene.old(operation.old_name)
    new = scene.new(operation.new_name)
    names = f'"{operation.old_name}", "{operation.new_name}"'
    cure = (
        f"Contract(migrations.RenameModel({names}))\n"
        f'# or keep db_table = "{table_of(old)}" in the Meta of {operation.new_name}'
    )
    yield from _renamed_table(table_of(old), table_of(new), cure)


def _alter_table(operation: Any, scene: Scene) -> Iterator[Remark]:
    old, new = table_of(scene.old(operation.name)), table_of(scene.new(operation.name))
    yield from _renamed_table(old, new, f'Keep db_table = "{old}" in the Meta of {operation.name}.')


def _renamed_table(old: str, new: str, cure: str) -> Iterator[Remark]:
    if old != new:
        # The world has followed the rename already, so a table of this plan goes by its new name.
        yield _error("L104", f"The running release asks for {old}, which is {new} now.", cure, new)


def _add_field(operation: Any, scene: Scene) -> Iterator[Remark]:
    each: Any = scene.new(operation.model_name)._meta.get_field(operation.name)
    fills_itself = isinstance(each, models.GeneratedField) or "Auto" in each.get_internal_type()
    if not has_column(each) or each.null or each.has_db_default() or fills_itself:
        return
    table = table_of(each.model)
    yield _error(
        "L105",
        f"INSERTs of the running release leave out {table}.{each.column}, which is NOT NULL: "
        "Django drops the default again once the column is there.",
        f'AddFieldOnline("{operation.model_name}", "{operation.name}", {code_of(operation.field)})'
        "\n# or give the field a db_default",
        table,
    )


def _alter_field(operation: Any, scene: Scene) -> Iterator[Remark]:
    old: Any = scene.old(operation.model_name)._meta.get_field(operation.name)
    new: Any = scene.new(operation.model_name)._meta.get_field(operation.name)
    if not (has_column(old) and has_column(new)):
        return
    whole = f'"{operation.model_name}", "{operation.name}", {code_of(operation.field)}'
    table = table_of(old.model)
    place = f"{table}.{old.column}"
    yield from _renamed(old, new, f"Keep db_column={old.column!r}.")
    yield from _narrowed(operation, old, new, scene)
    if old.null and not new.null:
        extra = "; a db_default does not help, since it sends NULL" if new.has_db_default() else ""
        msg = f"The running release may write NULL to {place}{extra}."
        yield _error("L106", msg, f"EnforceNotNull({whole})", table)
    if new.unique and not old.unique:
        cure = f"Contract(migrations.AlterField({whole}))"
        yield _constrained(f"the unique {place}", table, cure)
    if new.null and not old.null:
        msg = f"The running release may read NULL from {place} and does not expect it."
        yield Remark("L109", checks.INFO, msg, "Write no NULL before it is gone.", table)
    if old.has_db_default() and not new.has_db_default() and not new.null:
        msg = f"The running release leaves {place} to its default, which goes."
        yield _error("L111", msg, f"Contract(migrations.AlterField({whole}))", table)


def _contract(operation: Any, scene: Scene) -> Iterator[Remark]:
    """A view does all for old code, but for queries that PostgreSQL groups by a primary key."""
    renames = operation.operation
    if not isinstance(renames, RenameModel):
        return
    old, new = table_of(scene.old(renames.old_name)), table_of(scene.new(renames.new_name))
    if old != new:
        yield Remark(
            "L104",
            checks.WARNING,
            f"The running release finds {old} as a view. Queries of it that count or add up for "
            "each row of the model, such as annotate(n=Count(...)), fail on a view.",
            f"If it has any, keep db_table = {old!r} in the Meta of {renames.new_name}.",
            old,
        )


def _change_type(operation: Any, scene: Scene) -> Iterator[Remark]:
    """Two columns, of which a trigger makes each from the other."""
    old: Any = scene.old(operation.model_name)._meta.get_field(operation.name)
    new: Any = scene.new(operation.model_name)._meta.get_field(operation.name)
    types = [each.db_parameters(connection=scene.connection)["type"] for each in (old, new)]
    if old.column != new.column and not takes_all_of(wider=types[1], narrower=types[0]):
        yield Remark(
            "L107",
            checks.WARNING,
            f"What the running release writes to {table_of(old.model)}.{old.column}, {types[0]}, "
            f"is cast to {types[1]}: an INSERT or UPDATE with a value that is none fails.",
            "Look whether it writes such values. If so, add a field, fill it, and remove this one.",
            table_of(old.model),
        )


def _narrowed(operation: Any, old: Any, new: Any, scene: Scene) -> Iterator[Remark]:
    if not scene.world.facts.server_version:
        return  # SQLite keeps any value in any column
    types = [each.db_parameters(connection=scene.connection)["type"] for each in (old, new)]
    is_narrower = not takes_all_of(wider=types[1], narrower=types[0])
    if is_narrower and work_of_change(*types) is not Work.NONE:
        table, field = table_of(old.model), operation.field.clone()
        if not takes_all_of(wider=types[0], narrower=types[1]):
            field.db_column = f"{old.column}_new"  # neither code can use the other's column
        cure = f'ChangeTypeOnline("{operation.model_name}", "{operation.name}", {code_of(field)})'
        yield _error(
            "L107",
            f"The running release writes {types[0]} to {table}.{old.column}, and not every value "
            f"fits into {types[1]}.",
            cure,
            table,
        )


def _constrained(what: str, table: str, cure: str) -> Remark:
    msg = f"The running release may write rows that break {what}."
    return Remark("L108", checks.WARNING, msg, cure, table)


def _add_constraint(operation: Any, scene: Scene) -> Iterator[Remark]:
    table, name = table_of(scene.new(operation.model_name)), operation.constraint.name
    whole = f'"{operation.model_name}", {code_of(operation.constraint)}'
    cure = f"Contract(migrations.AddConstraint({whole}))"
    yield _constrained(f"the constraint {name}", table, cure)


def _alter_unique(operation: Any, scene: Scene) -> Iterator[Remark]:
    old, new = scene.old(operation.name), scene.new(operation.name)
    before, after = ({*map(tuple, each._meta.unique_together)} for each in (old, new))
    for fields in sorted(after - before):
        whole = f'"{operation.name}", {{{", ".join(map(repr, sorted(after)))}}}'
        cure = f"Contract(migrations.AlterUniqueTogether({whole}))"
        yield _constrained(f"unique_together ({', '.join(fields)})", table_of(new), cure)


READERS: dict[str, Reader] = {
    "AddConstraint": _add_constraint,
    "AddConstraintNotValid": _add_constraint,
    "AddField": _add_field,
    "AlterField": _alter_field,
    "AlterModelTable": _alter_table,
    "AlterUniqueTogether": _alter_unique,
    "ChangeTypeOnline": _change_type,
    "Contract": _contract,
    "DeleteModel": _delete_model,
    "RemoveField": _remove_field,
    "RenameField": _rename_field,
    "RenameModel": _rename_model,
    "RunSQL": sql_breaks,
}
