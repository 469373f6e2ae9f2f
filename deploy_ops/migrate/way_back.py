"""What going back would not bring back: values that a contract has dropped.

Whether something else holds them is said by the operation; which backup was taken before the
contract is said by its journal.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import connections
from django.db.migrations.loader import MigrationLoader

from deploy_ops.advice import manage
from deploy_ops.backup.catalog import find_entry
from deploy_ops.databases import database_for
from deploy_ops.errors import BackupError, PlanRefused, UsageError
from deploy_ops.migrate.past import backups_before
from deploy_ops.migrate.plan import Key, Plan
from deploy_ops.migrate.recorded import contract_key
from deploy_ops.migrate.run import Request
from deploy_ops.phases.rows import Row
from deploy_ops.phases.waiting import all_done, has_way_back
from deploy_ops.progress import Progress


@dataclass(frozen=True, slots=True)
class Done:
    """An operation whose contract has run.

    `is_known` says whether the running code has the operation, `is_lossless` whether reversing it
    brings the values back, None if that cannot be told. `backup` is the one taken before the
    contract, if it is still there.
    """

    row: Row
    is_known: bool
    is_lossless: bool | None
    backup: str | None

    def __str__(self) -> str:
        if self.is_lossless:
            return "reversing it brings the values back"
        if not self.is_known:
            return "not known to the code that runs, which cannot reverse it"
        if self.is_lossless is None:
            return "whether reversing it brings back what was there is not known"
        if self.backup is None:
            return "its values are gone, and no backup that its run took before is known here"
        return f"its values are gone; backup {self.backup}, taken before its contract, has them"


def done(alias: str, among: Iterable[Key] | None = None) -> list[Done]:
    """All whose contract has run, or those of some migrations, oldest first."""
    keys = None if among is None else set(among)
    connection = connections[alias]
    loader = MigrationLoader(connection)
    backups = backups_before(database_for(alias).identify().key)
    return [
        Done(
            each.row,
            each.found is not None,
            has_way_back(connection, loader, each),
            _if_there(backups.get(contract_key(each.row.place))),
        )
        for each in all_done(connection, loader)
        if keys is None or (each.row.place.app, each.row.place.migration) in keys
    ]


def gone(alias: str, plan: Plan) -> list[Done]:
    """What the plan would reverse without its values."""
    back = [step.key for step in plan.steps if step.backwards]
    return [each for each in done(alias, back) if each.is_lossless is False] if back else []


def check_way_back(request: Request, plan: Plan, progress: Progress) -> None:
    """Raise PlanRefused where values would not come back (or --accept-data-loss)."""
    lost = [
        f"{each.row.place} ({each.row.description}): {each}." for each in gone(request.alias, plan)
    ]
    if not lost:
        return
    if request.accept_data_loss:
        for text in lost:
            progress.say(f"Ignored (--accept-data-loss): {text}")
        return
    see = manage("contract", "list", "--all", alias=request.alias)
    raise PlanRefused(
        "\n".join(lost)
        + "\nGoing back makes the column or table again, empty: the contract has dropped what was "
        f"in it. Nothing was changed. See what else has run:\n{see}\n"
        "Or go back all the same: --accept-data-loss"
    )


def _if_there(backup: str | None) -> str | None:
    try:
        return find_entry(backup).id if backup else None
    except (BackupError, UsageError):
        return None
