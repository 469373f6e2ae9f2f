"""Plans and results of safe_migrate as people and programs read them."""

from collections.abc import Callable, Mapping

from django.core.checks import CheckMessage

from deploy_ops.databases import database_for
from deploy_ops.databases.base import Backend
from deploy_ops.management.base import Json
from deploy_ops.migrate.contract import step_of, waiting_for
from deploy_ops.migrate.journal import last_rehearsal
from deploy_ops.migrate.plan import Plan, Step
from deploy_ops.migrate.procedure import plan_of
from deploy_ops.migrate.resume import Ask, Decision, always_wait
from deploy_ops.migrate.run import Phase, Request, Result

Write = Callable[[str], object]
NO_TRANSACTION = "no: a failure can leave it partially applied"


def show_plan(request: Request, write: Write) -> Json:
    """Print each step of the plan, and return it for programs; nothing is changed."""
    database = database_for(request.alias)
    rehearsed: dict[str, str] = {}
    with database.connected_directly():
        plan = plan_of(request).plan
        if Phase.CONTRACT in request.phases:
            waiting = [step_of(each) for each in waiting_for(request)]
            plan = Plan((*plan.steps, *waiting))
        sizes = database.table_sizes(plan.tables)
        if plan:
            rehearsed = _rehearsed(plan, database.identify().key)
    if not plan:
        write("Nothing to do.")
    for step in plan.steps:
        write(_step_text(step, sizes, rehearsed.get(str(step))))
    return _plan_json(plan, sizes, rehearsed)


def _rehearsed(plan: Plan, key: str) -> dict[str, str]:
    found = {str(step): last_rehearsal(key, str(step)) for step in plan.steps}
    return {name: text for name, text in found.items() if text}


def _step_text(step: Step, sizes: Mapping[str, int] | None, rehearsed: str | None) -> str:
    tables = ", ".join(name + _size(name, sizes) for name in step.tables) or "none known"
    return "\n".join(
        [
            f"{step}{' (backwards)' if step.backwards else ''}",
            *[f"    {operation}" for operation in step.operations],
            f"    transaction: {'yes' if step.is_atomic else NO_TRANSACTION}",
            f"    reversal: {step.reversal}",
            f"    tables: {tables}",
            *([f"    rehearsed: {rehearsed}"] if rehearsed else []),
        ]
    )


def _plan_json(plan: Plan, sizes: Mapping[str, int] | None, rehearsed: Mapping[str, str]) -> Json:
    steps = [
        _step_json(step, sizes or {}) | {"rehearsed": rehearsed.get(str(step))}
        for step in plan.steps
    ]
    return {"status": "planned" if plan else "nothing_to_do", "plan": steps}


def _step_json(step: Step, sizes: Mapping[str, int]) -> Json:
    shown = ("app", "name", "backwards", "is_atomic", "operations", "reversal", "runs_code")
    facts = {name: getattr(step, name) for name in shown}
    return facts | {"tables": {name: sizes.get(name) for name in step.tables}}


def _size(name: str, sizes: Mapping[str, int] | None) -> str:
    """The size in brackets; nothing where the database cannot tell it."""
    if sizes is None:
        return ""
    if name not in sizes:
        return " (new)"
    size_bytes = sizes[name]
    return f" ({size_bytes / 1e6:.1f} MB)" if size_bytes >= 1e6 else f" ({size_bytes / 1e3:.0f} kB)"


def show_result(result: Result, write: Write, write_error: Write) -> Json:
    """Print how the run ended, and return it for programs."""
    for finding in result.findings:
        write(f"{finding.msg}\n{finding.hint}\n[{finding.id}]")
    if result.recovery:
        write_error(result.recovery.message)
    if result.status == "nothing_to_do":
        write("Nothing to do for the requested target.")
    if result.status == "ok":
        seconds = sum(result.seconds.values())
        noun = "migration" if len(result.applied) == 1 else "migrations"
        write(f"Done: {len(result.applied)} {noun} in {seconds:.1f} s.")
    return _result_json(result)


def _result_json(result: Result) -> Json:
    recovery = result.recovery
    return {
        "status": result.status,
        "run": result.run,
        "database": result.database,
        "backup": result.backup,
        "applied": result.applied,
        "findings": [_finding_json(finding) for finding in result.findings],
        "error": result.error or None,
        "recovery": recovery
        and {"rung": recovery.rung, "message": recovery.message, **recovery.facts},
        "rehearsal": result.rehearsal and result.rehearsal.as_json(),
        "seconds": result.seconds,
    }


def _finding_json(finding: CheckMessage) -> Json:
    return {"id": finding.id, "level": finding.level, "msg": finding.msg, "hint": finding.hint}


def ask_about(is_interactive: bool) -> Ask:
    """Return who decides about the session of a killed run: the operator, else wait for it."""

    def ask(backend: Backend) -> Decision:
        answer = input(
            f"Wait for process {backend.pid}, or cancel it (it rolls back)? [wait/cancel] "
        )
        return Decision.CANCEL if answer.strip().lower() == "cancel" else Decision.WAIT

    return ask if is_interactive else always_wait
