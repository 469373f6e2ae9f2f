"""Plans and results of safe_migrate as people and programs read them."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime

from django.core.checks import CheckMessage
from django.db import connections

from deploy_ops.backup.engines import engine_for
from deploy_ops.management.base import Json
from deploy_ops.migrate.apply import History
from deploy_ops.migrate.plan import Plan, Step, make_plan
from deploy_ops.migrate.resume import Ask, Decision, Orphan
from deploy_ops.migrate.safe_migrate import Request, Result, plan_of
from deploy_ops.migrate.targets import table_sizes
from deploy_ops.release.history import Release, record_release
from deploy_ops.version import code_version

Write = Callable[[str], object]


def show_plan(request: Request, write: Write) -> Json:
    """Print each step of the plan, and return it for programs; nothing is changed."""
    with engine_for(request.alias).connected_directly():
        executor, todo = plan_of(request)
        plan = make_plan(todo, History(executor).state)
        sizes = table_sizes(connections[request.alias], plan.tables)
    if not plan:
        write("Nothing to do.")
    for step in plan.steps:
        write(_step_text(step, sizes))
    return _plan_json(plan, sizes)


def _step_text(step: Step, sizes: Mapping[str, int] | None) -> str:
    tables = ", ".join(name + _size(name, sizes) for name in step.tables) or "none known"
    return "\n".join(
        [
            f"{step}{' (backwards)' if step.backwards else ''}",
            *[f"    {operation}" for operation in step.operations],
            f"    transaction: {'yes' if step.is_atomic else 'none, so a failure leaves a part'}",
            f"    reversal: {step.reversal}",
            f"    tables: {tables}",
        ]
    )


def _plan_json(plan: Plan, sizes: Mapping[str, int] | None) -> Json:
    steps = [
        {**asdict(step), "tables": {name: (sizes or {}).get(name) for name in step.tables}}
        for step in plan.steps
    ]
    return {"status": "planned" if plan else "nothing_to_do", "plan": steps}


def _size(name: str, sizes: Mapping[str, int] | None) -> str:
    """The size in brackets; nothing where the database cannot tell it."""
    if sizes is None:
        return ""
    if name not in sizes:
        return " (new)"
    size_bytes = sizes[name]
    return f" ({size_bytes / 1e6:.1f} MB)" if size_bytes >= 1e6 else f" ({size_bytes / 1e3:.0f} kB)"


def show_result(result: Result, write: Write, complain: Write) -> Json:
    """Print how the run ended, and return it for programs."""
    for finding in result.findings:
        write(f"{finding.msg}\n{finding.hint}\n[{finding.id}]  docs/reference/findings.md")
    if result.recovery:
        complain(result.recovery.message)
    if result.status == "nothing_to_do":
        write("Nothing to do: every migration is applied.")
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
        "seconds": result.seconds,
    }


def _finding_json(finding: CheckMessage) -> Json:
    return {"id": finding.id, "level": finding.level, "msg": finding.msg, "hint": finding.hint}


def remember(result: Result) -> None:
    """Add a successful run to the history of releases."""
    if result.status == "ok" and result.run:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        record_release(
            Release(code_version(), now, result.run, result.database, result.backup, result.applied)
        )


def ask_about(is_interactive: bool) -> Ask:
    """Return who decides about the session of a killed run: the operator, else wait for it."""

    def ask(orphan: Orphan) -> Decision:
        if not is_interactive:
            return Decision.WAIT
        answer = input(
            f"Wait for process {orphan.pid}, or cancel it (it rolls back)? [wait/cancel] "
        )
        return Decision.CANCEL if answer.strip().lower() == "cancel" else Decision.WAIT

    return ask
