"""Proving a backup again later, level by level, and noting the outcome beside its manifest.

manifest  the manifest is sound, every file is there with its size, and no other
hash      every byte is as recorded, here and in STORAGES["backups"]
read      decrypted and read through as a restore would
restore   restored into a scratch database: rows, sequences and migrations compared
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from django.db import DEFAULT_DB_ALIAS, DataError, connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

from deploy_ops.advice import manage
from deploy_ops.backup.opening import opened
from deploy_ops.backup.entry import PINNED, VERIFIED, Backup, Level
from deploy_ops.backup.manifest import NAME, describe_files, paths_in
from deploy_ops.backup.methods import method_for
from deploy_ops.backup.storage import remote_storage
from deploy_ops.backup.trust import require_usable
from deploy_ops.databases import Database, database_for
from deploy_ops.databases.base import Counts
from deploy_ops.errors import BackupCorrupt, BackupError, RestoreFailed, RestoreRefused
from deploy_ops.lock_file import OWNER
from deploy_ops.progress import Progress, Silent
from deploy_ops.redact import error_text

MARKS = {NAME, PINNED, VERIFIED, OWNER}
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Verification:
    """A level that was passed; `pending` are migrations of this code that the backup lacks."""

    level: Level
    pending: tuple[str, ...] = ()


def verify_backup(
    backup: Backup,
    level: Level,
    *,
    alias: str = DEFAULT_DB_ALIAS,
    jobs: int = 2,
    progress: Progress = Silent(),
) -> Verification:
    """Prove a backup up to a level; the kind of database and the scratch one are the alias's.

    Raises BackupCorrupt with everything that was found, and notes that: only what the contents
    themselves prove. What cannot be tried (no key, no CREATEDB, no space, a server that went away,
    a program that was killed) raises another error, and the backup stays what it was. One that is
    not proven to be ours is not touched: BackupUntrusted.
    """
    require_usable(backup, alias)
    progress.say(f"Verifying backup {backup.id}: {level}")
    try:
        pending = _verify(backup, level, alias, jobs, progress)
    except BackupCorrupt as error:
        backup.record(level, failed=str(error))
        raise
    except OSError as error:
        raise BackupError(
            f"Backup {backup.id} could not be verified: {error}. That says nothing about its "
            "contents, and it stays in use. The database was not changed."
        ) from error
    backup.record(level)
    return Verification(level, pending)


def _verify(
    backup: Backup, level: Level, alias: str, jobs: int, progress: Progress
) -> tuple[str, ...]:
    if backup.is_here:
        _compare(backup, _check_sizes(backup), alias)
    is_fetched = level.rank >= Level.READ.rank and not backup.is_here  # and hashed on the way
    if level.rank >= Level.HASH.rank and not is_fetched:
        _compare(backup, _check_hashes(backup), alias)
    if level.rank >= Level.READ.rank:
        return _read(backup, level, alias, jobs, progress)
    return ()


def _read(
    backup: Backup, level: Level, alias: str, jobs: int, progress: Progress
) -> tuple[str, ...]:
    database, method = database_for(alias), method_for(alias)
    if database.vendor != backup.engine:
        raise RestoreRefused(
            f"Backup {backup.id} is of {backup.engine} and database '{alias}' is "
            f"{database.vendor}. Nothing was changed. Name a database of that kind:\n"
            + manage("backups", "verify", backup.id, "--level", level, alias="ALIAS")
        )
    with opened(backup) as directory:
        method.read_through(directory / "database")
        if level is not Level.RESTORE:
            return ()
        with _scratch_database(alias, backup, directory, jobs, progress) as name:
            _compare(backup, _check_rows(database, backup, name), alias)
            for sentence in database.view_differences(
                name, backup.manifest.extra.get("materialized_views", {})
            ):
                progress.say(sentence)
            return _check_migrations(alias, backup, name)


@contextmanager
def scratch_database(
    backup: Backup, *, alias: str = DEFAULT_DB_ALIAS, progress: Progress = Silent()
) -> Iterator[str]:
    """Restore a backup into a database of its own; yields its name, and drops it in the end."""
    require_usable(backup, alias)
    with opened(backup) as directory:
        with _scratch_database(alias, backup, directory, 2, progress) as name:
            _compare(backup, _check_rows(database_for(alias), backup, name), alias)
            backup.record(Level.RESTORE)
            yield name


@contextmanager
def _scratch_database(
    alias: str, backup: Backup, directory: Path, jobs: int, progress: Progress
) -> Iterator[str]:
    database, method = database_for(alias), method_for(alias)
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}_{secrets.token_hex(2)}"
    name = database.name_beside(f"verify_{stamp}")
    if problems := method.check_restore(backup.manifest, into=name):
        raise RestoreRefused(
            f"Backup {backup.id} cannot be restored into a scratch database here:\n"
            + "\n".join(problems)
            + "\nNothing was changed."
        )
    try:
        method.restore_beside(
            directory / "database", backup.manifest, name=name, jobs=jobs, progress=progress
        )
    except RestoreFailed as error:
        # Its files were read to their end before this, so it is not they that are damaged.
        raise RestoreFailed(
            f"Backup {backup.id} is sound as far as its files can be read, but it could not be "
            f"restored here, so whether its rows are complete is not known:\n{error}"
        ) from error
    try:
        yield name
    finally:
        database.drop(name)


def _check_sizes(backup: Backup) -> list[str]:
    files, directory = backup.manifest.files, backup.directory
    found = set(paths_in(directory))
    marks = {path.name for path in directory.iterdir() if path.is_file()}
    problems = [f"{path} is missing" for path in sorted(files.keys() - found)]
    problems += [f"{path} is not in the manifest" for path in sorted(found - files.keys())]
    strange = [name for name in marks - MARKS if not name.startswith(f"{VERIFIED}.damaged-")]
    problems += [f"{name} is not in the manifest" for name in sorted(strange)]
    for path in sorted(files.keys() & found):
        size = (directory / path).lstat().st_size
        if (directory / path).is_symlink() or size != files[path].size:
            problems.append(f"{path} has {size} bytes, recorded are {files[path].size}")
    return problems


def _check_hashes(backup: Backup) -> list[str]:
    recorded = {path: saved.sha256 for path, saved in backup.manifest.files.items()}
    problems = []
    if backup.is_here:
        found = {path: saved.sha256 for path, saved in describe_files(backup.directory).items()}
        problems += [f"{path} was changed" for path in recorded if found[path] != recorded[path]]
    if backup.is_copied and (remote := remote_storage()):
        for path, sha256 in recorded.items():
            if remote.digest(backup.id, path) != sha256:
                problems.append(f"the copy of {path} in the storage was changed")
    return problems


def _check_rows(database: Database, backup: Backup, name: str) -> list[str]:
    counts, sequences = database.count_rows(name)
    return [
        *_differences("rows", counts, backup.manifest.counts, at_least=False),
        # Sequences are not part of the snapshot, so they may be ahead of it.
        *_differences("sequence value", sequences, backup.manifest.sequences, at_least=True),
    ]


def _differences(what: str, found: Counts, recorded: Counts, *, at_least: bool) -> list[str]:
    return [
        f"{what} of {name}: {found.get(name)} restored, {recorded.get(name)} recorded"
        for name in sorted(found.keys() | recorded.keys())
        if not (
            found.get(name) == recorded.get(name)
            or (at_least and (found.get(name) or 0) >= (recorded.get(name) or 0))
        )
    ]


def _check_migrations(alias: str, backup: Backup, name: str) -> tuple[str, ...]:
    """Compare the recorded migrations; return those of this code that would be pending."""
    recorded = set(backup.manifest.migrations)
    try:
        with _temporary_alias(alias, name) as scratch:
            recorder = MigrationRecorder(connections[scratch])
            found = set(recorder.applied_migrations())
            executor = MigrationExecutor(connections[scratch])
            plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DataError as error:  # Django asks for the names of all tables
        raise BackupError(
            f"Backup {backup.id} is restored with all its rows, but its migrations cannot be "
            f"compared, since Django cannot read a name in it: {error_text(error)}. The database "
            "was not changed."
        ) from error
    missing = [f"migration {app}.{migration} differs" for app, migration in found ^ recorded]
    _compare(backup, sorted(missing), alias)
    return tuple(f"{migration.app_label}.{migration.name}" for migration, _ in plan)


@contextmanager
def _temporary_alias(alias: str, name: str) -> Iterator[str]:
    scratch = f"{alias}_{secrets.token_hex(4)}"
    connections.settings[scratch] = {**connections[alias].settings_dict, "NAME": name}
    try:
        yield scratch
    finally:
        connections[scratch].close()
        del connections[scratch]
        del connections.settings[scratch]


def _compare(backup: Backup, problems: list[str], alias: str) -> None:
    """Raise BackupCorrupt if there are problems."""
    if not problems:
        return
    shown = problems[:SHOWN]
    if len(problems) > SHOWN:
        shown.append(f"and {len(problems) - SHOWN} more")
    raise BackupCorrupt(
        f"Backup {backup.id} is not what its manifest says: {'; '.join(shown)}.\n"
        "The database was not changed. Do not rely on this backup; take another one:\n"
        + manage("backup", alias=alias)
    )
