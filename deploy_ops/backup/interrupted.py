"""What a killed restore leaves to be recognised by: one small file per restore, removed at its end.

`DEPLOY_OPS_DIR/restores/<id>.json` names the databases and directories beside the live ones, and
how far it had come. Whoever resumes holds the deploy lock, so no such restore is still running.
"""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy_ops.backup.restore_media import MediaPaths, discard, exchange
from deploy_ops.conf import conf
from deploy_ops.databases import Database, database_for
from deploy_ops.databases.base import Json
from deploy_ops.errors import SwapUnfinished
from deploy_ops.files import private_directory, sync_directory, write_atomically

RESTORING = "restoring"
SWAPPING = "swapping"


class Trace:
    """The file of a running restore."""

    def __init__(self, path: Path, facts: Json) -> None:
        self._path = path
        self._facts = facts

    def write(self, stage: str) -> None:
        """Note durably how far the restore has come."""
        content = json.dumps({**self._facts, "stage": stage, "pid": os.getpid()})
        write_atomically(self._path, content.encode())

    def remove(self) -> None:
        """There is nothing to resume any more."""
        self._path.unlink(missing_ok=True)
        sync_directory(self._path.parent)


@contextmanager
def traced(
    alias: str, backup: str, beside: str, kept: str, media: MediaPaths | None
) -> Iterator[Trace]:
    """Keep a trace for as long as the block runs, and beyond it if the exchange is unfinished."""
    facts: Json = {"alias": alias, "backup": backup, "beside": beside, "kept": kept}
    facts |= {"media": media.as_json() if media else None}
    directory = private_directory(conf.dir / "restores")
    trace = Trace(directory / f"{backup}.{secrets.token_hex(4)}.json", facts)
    trace.write(RESTORING)
    try:
        yield trace
    except SwapUnfinished:
        raise
    except BaseException:
        trace.remove()
        raise
    trace.remove()


def has_interrupted() -> bool:
    """Whether a restore was killed before its end."""
    return any(_traces())


def resume_interrupted(alias: str) -> str:
    """Finish or undo what killed restores of this alias left; say what was done, "" if nothing.

    Call it under the deploy lock and before connecting to the live database, which such a restore
    may have left closed. Raises SwapUnfinished where a person has to look.
    """
    told = []
    for path in _traces():
        facts = json.loads(path.read_bytes())
        if facts["alias"] == alias:
            told.append(_resume(database_for(alias), facts))
            Trace(path, facts).remove()
    return "\n".join(told)


def _traces() -> list[Path]:
    return sorted((conf.dir / "restores").glob("*.json"))


def _resume(database: Database, facts: Json) -> str:
    media = MediaPaths.from_json(facts["media"]) if facts["media"] else None
    told = f"A restore of backup {facts['backup']} had been cut off. "
    if facts["stage"] == RESTORING:
        database.drop(facts["beside"])
        if media:
            discard(media)
        return told + "The live database was not changed; what had been made beside it was removed."
    told += database.repair_swap(facts["beside"], facts["kept"])
    if media:
        _resume_media(database, facts, media)
    return told


def _resume_media(database: Database, facts: Json, media: MediaPaths) -> None:
    """The uploads follow the database, which goes first."""
    there = database.databases_beside()
    if facts["kept"] in there and facts["beside"] not in there:
        exchange(media)
    else:
        discard(media)
