"""After the run: does the database have what the plan promised? Findings, nothing raised."""

from collections.abc import Iterable, Iterator, Mapping

from django.apps import apps
from django.core import checks
from django.core.checks import CheckMessage, Error, Info
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState

from deploy_ops.advice import manage
from deploy_ops.databases.base import Invalid
from deploy_ops.migrate.recorded import recorded
from deploy_ops.migrate.run import Run


def verify_run(run: Run) -> list[CheckMessage]:
    """Look at the database after the plan was applied."""
    new = frozenset(run.database.invalid_objects()) - run.invalid_before
    return [
        *_unrecorded(run),
        *_invalid(run, sorted(new, key=str)),
        *_undeclared_changes(run.history.executor.loader),
    ]


def _unrecorded(run: Run) -> Iterator[CheckMessage]:
    done = recorded(run.connection)
    for step in run.plan.steps:
        if (step.key in done) == step.backwards:
            yield Error(
                f"{step} is not recorded as planned.",
                hint=f"Look at it:\n{manage('showmigrations', alias=run.alias)}",
                id="deploy_ops.V001",
            )


def _invalid(run: Run, objects: Iterable[Invalid]) -> Iterator[CheckMessage]:
    intended = _declared_not_valid(run)
    for each in objects:
        if each.kind == "index":
            yield Error(
                f"Index {each.name} on {each.table} is invalid: it slows writes, and queries "
                "cannot use it.",
                hint=f"Drop it and run its migration again:\n    DROP INDEX CONCURRENTLY {each};",
                id="deploy_ops.V002",
            )
        elif each.name not in intended:
            yield checks.Warning(
                f"Constraint {each.name} on {each.table} is NOT VALID: old rows may break it.",
                hint=f"Validate it:\n    ALTER TABLE {each.table} VALIDATE CONSTRAINT "
                f"{each.quoted_name};",
                id="deploy_ops.V003",
            )


def _declared_not_valid(run: Run) -> set[str]:
    """Names of the constraints that the plan means to leave NOT VALID for a later migration."""
    return {
        operation.constraint.name  # type: ignore[attr-defined]
        for migration, _ in run.todo.migrations
        for operation in migration.operations
        if type(operation).__name__ == "AddConstraintNotValid"  # its module needs psycopg
    }


def _undeclared_changes(loader: MigrationLoader) -> Iterator[CheckMessage]:
    detector = MigrationAutodetector(loader.project_state(), ProjectState.from_apps(apps))
    changed = detector.changes(graph=loader.graph)
    if changed:
        yield checks.Warning(
            f"The models of {', '.join(sorted(changed))} have changes that no migration has.",
            hint="Write the migration:\n    python manage.py makemigrations",
            id="deploy_ops.V004",
        )


def timeout_findings(timeouts: Mapping[str, str]) -> list[CheckMessage]:
    """Tell the time-outs of the server or role that can end a migration."""
    return [
        Info(
            f"The server or the role sets {name} = {value}; a longer step is ended by it.",
            hint=f"Lift it for the deploying role:\n    ALTER ROLE ... SET {name} = 0;",
            id="deploy_ops.V005",
        )
        for name, value in timeouts.items()
    ]
