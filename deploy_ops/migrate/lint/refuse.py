"""What safe_migrate asks before it begins: nothing dangerous, unless it is allowed by its id."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.core import checks
from django.db import connections
from django.db.migrations import Migration

from deploy_ops.advice import manage
from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.errors import PlanRefused
from deploy_ops.migrate.history import Todo
from deploy_ops.migrate.lint.cut_off import tables_since_release
from deploy_ops.migrate.lint.judge import Judge
from deploy_ops.migrate.run import Request

# Whether old code really writes such rows is not known: said by the comparison, refused by nobody.
ONLY_PERHAPS = ("T010", "T011")
ABOUT_OTHERS = ("L0", "L1", "T0")  # who waits, and old code: in planned downtime there is neither


@dataclass(frozen=True, slots=True)
class _Danger:
    """An error of the lint, or of the comparison with what both releases need."""

    rule: str
    text: str


def refuse_dangers(request: Request, todo: Todo) -> None:
    """Raise PlanRefused where migrations to be applied have errors that are not allowed."""
    forwards = [migration for migration, backwards in todo.migrations if not backwards]
    if not forwards:
        return
    found = [*_of_lint(request, todo, forwards), *_of_releases(request, todo, forwards)]
    dangers = [each for each in found if not _is_fine(each, request)]
    if not dangers:
        return
    ids = " ".join(f"--allow {rule}" for rule in sorted({each.rule for each in dangers}))
    see = manage("lint_migrations", alias=request.alias)
    raise PlanRefused(
        "\n".join(each.text for each in dangers)
        + "\nThe migrations would stop the application, or fail. Nothing was changed. See what to "
        f"write instead:\n{see}\nOr go on all the same: {ids}"
    )


def _of_lint(request: Request, todo: Todo, forwards: list[Migration]) -> Iterator[_Danger]:
    facts = database_for(request.alias).facts()
    unused = tables_since_release(request.alias, todo.history)
    judge = Judge(alias=request.alias, facts=facts, two_phase=conf.two_phase, unused=unused)
    for each in judge.plan(forwards, todo.history.state):
        if each.level >= checks.ERROR:
            yield _Danger(each.rule, f"{each.place}\n{each.msg}\n[{each.id}]")


def _of_releases(request: Request, todo: Todo, forwards: Iterable[Migration]) -> Iterator[_Danger]:
    """What either release could not do on the schema in between."""
    from deploy_ops.phases.both_codes import plan_findings  # needs the models

    if not conf.two_phase or database_for(request.alias).vendor != "postgresql":
        return
    for each in plan_findings(connections[request.alias], todo.history.state, forwards):
        if each.level >= checks.ERROR:
            rule = str(each.id).removeprefix("deploy_ops.")
            yield _Danger(rule, f"{each.msg}\n{each.hint}\n[{each.id}]")


def _is_fine(danger: _Danger, request: Request) -> bool:
    is_about_others = danger.rule.startswith(ABOUT_OTHERS)
    is_allowed = danger.rule in (*request.allow, *ONLY_PERHAPS)
    return is_allowed or (request.exclusive and is_about_others)
