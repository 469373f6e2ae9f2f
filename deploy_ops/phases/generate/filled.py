"""What fills the rows of a column that becomes NOT NULL: computed by the database for each row."""

from typing import Any

from django.core.exceptions import FieldError
from django.db.migrations.operations import AddField, AlterField
from django.db.models import NOT_PROVIDED, Model
from django.db.models.sql import Query

from deploy_ops.phases.generate.fields import AnyField, changed, is_expression
from deploy_ops.phases.generate.refusal import refusal
from deploy_ops.phases.operations.enforce_not_null import EnforceNotNull


def enforce_filled(operation: AddField | AlterField, field: AnyField, fill: Any) -> EnforceNotNull:
    """NOT NULL, filled; an expression that was the answer to a question is no default."""
    if is_expression(field.default):
        field = changed(field, default=NOT_PROVIDED)
        return EnforceNotNull(operation.model_name, operation.name, field, fill=fill)
    return EnforceNotNull(
        operation.model_name, operation.name, field, operation.preserve_default, fill
    )


def check_filling(fill: Any, model: type[Model], subject: str) -> None:
    """Raise NotInTwoPhases for an expression that the rows of the model cannot answer."""
    try:
        fill.resolve_expression(Query(model, alias_cols=False), allow_joins=False)
    except FieldError as error:
        raise refusal(
            subject,
            f"the given value cannot be computed for a row of {model.__name__}: {error}",
            "Answer with columns of the same table.",
        ) from error
