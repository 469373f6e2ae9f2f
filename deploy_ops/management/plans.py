"""Plans of safe_migrate as people and programs read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy_ops.databases import database_for
from deploy_ops.management.base import Json
from deploy_ops.migrate.contract import step_of, waiting_for
from deploy_ops.migrate.past import LastRehearsal, last_rehearsals
from deploy_ops.migrate.plan import Key, Plan, Step
from deploy_ops.migrate.procedure import plan_of
from deploy_ops.migrate.run import Phase, Request
from deploy_ops.migrate.safety import Choice, Safety, choose
from deploy_ops.migrate.way_back import Done, gone

if TYPE_CHECKING:
    from deploy_ops.migrate.outlook import Outlook

Write = Callable[[str], object]
NO_TRANSACTION = "no: a failure can leave it partially applied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A plan with all that is known of it beforehand."""

    plan: Plan
    sizes: Mapping[str, int] | None
    outlooks: Mapping[Key, list[Outlook]]
    rehearsed: Mapping[Key, LastRehearsal]
    gone: list[Done]
    safety: Choice

    def seconds(self, step: Step) -> float | None:
        """How long a step took when it was rehearsed, else the sum of the estimates."""
        if rehearsed := self.rehearsed.get(step.key):
            measured: float | None = rehearsed.measured.get("seconds")
            return measured
        times = [each.seconds for each in self.outlooks.get(step.key, ())]
        known = [each for each in times if each is not None]
        return round(sum(known), 2) if known and len(known) == len(times) else None

    def gone_with(self, step: Step) -> list[Done]:
        """Values that reversing a step does not bring back."""
        return [
            each
            for each in self.gone
            if step.backwards and (each.row.place.app, each.row.place.migration) == step.key
        ]


def show_plan(request: Request, write: Write) -> Json:
    """Print each step of the plan, and return it for programs; nothing is changed."""
    with database_for(request.alias).connected_directly():
        shown = _look(request)
    if shown is None:
        write("Nothing to do.")
        return {"status": "nothing_to_do", "plan": []}
    for step in shown.plan.steps:
        write("\n".join(_lines(step, shown)))
    write("\n".join(_safety_lines(shown.safety)))
    return {
        "status": "planned",
        "plan": [_step_json(step, shown) for step in shown.plan.steps],
        "safety": shown.safety.as_json(),
    }


def _safety_lines(safety: Choice) -> Iterator[str]:
    time = "" if safety.method is Safety.NONE else f", {_time(safety.seconds)}"
    yield f"safety point: {safety.method}{time}"
    yield from (f"    not {method}: {why_not}" for method, why_not in safety.others.items())


def _look(request: Request) -> Shown | None:
    """All that is known beforehand; None if there is nothing to do."""
    database, todo = database_for(request.alias), plan_of(request)
    plan = todo.plan
    if Phase.CONTRACT in request.phases:
        waiting = [step_of(each) for each in waiting_for(request)]
        plan = Plan((*plan.steps, *waiting))
    if not plan:
        return None
    from deploy_ops.migrate.outlook import outlooks  # slow to load, as it is with the lint

    rehearsed = last_rehearsals(database.identify().key)
    return Shown(
        plan=plan,
        sizes=database.table_sizes(plan.tables),
        outlooks=outlooks(request, todo, plan),
        rehearsed={step.key: rehearsed[str(step)] for step in plan.steps if str(step) in rehearsed},
        gone=gone(request.alias, plan),
        safety=choose(
            request.alias,
            request.safety,
            may_end_sessions=request.may_end_sessions or request.exclusive,
        ),
    )


def _lines(step: Step, shown: Shown) -> Iterator[str]:
    yield f"{step}{' (backwards)' if step.backwards else ''}"
    rehearsed = shown.rehearsed.get(step.key)
    outlooks = shown.outlooks.get(step.key, [])
    if shown.sizes is None or step.backwards:  # no other code, no locks; or as far as it is known
        yield from (f"    {operation}" for operation in step.operations)
    else:
        for each in outlooks:
            yield from _operation_lines(each, with_time=rehearsed is None)
    tables = ", ".join(name + _size(name, shown.sizes) for name in step.tables) or "none known"
    yield f"    transaction: {'yes' if step.is_atomic else NO_TRANSACTION}"
    yield f"    reversal: {step.reversal}"
    yield f"    tables: {tables}"
    if rehearsed:
        yield f"    rehearsed: {rehearsed.text}"
    for lost in shown.gone_with(step):
        yield f"    lost: {lost.row.place} ({lost.row.description}): {lost}"


def _operation_lines(each: Outlook, *, with_time: bool) -> Iterator[str]:
    timing = each.timing
    waits = f"; waits for the contract: {timing.waits}" if timing.waits else ""
    yield f"    {each.operation}"
    yield f"        phase: {timing.phase}, since {timing.why}{waits}"
    if each.lock is None:
        yield f"        lock: unknown{f' on {each.table}' if each.table else ''}"
    elif each.lock:
        time = f"; {_time(each.seconds)}" if with_time else ""
        yield f"        lock: {each.lock} on {each.table} ({_extent(each)}){time}"
    else:
        yield "        lock: none"


def _time(seconds: float | None) -> str:
    from deploy_ops.migrate.lint.estimate import spoken_seconds

    return "for a time that is unknown" if seconds is None else spoken_seconds(seconds)


def _extent(each: Outlook) -> str:
    """Rows and bytes of a table."""
    if each.is_new:
        return "new or empty"
    rows = "rows unknown" if each.rows is None else f"about {each.rows} rows"
    size = "size unknown" if each.size_bytes is None else _spoken(each.size_bytes)
    return f"{rows}, {size}"


def _step_json(step: Step, shown: Shown) -> Json:
    names = ("app", "name", "backwards", "is_atomic", "operations", "reversal", "runs_code")
    rehearsed, sizes = shown.rehearsed.get(step.key), shown.sizes or {}
    seconds = shown.seconds(step)
    return {
        **{name: getattr(step, name) for name in names},
        "tables": {name: sizes.get(name) for name in step.tables},
        "outlook": [each.as_json() for each in shown.outlooks.get(step.key, ())],
        "seconds": seconds,
        "seconds_from": None if seconds is None else "rehearsal" if rehearsed else "estimate",
        "rehearsed": rehearsed and rehearsed.text,
        "held": rehearsed and rehearsed.measured.get("held"),
        "lost": [
            {"operation": str(each.row.place), "backup": each.backup}
            for each in shown.gone_with(step)
        ],
    }


def _size(name: str, sizes: Mapping[str, int] | None) -> str:
    """The size in brackets; nothing where the database cannot tell it."""
    if sizes is None:
        return ""
    return f" ({_spoken(sizes[name])})" if name in sizes else " (new)"


def _spoken(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} kB"
