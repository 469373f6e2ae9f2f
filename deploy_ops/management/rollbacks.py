"""A way back as people and programs read it, and the restore that one may take."""

from collections.abc import Iterator, Sequence
from typing import Any

from deploy_ops.advice import manage
from deploy_ops.lock import deploy_lock
from deploy_ops.management.base import Json
from deploy_ops.management.confirmation import Confirmation, describe_rows
from deploy_ops.management.restores import describe_restored, restore_as_asked
from deploy_ops.migrate.resume import resolve_restored
from deploy_ops.progress import Progress
from deploy_ops.release.go_back import require_code_only
from deploy_ops.release.rollback import Decision, WayBack, backup_of
from deploy_ops.restore.compare import loss_now
from deploy_ops.restore.job import contents_of
from deploy_ops.restore.values import Loss


def describe(way: WayBack, loss: Loss | None) -> Iterator[str]:
    """The decision and why; `loss` is what restoring its backup would take away."""
    reasons = [str(each.msg) for each in way.why]
    if way.decision is Decision.CODE_ONLY:
        but = ", but for this" if reasons else ""
        yield f"Only the code has to change: {way.version} works on the schema as it is{but}."
        yield from reasons
        return
    yield f"{way.version} does not work on the schema as it is:"
    yield from reasons
    if way.decision is Decision.REVERSE:
        undone = ", ".join(way.undone)
        yield f"What came after it can be undone, and nothing that is there now is lost: {undone}."
        for table in way.kept:
            yield f"{table} has rows and goes: they are copied to a kept table first."
        for step in way.runs_code:
            yield f"{step} runs code back: what it changes is compared before it is committed."
        return
    yield "What came after it cannot be undone without a loss:"
    yield from (f"- {each}" for each in way.obstacles)
    yield from _of_backup(way, loss)


def _of_backup(way: WayBack, loss: Loss | None) -> Iterator[str]:
    if way.backup is None or loss is None:
        yield f"No backup is known on whose schema {way.version} works."
        return
    minutes = loss.age.total_seconds() / 60
    yield (
        f"It works on the schema of backup {way.backup.id}, the newest such, {minutes:.0f} min "
        "old. A restore of it would lose:"
    )
    yield from describe_rows(loss)


def next_commands(way: WayBack) -> list[str]:
    """What to type next, while the way is as it is."""
    to = f"v{way.version}"
    code = f"    ./deploy.sh --rollback --to {to}"
    if way.decision is Decision.CODE_ONLY:
        return [code]
    if way.decision is Decision.REVERSE:
        return [manage("rollback", "--to", to, alias=way.alias), code]
    if way.backup is None:
        return [manage("backups", "list", alias=way.alias)]
    return [manage("rollback", "--to", to, "--restore", way.backup.id, alias=way.alias), code]


def after_failure(way: WayBack) -> str:
    """What is left to do where undoing was rolled back."""
    restore = manage("rollback", "--to", f"v{way.version}", "--restore", "latest", alias=way.alias)
    return (
        "Nothing was undone. Fix what stood in the way, then run the same again; or restore the "
        f"newest backup on whose schema {way.version} works, after a look at the loss:\n{restore}"
    )


def loss_of(way: WayBack) -> Loss | None:
    """What restoring the backup of the way would lose; None where there is none."""
    return None if way.backup is None else loss_now(way.alias, way.backup)


def restore_it(
    way: WayBack, text: str, confirmation: Confirmation, progress: Progress, options: Json
) -> Iterator[str]:
    """Restore the backup that was asked for after a confirmation; what to say of it, line by line.

    Raises what `restore` raises, and in the end ReleaseUnfinished where the release does not work
    on it: where the database before is kept has been said by then.
    """
    backup = backup_of(way, text)
    with deploy_lock(way.alias, purpose="rollback", wait=options["wait"]) as lock:
        how: dict[str, Any] = {**options, **RESTORE, "id": backup.id}
        restored = restore_as_asked(backup, lock, confirmation, progress, how)
        resolve_restored(way.alias, contents_of(backup))
    yield from describe_restored(restored, backup, way.alias)
    require_code_only(way)


# What `restore` would be given besides.
RESTORE: Json = {
    "into": None,
    "in_place": False,
    "jobs": 2,
    "end_requests": False,
    "trust_unauthenticated": False,
}


def as_json(way: WayBack, loss: Loss | None, following: Sequence[str]) -> Json:
    """For programs."""
    return {
        "decision": way.decision,
        "why": [{"id": str(each.id), "message": each.msg} for each in way.why],
        "undone": list(way.undone),
        "kept": list(way.kept),
        "runs_code": list(way.runs_code),
        "obstacles": [{"what": each.what, "why": each.why} for each in way.obstacles],
        "backup": way.backup and way.backup.id,
        "lost": loss and {"rows": dict(loss.rows), "sequences": dict(loss.sequences)},
        "next": [line.strip() for line in following],
    }
