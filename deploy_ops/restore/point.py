"""Putting a clone back: it is beside the live database already, so only the names are swapped."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from deploy_ops.databases import database_for
from deploy_ops.errors import RestoreRefused
from deploy_ops.lock import DeployLock
from deploy_ops.progress import Progress, Silent
from deploy_ops.restore.compare import loss_of
from deploy_ops.restore.interrupted import Restoring, new_marker
from deploy_ops.restore.job import PointJob
from deploy_ops.restore.beside import free_stamp
from deploy_ops.restore.swap import COUNTED, PreparedRestore, ended
from deploy_ops.restore.values import Contents, Loss, Since

if TYPE_CHECKING:
    from deploy_ops.backup.methods.clone import Clone


def contents_of_clone(clone: "Clone") -> Contents:
    """What a clone puts back; its rows are not counted before somebody asks for it."""
    return Contents(
        id=clone.id,
        title=f"safety point {clone.database}",
        at=clone.at,
        kind="safety point",
        counts={},
        sequences={},
        write_position=clone.write_position,
    )


@contextmanager
def prepare_point(  # pylint: disable=too-many-arguments  # each a different caller's need
    contents: Contents,
    beside: str,
    *,
    alias: str,
    lock: DeployLock,
    progress: Progress = Silent(),
    counts: bool = False,
) -> Iterator[PreparedRestore]:
    """Yield what swaps database `beside` in; what was not swapped stays as it is.

    Where it `counts`, all rows of both are counted to tell the loss. Raises RestoreRefused.
    """
    from deploy_ops.backup.methods.clone import check_put_back  # needs psycopg

    database = database_for(alias)
    if beside not in database.databases_beside():
        raise RestoreRefused(
            f"There is no safety point {beside} any more: it was put back, or somebody has dropped "
            "it. Nothing was changed."
        )
    if problems := check_put_back(alias):
        raise RestoreRefused(
            f"Safety point {beside} cannot be put back:\n"
            + "\n".join(f"- {problem}" for problem in problems)
            + "\nNothing was changed."
        )
    counted = Since(database.write_position(), COUNTED)
    loss = None
    previous = database.name_beside(f"before_restore_{free_stamp(database)}")
    if counts:
        contents, loss = _counted(contents, alias, beside, previous)
    job = PointJob(contents, alias, lock, progress)
    marker = new_marker(Restoring(database.key(), contents.id, beside, previous, None))
    prepared = PreparedRestore(job, marker, (), counted, loss)
    with ended(prepared):
        yield prepared


def _counted(contents: Contents, alias: str, beside: str, previous: str) -> tuple[Contents, Loss]:
    """Count the point and the live database at once."""
    database = database_for(alias)
    live = database.identify().name
    with ThreadPoolExecutor(1, "counting") as pool:
        counting = pool.submit(database.count_rows, live)
        rows, drawn = database.count_rows(beside)
        now, now_drawn = counting.result()
    counted = replace(contents, counts=rows, sequences=drawn)
    return counted, loss_of(database, counted, now, now_drawn, f"database {previous}")
