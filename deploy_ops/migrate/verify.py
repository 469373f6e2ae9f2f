"""After the run: does the database have what the plan promised? Findings, nothing raised."""

import re
from collections.abc import Iterator, Mapping

from django.apps import apps
from django.core.checks import CheckMessage, Error, Info, Warning as Caution
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState

from deploy_ops.migrate.fingerprint import Fingerprint, take_fingerprint
from deploy_ops.migrate.plan import Plan

INVALID_INDEX = re.compile(r"index (\S+) valid=f ")
NOT_VALID = re.compile(r"constraint (\S+) on (\S+) .* valid=f$", re.S)


def verify_run(
    connection: BaseDatabaseWrapper, plan: Plan, before: Fingerprint
) -> list[CheckMessage]:
    """Look at the database after the plan was applied."""
    executor = MigrationExecutor(connection)
    new_lines = take_fingerprint(connection).lines - before.lines
    return [
        *_unrecorded(executor.loader, plan),
        *_invalid_indexes(new_lines),
        *_unvalidated(new_lines, _declared_not_valid(executor.loader, plan)),
        *_undeclared_changes(executor.loader),
    ]


def _unrecorded(loader: MigrationLoader, plan: Plan) -> Iterator[CheckMessage]:
    for step in plan.steps:
        if (step.key in loader.applied_migrations) == step.backwards:
            yield Error(
                f"{step} is not recorded as the plan has it.",
                hint="Look at it:\n    python manage.py showmigrations",
                id="deploy_ops.V001",
            )


def _invalid_indexes(lines: frozenset[str]) -> Iterator[CheckMessage]:
    for name in _matches(INVALID_INDEX, lines):
        yield Error(
            f"Index {name[0]} is invalid: it costs writes and serves no query.",
            hint=f"Drop it and run its migration again:\n    DROP INDEX CONCURRENTLY {name[0]};",
            id="deploy_ops.V002",
        )


def _unvalidated(lines: frozenset[str], intended: set[str]) -> Iterator[CheckMessage]:
    for name, table in _matches(NOT_VALID, lines):
        if name not in intended:
            yield Caution(
                f"Constraint {name} on {table} is NOT VALID: old rows may break it.",
                hint=f"Validate it:\n    ALTER TABLE {table} VALIDATE CONSTRAINT {name};",
                id="deploy_ops.V003",
            )


def _declared_not_valid(loader: MigrationLoader, plan: Plan) -> set[str]:
    """Names of the constraints that the plan means to leave NOT VALID for a later migration."""
    return {
        operation.constraint.name  # type: ignore[attr-defined]
        for step in plan.steps
        for operation in loader.get_migration(*step.key).operations
        if type(operation).__name__ == "AddConstraintNotValid"  # its module needs psycopg
    }


def _undeclared_changes(loader: MigrationLoader) -> Iterator[CheckMessage]:
    detector = MigrationAutodetector(loader.project_state(), ProjectState.from_apps(apps))
    changed = detector.changes(graph=loader.graph)
    if changed:
        yield Caution(
            f"The models of {', '.join(sorted(changed))} have changes that no migration has.",
            hint="Write it:\n    python manage.py makemigrations",
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


def _matches(pattern: re.Pattern[str], lines: frozenset[str]) -> list[tuple[str, ...]]:
    return sorted(match.groups() for line in lines if (match := pattern.match(line)))
