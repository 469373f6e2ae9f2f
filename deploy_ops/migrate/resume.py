"""An earlier run that did not end: what happened to it, and how to go on from there.

Found by its journal. The database then says what became of it: whether a session of it is still at
work, whether its last transaction committed, whether its backup was restored. What nothing can
vouch for is said to be unknown, and such a migration is not run again before somebody has looked.
"""

import time
from collections.abc import Callable
from contextlib import closing
from enum import StrEnum

from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from deploy_ops.advice import manage
from deploy_ops.databases import database_for
from deploy_ops.databases.base import Backend, Database
from deploy_ops.errors import PartiallyApplied, Unfinished, UnresolvedRun
from deploy_ops.migrate.apply import text_of
from deploy_ops.migrate.finish import remember
from deploy_ops.migrate.history import History
from deploy_ops.migrate.journal import Journal, Json, Record, unresolved_runs
from deploy_ops.migrate.leftovers import Before, look_at_leftovers
from deploy_ops.migrate.recorded import is_contract, recorded
from deploy_ops.migrate.run import Remains, Request
from deploy_ops.migrate.session import application_name
from deploy_ops.migrate.signals import send_post_migrate
from deploy_ops.progress import Progress
from deploy_ops.restore.values import Contents
from deploy_ops.times import moment

POLL_SECONDS = 0.5


class Decision(StrEnum):
    """What to do about a server process that still works for a killed run."""

    WAIT = "wait"
    CANCEL = "cancel"


Ask = Callable[[Backend], Decision]


def always_wait(_backend: Backend) -> Decision:
    """The answer where nobody can be asked."""
    return Decision.WAIT


def resolve_run(record: Record, request: Request, *, ask: Ask, progress: Progress) -> None:
    """Find out how an earlier run ended and resolve it; raises UnresolvedRun if a person must.

    After it the plan can be made anew: it goes on forwards from what is recorded.
    """
    progress.say(f"Run {record.run} did not end (last step: {record.last_step}).")
    _wait_for_backends(record, request, ask, progress)
    record.check_readable(request.alias)
    outcome = _what_happened(record, request)
    _resolve(record, outcome)
    progress.say(f"Run {record.run} is resolved: {outcome}{_safe(record, request.alias)}")


def _safe(record: Record, alias: str) -> str:
    """Where the database from before a run is kept."""
    told, started = "", record.last("point_started")
    if backup := record.last("backed_up"):
        told = f" Its backup is {backup['backup']}."
    there = database_for(alias).databases_beside()
    if (clone := _clone(record)) in there:
        return f"{told} The clone of the database from before it is kept as {clone}."
    if started and started.get("database") in there:
        prune = manage("backups", "prune", "--previous-databases", "--min-age", "0s", alias=alias)
        return (
            f"{told} It ended while {started['database']} was made, a clone that cannot be put "
            f"back. This lists it among what can go:\n{prune}"
        )
    return told


def _clone(record: Record) -> str | None:
    made = record.last("point_made")
    return str(made["database"]) if made and "database" in made else None


def _is_clone(record: Record) -> bool:
    return _clone(record) is not None and record.last("backed_up") is None


def resolve_restored(alias: str, restored: Contents) -> None:
    """Resolve the runs whose leftovers a restore of this has taken away.

    What is from after the run began holds them still, unless it is the run's own safety point.
    """
    for record in unresolved_runs(database_for(alias).key()):
        saved, cloned = record.last("backed_up"), record.last("point_made")
        began = moment(record.start.get("at"))
        own = {saved and saved["backup"], cloned and cloned.get("id")}
        if (
            restored.id in own
            or restored.run == record.run
            or (began is not None and restored.at < began)
        ):
            _resolve(record, f"{restored.title} was restored.")


def _resolve(record: Record, outcome: str) -> None:
    with closing(Journal.reopen(record)) as journal:
        journal.record("resolved", outcome=outcome)


def _what_happened(record: Record, request: Request) -> str:
    database, step = database_for(request.alias), record.last("migration_started")
    if request.resolved == record.run:
        return "somebody has looked at what it left."
    if step is None:
        return "it ended before the first migration was begun."
    if _is_restored(record, database):
        return "its safety point was put back." if _is_clone(record) else "its backup was restored."
    names = ", ".join(".".join(key) for key in step["migrations"])
    applied = recorded(connections[request.alias])
    if all((tuple(key) in applied) != step["backwards"] for key in step["migrations"]):
        return f"{names} is recorded.{_kept(record, applied)}{_finish(record, request, applied)}"
    if evidence := _left_nothing(record, step, database):
        return f"{names} has left nothing behind: {evidence}."
    if step.get("is_idempotent"):
        return f"{names} goes on where it stopped; all it does may be run again."
    raise _partially_applied(record, request, names)


def _kept(record: Record, applied: set[tuple[str, str]]) -> str:
    """Where rows of tables are that it has dropped; a try that was repeated noted other names."""
    noted = [step for step in record.steps if step["step"] == "rows_kept"]
    undone = {str(step["migrations"]): step for step in noted}
    tables = [
        table
        for step in undone.values()
        if not applied & set(map(tuple, step["migrations"]))
        for table in step["tables"]
    ]
    return f" Rows of the tables that are gone are kept in {', '.join(tables)}." if tables else ""


def _is_restored(record: Record, database: Database) -> bool:
    """Whether the database that the run worked on is a previous one by now."""
    swap = record.last("swapped") or record.last("swap_started")
    return swap is not None and swap["previous_database"] in database.databases_beside()


def _left_nothing(record: Record, step: Json, database: Database) -> str | None:
    """The fact that says that the last step left nothing; None if there is none."""
    failed = record.last("migration_failed")
    if failed and record.steps.index(failed) > record.steps.index(step):
        if failed["remains"] == Remains.NOTHING:
            return str(failed["evidence"])  # a crashed server gives a lost number out again
    if not step["is_atomic"]:
        found = look_at_leftovers(database, Before.from_json(step["before"]))
        return found.evidence if found.left_nothing else None
    number, left = step["transaction"], record.last("transaction_left")
    proof = database.transactions.abort_evidence(number, database.transactions.outcome(number))
    if proof is None or (left and left["transaction"] == number):
        database.transactions.forget(number)
        return None
    return proof


def _finish(record: Record, request: Request, applied: set[tuple[str, str]]) -> str:
    """Do what the killed run could not any more after its last migration; say what was done."""
    plan = [((app, name), backwards) for app, name, backwards in record.start["plan"]]
    if not all((key in applied) != backwards for key, backwards in plan):
        return ""
    if any(is_contract(key) for key, _ in plan):
        return ""  # signals and the release belong to migrations
    connection = connections[request.alias]
    history = History(MigrationExecutor(connection))
    todo = [(history.by_key[key], backwards) for key, backwards in plan if key in history.by_key]
    backup = record.last("backed_up")
    saved = str(backup["backup"]) if backup else None
    try:
        send_post_migrate(request.alias, history.state, todo)
        if not record.is_way_back:
            leaves = history.executor.loader.graph.leaf_nodes()
            remember(record.run, request.alias, saved, [key for key, _ in plan], leaves)
    except BaseException as error:  # pylint: disable=broad-exception-caught  # foreign handlers
        raise Unfinished(
            f"{text_of(error)}\nAll migrations of run {record.run} are committed, and none was "
            "undone. What comes after them is missing (post_migrate, the record of the release). "
            f"Once the cause is fixed, this does it:\n{request.again()}"
        ) from error
    return " post_migrate was sent" + (
        "." if record.is_way_back else ", and the release is recorded."
    )


def _partially_applied(record: Record, request: Request, names: str) -> PartiallyApplied:
    backup = record.last("backed_up")
    lines = [
        f"Run {record.run} ended in the middle of {names}, and what that wrote is not known. "
        "Running it again could do it twice. Nothing was changed now.",
        "Ways out:",
    ]
    if backup:
        restore = manage("restore", backup["backup"], alias=request.alias)
        lines.append(f"{restore}   # shows the loss, and asks")
    elif (clone := _clone(record)) in database_for(request.alias).databases_beside():
        assert clone is not None
        restore = manage("restore", "--to-point", clone, alias=request.alias)
        lines.append(f"{restore}   # shows the loss, and asks")
    go_on = request.again("--resolved", record.run)
    lines += [
        f"{go_on}   # after you have looked, and undone what must not be done twice",
        f"Journal: {record.path}",
    ]
    return PartiallyApplied("\n".join(lines))


def _wait_for_backends(record: Record, request: Request, ask: Ask, progress: Progress) -> None:
    database = database_for(request.alias)
    name = application_name(record.run)
    deadline = time.monotonic() + request.wait.total_seconds()
    asked = False
    while backends := database.backends_named(name):
        if not asked:
            progress.say(f"A server process of the killed run is still running: {backends[0]}")
            if ask(backends[0]) == Decision.CANCEL:
                database.end_backends([backend.pid for backend in backends])
            asked = True
        if time.monotonic() >= deadline:
            raise UnresolvedRun(_still_working(record, request, backends[0]))
        time.sleep(POLL_SECONDS)


def _still_working(record: Record, request: Request, backend: Backend) -> str:
    return (
        f"Run {record.run} was killed, but the server still works for it: {backend}\n"
        "A second run beside it could deadlock with it. Nothing was changed. Wait for it:\n"
        f"{request.again('--wait', '600')}\n"
        "or end it in psql, which rolls its transaction back:\n"
        f"    SELECT pg_terminate_backend({backend.pid});"
    )
