"""What is wrong with an operation besides the locks on tables."""

from __future__ import annotations  # Django's Field is generic in its stubs only

from collections.abc import Iterator

from django.core import checks
from django.db.migrations import RunPython, RunSQL
from django.db.migrations.operations.base import Operation

from deploy_ops.migrate.lint.code import code_remarks
from deploy_ops.migrate.lint.failing import failing_remarks
from deploy_ops.migrate.lint.operations import is_known
from deploy_ops.migrate.lint.remark import Remark
from deploy_ops.migrate.lint.scene import Scene
from deploy_ops.migrate.lint.sql import sql_remarks


def unread(error: Exception) -> Remark:
    """For an operation that our own reading failed on, which is no reason to stop a release."""
    return Remark(
        "L201",
        checks.WARNING,
        f"The operation could not be read ({type(error).__name__}: {error}): what it locks is not "
        "known.",
        "Look at it by hand, and allow this finding beside it with the reason.",
    )


def operation_remarks(operation: Operation, scene: Scene, is_atomic: bool) -> Iterator[Remark]:
    """By the kind of the operation."""
    if isinstance(operation, RunSQL | RunPython) and not operation.reversible:
        kind = type(operation).__name__
        reverse = "reverse_sql" if kind == "RunSQL" else "reverse_code"
        yield Remark(
            "L209",
            checks.INFO,
            f"This {kind} has no {reverse}: after a failure only the backup leads back.",
            f"{kind}(..., {reverse}=...)",
        )
    if isinstance(operation, RunPython):
        yield from code_remarks(operation)
    elif isinstance(operation, RunSQL):
        yield from sql_remarks(operation, scene.world, is_atomic)
    elif is_known(operation):
        yield from failing_remarks(operation, scene)
    else:
        yield Remark(
            "L201",
            checks.WARNING,
            f"What {type(operation).__name__} of {type(operation).__module__} locks is not known.",
            "Look at it by hand, and allow this finding beside it with the reason.",
        )
