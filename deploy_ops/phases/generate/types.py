"""A field that changes its type in the database: first the type alone, then the rest."""

from typing import Any

from django.db.models import NOT_PROVIDED, CheckConstraint

from deploy_ops.phases.column_types import is_free, takes_all_of
from deploy_ops.phases.generate.fields import AnyField, changed, database_type, is_indexed
from deploy_ops.phases.generate.scene import Scene


def changes_type(old: AnyField, new: AnyField, scene: Scene) -> bool:
    """Whether the change reads or writes rows, or builds an index anew."""
    before, after = (database_type(each, scene) for each in (old, new))
    if before is None or after is None:
        return False
    if _collation(old, scene) != _collation(new, scene) or not is_free(before, after):
        return True
    is_other_text = before.startswith("varchar") != after.startswith("varchar")
    return before != after and (is_other_text and is_indexed(old) or _is_checked(old))


def serve_both(old: AnyField, new: AnyField, scene: Scene) -> bool:
    """Whether old code and new code can both use one of the two types."""
    before, after = (str(database_type(each, scene)) for each in (old, new))
    return takes_all_of(after, before) or takes_all_of(before, after)


def retyped(old: AnyField, field: AnyField) -> AnyField:
    """The field of the new type with all else as in the old one."""
    options: dict[str, Any] = {
        name: getattr(old, name)
        for name in ("null", "unique", "db_index", "db_comment", "db_tablespace")
    }
    options["db_default"] = old.db_default if old.has_db_default() else NOT_PROVIDED
    _, _, _, given = old.deconstruct()
    if old.null and not field.null:
        options["default"] = NOT_PROVIDED  # it comes with NOT NULL
        given = {name: value for name, value in given.items() if name != "default"}
    wanted = {name: value for name, value in options.items() if name in given}
    left_out = {name: NOT_PROVIDED for name in options if name not in given}
    return changed(field, **wanted, **left_out)


def _collation(field: AnyField, scene: Scene) -> Any:
    return field.db_parameters(connection=scene.connection).get("collation")


def _is_checked(field: AnyField) -> bool:
    checks = [each for each in field.model._meta.constraints if isinstance(each, CheckConstraint)]
    conditions: list[Any] = [each.condition for each in checks]
    return any(
        field.name in getattr(each, "referenced_base_fields", {field.name}) for each in conditions
    )
