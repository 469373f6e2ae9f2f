"""What `restore --to-point` does with a clone that a run has left."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deploy_ops.advice import manage
from deploy_ops.databases import database_for
from deploy_ops.errors import UsageError
from deploy_ops.lock import DeployLock
from deploy_ops.management.confirmation import Confirmation, describe_rows
from deploy_ops.management.restores import LOST_IN_THE_END
from deploy_ops.migrate.past import clones_of
from deploy_ops.progress import Progress
from deploy_ops.restore import Restored, prepare_point
from deploy_ops.restore.point import contents_of_clone

if TYPE_CHECKING:
    from deploy_ops.backup.methods.clone import Clone


def known_clone(alias: str, name: str | None) -> "Clone | None":
    """The clone of the database that a run of this host has made, if it has that name."""
    return clones_of(database_for(alias).key()).get(name) if name else None


def put_back(
    clone: "Clone",
    lock: DeployLock,
    confirmation: Confirmation,
    progress: Progress,
    options: Mapping[str, Any],
) -> Restored:
    """Swap the clone in after a look at what would be lost."""
    if any(options[name] for name in ("into", "in_place", "tables", "rows")):
        raise UsageError(
            f"{clone.database} is a clone beside the database, which is put back as it is: it "
            "takes no --into, --in-place, --table or --rows. Nothing was changed."
        )
    how: dict[str, Any] = {"alias": options["database"], "lock": lock, "progress": progress}
    with prepare_point(contents_of_clone(clone), clone.database, counts=True, **how) as prepared:
        assert prepared.loss is not None  # it was counted
        agreed = confirmation.ask(prepared.loss, prepared.counted)
        return prepared.swap(unless_written_since=agreed, cuts_off=options["end_requests"])


def describe_put_back(restored: Restored, clone: "Clone", alias: str) -> list[str]:
    """Where everything is now, and what was lost."""
    lost = [] if restored.loss is None else [LOST_IN_THE_END, *describe_rows(restored.loss)]
    return [
        *lost,
        f"{database_for(alias).identify().place} is now {clone.database}, as it was at "
        f"{clone.at:%Y-%m-%d %H:%M:%S} UTC. The database before it is kept as "
        f"{restored.previous_database}. When nothing is missing, this lists what can go:",
        manage("backups", "prune", "--previous-databases", "--min-age", "0s", alias=alias),
    ]
