"""Results of safe_migrate as people and programs read them."""

from django.core.checks import CheckMessage
from django.core.management.base import CommandParser

from deploy_ops.databases.base import Backend
from deploy_ops.management.base import Json, OpsCommand
from deploy_ops.migrate.resume import Ask, Decision, always_wait
from deploy_ops.migrate.run import Request, Result
from deploy_ops.migrate.safety import Safety, cut_off_by_clone


def show_result(result: Result, command: OpsCommand) -> Json:
    """Print how the run ended, and return it for programs."""
    for finding in result.findings:
        command.tell(f"{finding.msg}\n{finding.hint}\n[{finding.id}]")
    if result.recovery:
        command.stderr.write(result.recovery.message)
    if result.status == "nothing_to_do":
        command.report("Nothing to do for the requested target.")
    if result.status == "ok":
        seconds = sum(result.seconds.values())
        noun = "migration" if len(result.applied) == 1 else "migrations"
        command.report(f"Done: {len(result.applied)} {noun} in {seconds:.1f} s.")
    if result.kept_tables:
        kept = ", ".join(result.kept_tables)
        command.tell(f"Rows of the tables that are gone are kept in {kept}.")
    return _result_json(result)


def _result_json(result: Result) -> Json:
    recovery = result.recovery
    return {
        "status": result.status,
        "run": result.run,
        "database": result.database,
        "safety": result.safety and result.safety.as_json(),
        "backup": result.backup,
        "applied": result.applied,
        "kept_tables": result.kept_tables,
        "findings": [_finding_json(finding) for finding in result.findings],
        "error": result.error or None,
        "recovery": recovery
        and {"rung": recovery.rung, "message": recovery.message, **recovery.facts},
        "rehearsal": result.rehearsal and result.rehearsal.as_json(),
        "seconds": result.seconds,
    }


def _finding_json(finding: CheckMessage) -> Json:
    return {"id": finding.id, "level": finding.level, "msg": finding.msg, "hint": finding.hint}


def add_resolved(parser: CommandParser) -> None:
    """Add --resolved, by which a person says that the last run needs no more looking at."""
    parser.add_argument(
        "--resolved",
        metavar="RUN",
        help="go on after this unresolved run: you have looked at what it left",
    )


def add_safety(parser: CommandParser) -> None:
    """Add the options that say what a run goes back to."""
    parser.add_argument(
        "--safety",
        type=Safety,
        choices=list(Safety),
        default=Safety.AUTO,
        help="what to go back to after a failure: a backup (dump); a clone of the database, of "
        "which the backup is made afterwards; none; or what the facts suggest (auto, the default)",
    )
    parser.add_argument(
        "--no-backup",
        action="store_const",
        const=Safety.NONE,
        dest="safety",
        help="the same as --safety none: nothing can be restored after a failure",
    )


def may_end_sessions(request: Request) -> bool:
    """Ask whether a clone may end the sessions of others, where it would, and one is asked for."""
    if request.safety is not Safety.CLONE or request.exclusive:
        return False
    why_ask = cut_off_by_clone(request.alias)
    if why_ask is None:
        return False
    answer = input(f"A clone is made in a moment, but {why_ask}. End them? [y/N] ")
    return answer.strip().lower() in ("y", "yes")


def ask_about(is_interactive: bool) -> Ask:
    """Return who decides about the session of a killed run: the operator, else wait for it."""

    def ask(backend: Backend) -> Decision:
        question = f"Wait for process {backend.pid}, or cancel it (it rolls back)? [wait/cancel] "
        try:
            answer = input(question)
        except EOFError:  # nobody is there to type
            answer = ""
        return Decision.CANCEL if answer.strip().lower() == "cancel" else Decision.WAIT

    return ask if is_interactive else always_wait
