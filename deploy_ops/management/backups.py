"""The actions of `manage.py backups`: options in, exit code and JSON out, text on the way."""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

from deploy_ops import audit
from deploy_ops.advice import manage
from deploy_ops.backup import catalog, retention, upkeep
from deploy_ops.backup.entry import Backup, Entry, Level, State
from deploy_ops.backup.manifest import dump_manifest
from deploy_ops.backup.verification import verify_backup
from deploy_ops.backup.workspace import sweep
from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.errors import (
    BackupCorrupt,
    BackupError,
    ConfigurationError,
    DatabaseUnavailable,
    ProgramError,
    RestoreError,
)
from deploy_ops.lock import deploy_lock
from deploy_ops.management import backup_list
from deploy_ops.management.backup_card import card
from deploy_ops.management.base import Json, OpsCommand, spoken_age
from deploy_ops.management.output import printable
from deploy_ops.migrate.journal import open_runs, referred_backups, referred_points
from deploy_ops.restore import resume_interrupted
from deploy_ops.restore.media import media_beside, require_media_root
from deploy_ops.trail import tell_receivers, watched
from deploy_ops.version import code_version

Options = Mapping[str, Any]
Outcome = tuple[int, Json]
VERDICTS = ("ok", "not_tried", "corrupt")  # the worst last
# The others of `verify all` may still be proven.
CONCERNS_ONE_BACKUP = (
    BackupError,
    ConfigurationError,
    DatabaseUnavailable,
    ProgramError,
    RestoreError,
)
_TIME = re.compile(r"[0-9]{8}T[0-9]{6}Z")


def list_backups(command: OpsCommand, options: Options) -> Outcome:
    """list all backups, and the directories that are not backups, with the reason"""
    now, entries = datetime.now(UTC), catalog.list_entries()
    if entries:
        command.tell_table(backup_list.HEADINGS, backup_list.rows(entries, now))
    else:
        command.tell(f"No backups in {conf.backup_dir}.")
    result: Json = {"status": "ok"}
    if command.as_json:
        result["backups"] = [backup_list.facts(each, now) for each in entries]
    age = options["max_age"]
    if age is None or _is_fresh(entries, options["database"], now, age):
        return 0, result
    message = (
        f"No verified backup of database '{options['database']}' is younger than "
        f"{spoken_age(age)}. Take one:\n"
        f"{manage('backup', alias=options['database'])}"
    )
    command.tell(message)
    tell_receivers(_stale(message))
    return 1, result | {"status": "stale"}


def show(command: OpsCommand, options: Options) -> Outcome:
    """show when it was taken, how it was proven, and what is in it"""
    backup = _find(options)
    entry = catalog.find_entry(backup.id)
    if entry.reason:
        command.tell(printable(f"{entry.state}: {entry.reason}"))
    if not backup.verdict.is_usable:
        command.tell("What follows is what it claims; nothing here proves it.")
    command.tell(printable(card(backup, datetime.now(UTC))))
    manifest = json.loads(dump_manifest(backup.manifest))
    facts = {"trust": backup.verdict.trust, "verified": backup.verifications}
    return 0, {"status": "ok", "manifest": manifest, **facts}


def verify(command: OpsCommand, options: Options) -> Outcome:
    """prove a backup, or `all` of the database, again"""
    alias, level = options["database"], options["level"]
    # A scratch database is not known to a pooler.
    with (
        watched(audit.Kind.VERIFICATION, database=alias, level=level) as ending,
        database_for(alias).connected_directly(),
        deploy_lock(alias, purpose="verify", shared=True),
    ):
        if options["id"] == "all":
            backups = catalog.same_database(_not_disproved(), alias)
        else:
            backups = [_find(options)]
        results = [_verify(command, backup, level, alias) for backup in backups]
        if errors := [result["error"] for result in results if result["status"] != "ok"]:
            ending.outcome, ending.message = audit.Outcome.FAILED, "\n".join(errors)
    status = max((result["status"] for result in results), key=VERDICTS.index, default="ok")
    return 0 if status == "ok" else 1, {"status": status, "backups": results}


def prune(command: OpsCommand, options: Options) -> Outcome:
    """say what DEPLOY_OPS_BACKUP_RETENTION no longer keeps; with --delete, delete it"""
    if options["previous_databases"]:
        return _prune_databases(command, options)
    alias = options["database"]
    # Looking makes nothing, not even the file of the lock.
    with deploy_lock(alias, purpose="prune") if options["delete"] else nullcontext():
        entries = catalog.list_entries(must_reach_storage=True)
        found = catalog.same_database(catalog.complete(entries), alias)
        backups = {backup.id: backup for backup in found}
        runs = open_runs()
        choice = retention.choose(
            retention.candidates(backups.values()),
            conf.backup_retention,
            datetime.now(UTC),
            referred_backups() | {b.id for b in backups.values() if b.head.run in runs},
        )
        say = _listed_or_reported(command, options)
        for backup_id, reasons in choice.keep.items():
            say(f"keep    {backup_id}  {', '.join(reasons)}")
        for backup_id, backup in backups.items():
            if backup_id in choice.drop:
                say(f"{_verb(options)}  {backup_id}  {backup.size_bytes / 1e6:.1f} MB")
                if options["delete"]:
                    upkeep.delete_backup(backup)
        left = _tell_left(command, entries)
        swept = [*sweep(conf.backup_dir), *upkeep.sweep_storage()] if options["delete"] else []
    _remind(command, options, bool(choice.drop))
    result = {"deleted": options["delete"], "keep": choice.keep, "drop": choice.drop, "left": left}
    return 0, {"status": "ok", **result, "swept": swept}


def pin(command: OpsCommand, options: Options) -> Outcome:
    """keep a backup for good: prune leaves it"""
    backup = _find(options)
    upkeep.pin(backup)
    command.report(f"Backup {backup.id} is pinned.")
    return 0, {"status": "ok", "backup": backup.id, "pinned": True}


def unpin(command: OpsCommand, options: Options) -> Outcome:
    """let a pinned backup be pruned when its time comes"""
    backup = _find(options)
    upkeep.unpin(backup)
    command.report(f"Backup {backup.id} is no longer pinned.")
    return 0, {"status": "ok", "backup": backup.id, "pinned": False}


ACTIONS: Mapping[str, Callable[[OpsCommand, Options], Outcome]] = {
    "list": list_backups,
    "show": show,
    "verify": verify,
    "prune": prune,
    "pin": pin,
    "unpin": unpin,
}


def _find(options: Options) -> Backup:
    """The backup of an id even if its last verification failed, or the latest usable one."""
    if options["id"] == "latest":
        return catalog.find_backup(options["database"], "latest")
    entry = catalog.find_entry(options["id"])
    return entry.backup or catalog.usable(entry)


def _not_disproved() -> list[Backup]:
    """The backups that `verify all` must answer for: usable here, or only for want of a key."""
    states = (State.COMPLETE, State.KEY_MISSING)
    return [each.backup for each in catalog.list_entries() if each.backup and each.state in states]


def _tell_left(command: OpsCommand, entries: list[Entry]) -> dict[str, str]:
    """Name what is neither counted nor deleted because nothing here proves that it is ours."""
    left = {each.id: each.reason for each in entries if each.state in backup_list.UNPROVEN}
    for backup_id, reason in left.items():
        command.tell(printable(f"left    {backup_id}  {reason}"))
    return left


def _verify(command: OpsCommand, backup: Backup, level: Level, alias: str) -> Json:
    facts = {"backup": backup.id, "level": level}
    try:
        verification = verify_backup(backup, level, alias=alias, progress=command.progress)
    except CONCERNS_ONE_BACKUP as error:
        command.stderr.write(str(error))
        status = "corrupt" if isinstance(error, BackupCorrupt) else "not_tried"
        return facts | {"status": status, "error": str(error)}
    command.report(f"Backup {backup.id} passed level {level}.")
    if verification.pending:
        command.report(f"    This code has migrations it lacks: {', '.join(verification.pending)}")
    return facts | {"status": "ok", "pending": verification.pending}


def _prune_databases(command: OpsCommand, options: Options) -> Outcome:
    alias = options["database"]
    with deploy_lock(alias, purpose="prune"):
        database = database_for(alias)
        if options["delete"]:  # half-way through a killed restore they may be all there is
            if repaired := resume_interrupted(alias):
                command.tell(repaired)
            require_media_root()
        previous: dict[str, Callable[[str], object]] = {
            **{name: database.drop for name in database.databases_beside()},
            **{str(path): shutil.rmtree for path in media_beside()},
        }
        in_use = referred_points()
        drop = [
            name for name in previous if _age_of(name) >= options["min_age"] and name not in in_use
        ]
        for name in drop:
            _listed_or_reported(command, options)(f"{_verb(options)}  {name}")
            if options["delete"]:
                previous[name](name)
    _remind(command, options, bool(drop))
    return 0, {"status": "ok", "deleted": options["delete"], "drop": drop}


def _age_of(database: str) -> timedelta:
    """Age of a database beside the live one, by the time in its name."""
    stamps = _TIME.findall(database)
    return datetime.now(UTC) - datetime.strptime(stamps[-1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def _listed_or_reported(command: OpsCommand, options: Options) -> Callable[[str], None]:
    """Without --delete it is the list that was asked for."""
    return command.report if options["delete"] else command.tell


def _verb(options: Options) -> str:
    return "delete" if options["delete"] else "would delete"


def _remind(command: OpsCommand, options: Options, has_work: bool) -> None:
    if not has_work:
        command.report("Nothing to delete.")
    elif not options["delete"]:
        command.tell(f"Nothing was deleted. To delete them:\n{_deleting(options)}")


def _deleting(options: Options) -> str:
    """The command that deletes what this one has named."""
    words = ["backups", "prune"]
    if options["previous_databases"]:
        age_seconds = options["min_age"].total_seconds()
        words += ["--previous-databases", "--min-age", f"{age_seconds:.0f}s"]
    return manage(*words, "--delete", alias=options["database"])


def _is_fresh(entries: list[Entry], alias: str, now: datetime, max_age: timedelta) -> bool:
    backups = catalog.same_database(catalog.complete(entries), alias)
    sound = [each for each in retention.candidates(backups) if each.is_verified]
    return any(timedelta(minutes=-5) <= now - each.taken_at <= max_age for each in sound)


def _stale(message: str) -> audit.Event:
    return audit.Event(audit.Kind.BACKUP, audit.Outcome.STALE, code_version(), message=message)
