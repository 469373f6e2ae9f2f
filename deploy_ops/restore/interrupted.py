"""What a killed restore leaves to be recognised by: one small file per restore, removed at its end.

`DEPLOY_OPS_STATE_DIR/restores/<id>.json` names the databases and directories beside the live ones,
and how far it had come. Whoever resumes holds the deploy lock, so no such restore is still running.
Of the swap on PostgreSQL the server itself knows too, for hosts that do not have the file.
"""

import json
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePath

from deploy_ops.advice import manage
from deploy_ops.audit import Event, Kind, Outcome
from deploy_ops.conf import conf
from deploy_ops.databases import Database, database_for
from deploy_ops.errors import RestoreFailed
from deploy_ops.files import (
    read_object,
    read_private,
    set_aside,
    sync_directory,
    write_atomically,
)
from deploy_ops.places import state_directory
from deploy_ops.restore.media import MediaPaths, discard, media_beside, swap
from deploy_ops.trail import note
from deploy_ops.version import code_version

RESTORING = "restoring"
SWAPPING = "swapping"
REPLACING = "replacing"


@dataclass(frozen=True, slots=True)
class Restoring:
    """A restore that has not ended: of which database (`Identity.key`), what, and how far.

    `previous` is what the live database will be called. Where rows of tables are replaced, it is
    the kept table of the first one: whether it is there tells if that was committed.
    """

    key: str
    backup: str
    beside: str
    previous: str
    media: MediaPaths | None
    stage: str = RESTORING

    @property
    def stamp(self) -> str:
        """The time in its names."""
        return PurePath(self.beside).stem.rpartition("_")[2]

    def as_bytes(self) -> bytes:
        """For the file that survives a crash."""
        media = self.media.as_json() if self.media else None
        return json.dumps(asdict(replace(self, media=None)) | {"media": media}).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Restoring | None":
        """The other way round; None if it is not of that form."""
        fields = read_object(content) or {}
        try:
            media = fields.pop("media")
            texts = [*fields.values(), *(media or {}).values()]
            if not all(isinstance(text, str) for text in texts):
                return None
            found = cls(**fields, media=MediaPaths.from_json(media) if media else None)
        except (AttributeError, KeyError, TypeError):
            return None
        return found if found.stage in (RESTORING, SWAPPING, REPLACING) else None


class RestoreMarker:
    """The file of a running restore."""

    def __init__(self, path: Path, restoring: Restoring) -> None:
        self._path = path
        self.restoring = restoring

    def write(self, stage: str) -> None:
        """Note durably how far the restore has come; raises RestoreFailed if it cannot be."""
        try:
            write_atomically(self._path, replace(self.restoring, stage=stage).as_bytes())
        except OSError as error:
            raise RestoreFailed(
                f"{self._path} cannot be written: {error.strerror}. Without it a killed restore "
                "could not be repaired. The live database was not changed."
            ) from error

    def remove(self) -> None:
        """There is nothing to resume any more."""
        try:
            self._path.unlink(missing_ok=True)
            sync_directory(self._path.parent)
        except OSError as error:  # the restore itself has ended; the next one looks at the file
            set_aside(self._path, f"it cannot be removed: {error.strerror}")


def begin_marker(restoring: Restoring) -> RestoreMarker:
    """Write the marker of a restore; whoever has nothing more to resume removes it."""
    marker = new_marker(restoring)
    marker.write(RESTORING)
    return marker


def new_marker(restoring: Restoring) -> RestoreMarker:
    """The marker of a restore of what is there, and stays if it is killed before it swaps."""
    directory = state_directory("restores")
    return RestoreMarker(directory / f"{restoring.backup}.{secrets.token_hex(4)}.json", restoring)


def has_interrupted() -> bool:
    """Whether a restore that was begun on this host was killed before its end."""
    return any(_markers())


def unfinished_restores() -> list[Restoring]:
    """The restores of this host that go on or were killed; what cannot be read is passed over."""
    found = []
    for path in _markers():
        with suppress(OSError):  # it may just have ended
            found.append(Restoring.from_bytes(read_private(path)))
    return [each for each in found if each is not None]


def resume_interrupted(alias: str) -> str:
    """Finish or undo what killed restores of this database left; say what was done, "" if nothing.

    Call it under the deploy lock and before connecting to the live database, which such a restore
    may have left closed. Raises SwapUnfinished where a person has to look.
    """
    database = database_for(alias)
    key, report, replacing = database.key(), [], []
    for path in _markers():
        restoring = _read(path)
        if restoring is None:
            # It may have been killed with clients paused, of which the server has no mark.
            report += [_unknown(path, alias), database.resume_clients()]
        elif restoring.key == key and restoring.stage == REPLACING:
            replacing.append(RestoreMarker(path, restoring))
        elif restoring.key == key:
            report.append(_resume(database, restoring))
            _note_end(database, restoring, report[-1])
            RestoreMarker(path, restoring).remove()
    report.append(database.repair_marked())
    for marker in replacing:  # the live database is open again, and can be asked
        report.append(_resume_replacing(database, marker.restoring))
        marker.remove()
    return "\n".join(filter(None, report))


def _markers() -> list[Path]:
    return sorted((conf.state_dir / "restores").glob("*.json"))


def _read(path: Path) -> Restoring | None:
    """Read one file; one that cannot be read is set aside, and what it named stays where it is."""
    try:
        content = read_private(path)
    except OSError as error:
        set_aside(path, str(error.strerror))
        return None
    restoring = Restoring.from_bytes(content)
    if restoring is None:
        set_aside(path, "it is damaged, or of another version of deploy_ops")
    return restoring


def _unknown(path: Path, alias: str) -> str:
    beside = ("backups", "prune", "--previous-databases", "--min-age", "0s")
    return (
        f"A restore had been cut off, and its record {path.name}, which names the databases and "
        "uploads that it left, cannot be read. None of them was changed or removed. They are among "
        "these:\n" + manage(*beside, alias=alias)
    )


def _resume(database: Database, restoring: Restoring) -> str:
    is_point = restoring.beside == database.name_beside(f"point_{restoring.backup[:16]}")
    title = f"safety point {restoring.beside}" if is_point else f"backup {restoring.backup}"
    report = f"A restore of {title} had been cut off. "
    media = restoring.media
    if restoring.stage == RESTORING:
        # What was read from a file decides nothing about names that a restore would not give.
        if restoring.beside in database.databases_beside():
            database.drop(restoring.beside)
        left = ""
        if media and media.beside in media_beside():
            discard(media)
            left = f", but for {media.beside}" if media.beside.exists() else ""
        return (
            f"{report}The live database was not changed; what had been made beside it was "
            f"removed{left}."
        )
    report += database.repair_swap(restoring.beside, restoring.previous)
    if media and media.beside in media_beside():
        _resume_media(database, restoring, media)
    return report


def _note_end(database: Database, restoring: Restoring, report: str) -> None:
    """The audit has the beginning of a swap; of what came before it, nothing."""
    if restoring.stage == SWAPPING:
        outcome = Outcome.DONE if _is_swapped(database, restoring) else Outcome.FAILED
        name = database.identify().name
        details = {"backup": restoring.backup, "database": name, "kept": restoring.previous}
        note(Event(Kind.RESTORE, outcome, code_version(), message=report, details=details))


def _resume_replacing(database: Database, restoring: Restoring) -> str:
    """Remove the database beside, and find out whether the one transaction was committed."""
    is_done = database.has_kept(restoring.previous)
    if restoring.beside in database.databases_beside():
        database.drop(restoring.beside)
    report = f"A restore of tables from backup {restoring.backup} had been cut off. " + (
        f"Their rows had been put back, and those that went are kept: {restoring.previous} is that "
        "of the first table."
        if is_done
        else "The live database was not changed; what had been made beside it was removed."
    )
    outcome = Outcome.DONE if is_done else Outcome.FAILED
    details: dict[str, object] = {
        "backup": restoring.backup,
        "database": database.identify().name,
        "tables": [],  # it is not known any more which
        "kept": [restoring.previous],
    }
    note(Event(Kind.RESTORE, outcome, code_version(), message=report, details=details))
    return report


def _is_swapped(database: Database, restoring: Restoring) -> bool:
    there = database.databases_beside()
    return restoring.previous in there and restoring.beside not in there


def _resume_media(database: Database, restoring: Restoring, media: MediaPaths) -> None:
    """The uploads follow the database, which goes first."""
    if _is_swapped(database, restoring):
        swap(media)
    else:
        discard(media)
