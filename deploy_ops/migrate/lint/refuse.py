"""What safe_migrate asks of the lint: nothing dangerous, unless it is allowed by its id."""

from django.core import checks

from deploy_ops.advice import manage
from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.errors import PlanRefused
from deploy_ops.migrate.lint.finding import Finding
from deploy_ops.migrate.lint.judge import Judge
from deploy_ops.migrate.run import Request, Todo


def refuse_dangers(request: Request, todo: Todo) -> None:
    """Raise PlanRefused where migrations to be applied have errors that are not allowed.

    In planned downtime nobody waits, and no code of the release before runs.
    """
    alias = request.alias
    forwards = [migration for migration, backwards in todo.migrations if not backwards]
    judge = Judge(alias=alias, facts=database_for(alias).facts(), two_phase=conf.two_phase)
    found = judge.plan(forwards, todo.history.state) if forwards else []
    errors = [each for each in found if each.level >= checks.ERROR and not _is_fine(each, request)]
    if not errors:
        return
    texts = [f"{each.place}\n{each.msg}\n[{each.id}]" for each in errors]
    ids = " ".join(f"--allow {rule}" for rule in sorted({each.rule for each in errors}))
    see = manage("lint_migrations", alias=alias)
    raise PlanRefused(
        "\n".join(texts) + "\nThe migrations would stop the application, or fail. Nothing was "
        f"changed. See what to write instead:\n{see}\nOr go on all the same: {ids}"
    )


def _is_fine(finding: Finding, request: Request) -> bool:
    is_about_others = finding.rule.startswith(("L0", "L1"))
    return finding.rule in request.allow or (request.exclusive and is_about_others)
