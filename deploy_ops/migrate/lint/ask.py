"""From the words of the command line to migrations, and from these to findings."""

from __future__ import annotations  # Django's Field is generic in its stubs only

from dataclasses import dataclass

from django.db import connections

from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.migrate.history import History
from deploy_ops.migrate.lint.cut_off import tables_since_release
from deploy_ops.migrate.lint.finding import Finding
from deploy_ops.migrate.lint.judge import Judge
from deploy_ops.migrate.targets import check_app, django_plan, ensure_connection, load_executor


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to look at, and by which rules."""

    alias: str
    apps: tuple[str, ...] = ()
    with_applied: bool = False
    two_phase: bool = False


def lint(question: Question) -> list[Finding]:
    """Look at the pending migrations, or at all; raises UsageError, PlanRefused."""
    connection = connections[question.alias]
    ensure_connection(connection)
    executor = load_executor(connection)
    for app in question.apps:
        check_app(executor, app)
    history = History(executor)
    judge = Judge(
        alias=question.alias,
        facts=database_for(question.alias).facts(),
        two_phase=question.two_phase or conf.two_phase,
        unused=tables_since_release(question.alias, history),
    )
    if question.with_applied:
        plan = [
            migration
            for migration, _ in executor.migration_plan(
                executor.loader.graph.leaf_nodes(), clean_start=True
            )
        ]
        return judge.each(plan, question.apps)
    todo = [migration for migration, _ in django_plan(executor, None, None)]
    return judge.plan(todo, history.state, question.apps)
