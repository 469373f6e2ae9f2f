"""What the way back from a release will take, told before the release (R013)."""

from collections.abc import Iterator

from django.core.checks import ERROR, CheckMessage, Info
from django.core.checks import Warning as Caution
from django.db import connections

from deploy_ops.advice import manage
from deploy_ops.databases import database_for
from deploy_ops.errors import ReleaseRefused
from deploy_ops.history import version_before
from deploy_ops.migrate.history import Todo
from deploy_ops.migrate.reversal import Reversal
from deploy_ops.phases.both_codes import findings_of, who_may_run
from deploy_ops.release.rollback import recorded_release
from deploy_ops.version import code_version


def way_back_findings(alias: str, todo: Todo) -> Iterator[CheckMessage]:
    """Say what it takes once the migrations of this release are applied."""
    database = database_for(alias).identify().key
    version = version_before(database, code_version(), who_may_run(alias))
    if version is None:
        yield Info(
            "No release before this one was recorded for this database on this host. What the way "
            "back takes is not known.",
            id="deploy_ops.R013",
        )
        return
    try:
        _, code = recorded_release(alias, version)
    except ReleaseRefused as error:
        yield Caution(f"{error} What the way back takes is not known.", id="deploy_ops.R013")
        return
    migrations = [migration for migration, _ in todo.migrations]
    found = findings_of(connections[alias], todo.history.state, code, migrations)
    reasons = [finding.msg for finding in found if finding.level >= ERROR]
    if not reasons:
        yield Info(f"The way back to {version} takes code only.", id="deploy_ops.R013")
        return
    lost = [
        f"{step} ({step.reversal})"
        for step in todo.plan.steps
        if step.reversal is not Reversal.LOSSLESS
    ]
    undoing = "Undoing these migrations loses no data."
    if lost:
        undoing = f"Undoing may lose data, or is not possible: {', '.join(lost)}."
    yield Caution(
        "\n".join([f"The way back to {version} takes more than code:", *reasons, undoing]),
        hint="Keep what it needs until the contract phase (Contract), or be ready to take the "
        "schema back:\n"
        f"{manage('safe_migrate', '--plan', alias=alias)}",
        id="deploy_ops.R013",
    )
