"""Fields as migrations have them: copies with other options, and what they mean to the database."""

# pylint: disable=protected-access  # what fills the rows is what Django itself would fill in

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import NOT_PROVIDED, AutoField, Field, ForeignKey, OneToOneField, Value
from django.db.models.functions import Now
from django.utils import timezone

from deploy_ops.phases.functions import NewUUID
from deploy_ops.phases.generate.scene import Scene

AnyField = Any  # of Django's many kinds, with options that only some of them have


def changed(field: AnyField, **options: Any) -> AnyField:
    """A copy with other options; NOT_PROVIDED as a value leaves one out."""
    kind = type(field)
    _, _, args, kwargs = field.deconstruct()
    if kind is OneToOneField and "unique" in options:
        kind, kwargs["unique"] = ForeignKey, True
    kwargs |= options
    kept = {name: value for name, value in kwargs.items() if value is not NOT_PROVIDED}
    return kind(*args, **kept)


def database_type(field: AnyField, scene: Scene) -> str | None:
    """The type of the column; None if the field has none."""
    found: str | None = field.db_parameters(connection=scene.connection)["type"]
    return found


def check_of(field: AnyField, scene: Scene) -> Any:
    """The condition that the kind of field brings with it."""
    return field.db_parameters(connection=scene.connection)["check"]


def is_indexed(field: AnyField) -> bool:
    """Whether the column has an index, be it of a unique constraint."""
    return bool(field.db_index or field.unique)


def is_constrained(field: AnyField) -> bool:
    """Whether the database enforces a foreign key."""
    return bool(field.remote_field and field.db_constraint)


def is_fixed(expression: Any) -> bool:
    """Whether a default of the database is the same for all rows that are there."""
    return not is_expression(expression) or isinstance(expression, Value | Now)


def is_numbered(field: "Field[Any, Any]") -> bool:
    """Whether the database numbers the rows."""
    return isinstance(field, AutoField)


def differs_by_row(field: AnyField) -> bool:
    """Whether the default in Python is another one each time."""
    if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        return False
    if not field.has_default() or not callable(field.default):
        return False
    default = BaseDatabaseSchemaEditor._effective_default  # type: ignore[attr-defined]
    return bool(default(field) != default(field))


def is_expression(value: Any) -> bool:
    """Whether the database computes it, from other columns too."""
    return hasattr(value, "resolve_expression")


def filling(field: AnyField) -> Any:
    """What the database calls where Python calls the field's default; None if it is not known."""
    if is_expression(field.default):
        return field.default
    if field.default is timezone.now:
        return Now()
    if field.get_internal_type() == "UUIDField":
        return NewUUID()
    return None
