"""The contract phase: what waited is run, each operation as a run of its own.

Each is whole in itself, so what is done stays when a later one fails; others of the same table then
wait on, those of other tables run.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.core.checks import ERROR
from django.db import DatabaseError, connections

from deploy_ops.advice import manage
from deploy_ops.audit import Kind
from deploy_ops.backup.entry import Backup
from deploy_ops.errors import ContractRefused, DeployOpsError
from deploy_ops.lock import DeployLock
from deploy_ops.migrate.carry_out import carry_out
from deploy_ops.migrate.history import History, Todo
from deploy_ops.migrate.ladder import Rung
from deploy_ops.migrate.plan import Plan, Step
from deploy_ops.migrate.recorded import contract_key
from deploy_ops.migrate.reversal import Reversal
from deploy_ops.migrate.run import Recovery, Request, Result
from deploy_ops.phases.backfill.entry import is_unfinished
from deploy_ops.phases.operations.base import detached
from deploy_ops.phases.rows import note_failure, waiting_rows
from deploy_ops.phases.waiting import Waiting, all_waiting
from deploy_ops.progress import Progress
from deploy_ops.redact import error_text
from deploy_ops.trail import noted


def waiting_for(request: Request) -> list[Waiting]:
    """What waits, of the app that was asked for."""
    everything = all_waiting(connections[request.alias])
    return [each for each in everything if request.app in (None, each.row.place.app)]


def has_waiting(request: Request) -> bool:
    """Whether anything waits, without a look at the migrations of the code."""
    rows = waiting_rows(connections[request.alias])
    return any(request.app in (None, row.place.app) for row in rows)


def check_old_code_is_gone(request: Request, progress: Progress) -> None:
    """Raise ContractRefused if a release from before what waits is still at work (or --force)."""
    from deploy_ops.phases.instances import contract_findings  # needs the models

    findings = contract_findings(request.alias)
    for finding in findings:
        if finding.level < ERROR:
            progress.say(str(finding.msg))
    in_the_way = [f"{each.msg}\n{each.hint}" for each in findings if each.level >= ERROR]
    if in_the_way and not request.force:
        raise ContractRefused("\n".join(in_the_way))
    for text in in_the_way:
        progress.say(f"Ignored (--force): {text}")


def contract(
    request: Request, result: Result, progress: Progress, lock: DeployLock, history: History
) -> None:
    """Run what waits, oldest first; `result` says how it went."""
    waiting = waiting_for(request)
    backup: Backup | None = None
    stopped: dict[str | None, str] = {}
    with _noted(request, result, waiting):
        for each in waiting:
            if why := _why_not(request, each, stopped):
                progress.say(f"{each.row.place} still waits: {why}")
                continue
            one = Result(database=request.alias)
            todo = Todo(history, [], Plan((step_of(each),)))
            try:
                backup = carry_out(request, one, todo, progress=progress, lock=lock, backup=backup)
            except DeployOpsError as error:
                if error.exit_code != 1 or not result.applied:
                    raise
                _not_begun(result, each, error)
                return
            _add(result, one)
            if one.status != "ok":
                stopped[each.row.table] = str(each.row.place)
                _keep_reason(request, each, one, progress)
                if one.status == "failed":
                    break
        _close(result)


@contextmanager
def _noted(request: Request, result: Result, waiting: Iterable[Waiting]) -> Iterator[None]:
    """Note beginning and end in the audit, where there is something to run."""
    ready = [str(each.row.place) for each in waiting if not _why_not(request, each, {})]
    if not ready:
        yield
        return
    with noted(Kind.CONTRACT, database=request.alias, operations=ready) as ending:
        yield
        ending.outcome, ending.message = result.outcome, result.story


def step_of(waiting: Waiting) -> Step:
    """The step that runs the contract of one operation."""
    app, name = contract_key(waiting.row.place)
    return Step(
        app=app,
        name=name,
        backwards=False,
        is_atomic=waiting.is_atomic,
        operations=(waiting.row.description,),
        reversal=Reversal.LOSSY,
        tables=(waiting.row.table,) if waiting.row.table else (),
        runs_code=True,
        is_idempotent=waiting.is_idempotent,
        contract=waiting,
    )


def _why_not(request: Request, each: Waiting, stopped: dict[str | None, str]) -> str:
    if each.row.skipped_because:
        return f"skipped ({each.row.skipped_because})."
    if each.found is None:
        return (
            f"release {each.row.release} wrote it, and the code that runs has no such operation "
            "among its applied migrations."
        )
    connection, backfill = connections[request.alias], each.row.waits_for
    if backfill and is_unfinished(connection, backfill):
        run = manage("backfill", "run", backfill, alias=request.alias)
        return f"the backfill {backfill}, which fills it first, is not done:\n{run}"
    if not backfill and each.found.operation.spoils_backfills and (left := detached(connection)):
        run = manage("backfill", "run", left[0], alias=request.alias)
        return f"the backfill {left[0]}, which may read what it takes away, is not done:\n{run}"
    if each.row.table in stopped:
        return f"{stopped[each.row.table]}, of the same table, has failed."
    return ""


def _add(result: Result, one: Result) -> None:
    """Add how one of the runs went to the result of all."""
    result.run, result.backup = one.run, one.backup
    result.safety = one.safety or result.safety
    result.findings += [each for each in one.findings if each not in result.findings]
    for phase, seconds in one.seconds.items():
        result.seconds[phase] = round(result.seconds.get(phase, 0.0) + seconds, 3)
    if one.status == "ok":
        result.applied += one.applied
        result.status = "ok" if result.status == "nothing_to_do" else result.status
        return
    result.status, result.error = one.status, one.error
    result.recovery = one.recovery


def _keep_reason(request: Request, each: Waiting, one: Result, progress: Progress) -> None:
    """Keep for `contract list` why it failed; how the run ended does not depend on that."""
    if not one.recovery or one.recovery.rung is not Rung.ROLLED_BACK:
        return
    try:
        note_failure(connections[request.alias], each.row.place, one.error)
    except DatabaseError as error:
        progress.say(f"Why {each.row.place} failed could not be noted: {error_text(error)}")


def _close(result: Result) -> None:
    """Exit code 3 promises the state before the command: not so where some contracts are done."""
    if result.status != "recovered" or not result.applied:
        return
    assert result.recovery is not None
    result.status = "failed"
    result.recovery = Recovery(
        result.recovery.rung,
        f"{result.recovery.message}\nCompleted before: {_listed(result.applied)}.",
        result.recovery.facts,
    )


def _not_begun(result: Result, each: Waiting, error: DeployOpsError) -> None:
    """Exit code 1 promises that nothing was changed: not so where others are done."""
    result.status, result.error = "failed", str(error)
    result.recovery = Recovery(
        Rung.NOT_NEEDED,
        f"{each.row.place} was not begun:\n{error}\n"
        f"That is about this operation alone. Completed before: {_listed(result.applied)}.",
    )


def _listed(keys: Iterable[tuple[str, str]]) -> str:
    return ", ".join(".".join(key) for key in keys)
