"""The end of a run whose migrations are all committed: verify, post_migrate, the release.

What fails here reverses nothing. The run stays open, and the next one does what is missing.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from django.apps import apps
from django.db import connections

from deploy_ops.databases import database_for
from deploy_ops.flags.declaration import declared_flags
from deploy_ops.history import Release, record_release
from deploy_ops.migrate.apply import text_of
from deploy_ops.migrate.ladder import Rung
from deploy_ops.migrate.plan import Key
from deploy_ops.migrate.point import save_point
from deploy_ops.migrate.run import Recovery, Run
from deploy_ops.migrate.signals import send_post_migrate
from deploy_ops.migrate.verify import verify_run
from deploy_ops.phases.snapshot import take_snapshot
from deploy_ops.version import code_version


def finish(run: Run) -> None:
    """Finish a run; `run.result` says how it went, whatever is raised on the way."""
    result = run.result
    result.applied = [step.key for step in run.plan.steps]
    try:
        with result.timed("verify"):
            result.findings += verify_run(run)
        if not run.plan.is_contract:
            with result.timed("post_migrate"):
                send_post_migrate(run.alias, run.history.state, run.todo.migrations)
        save_point(run)
        if not run.plan.is_contract:
            if not run.plan.is_way_back:  # which is no release
                leaves = run.history.executor.loader.graph.leaf_nodes()
                remember(run.journal.run, run.alias, result.backup, result.applied, leaves)
        result.status = "ok"
    except BaseException as error:  # pylint: disable=broad-exception-caught
        run.is_unfinished = True
        result.status = "failed"
        result.error = _text(error)
        result.recovery = Recovery(
            Rung.NOT_NEEDED,
            "All migrations are applied and committed, and none was undone. What comes after them "
            "is missing (verification, post_migrate, the record of the release). Once the cause is "
            f"fixed, this does it:\n{run.request.again()}",
        )


def remember(
    run_id: str, alias: str, backup: str | None, applied: list[Key], ends_with: Iterable[Key]
) -> None:
    """Add a run to the history of releases; raises OSError, ConfigurationError.

    `ends_with` are the leaves of the graph of migrations.
    """
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    needs = take_snapshot(apps, connections[alias]).as_json()
    key = database_for(alias).identify().key
    release = Release(
        version=code_version(),
        at=now,
        run=run_id,
        database=key,
        backup=backup,
        applied=applied,
        ends_with=sorted(ends_with),
        flags=sorted(declared_flags()),
    )
    record_release(release, needs)


def _text(error: BaseException) -> str:
    return "Stopped by the operator." if isinstance(error, KeyboardInterrupt) else text_of(error)
