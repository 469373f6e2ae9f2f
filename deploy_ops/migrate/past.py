"""What the journals of all runs say of a step: when it was last rehearsed, backed up, begun."""

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy_ops.migrate.journal import Json, read_runs

if TYPE_CHECKING:
    from deploy_ops.backup.methods.clone import Clone, Earlier


@dataclass(frozen=True, slots=True)
class LastRehearsal:
    """What a step came to when it was last rehearsed; `measured` has its `seconds` and `held`."""

    text: str
    measured: Json


def last_rehearsals(key: str) -> dict[str, LastRehearsal]:
    """The last rehearsal of each step on this database."""
    found = {}
    for record in read_runs():
        rehearsed = record.last("rehearsed") if record.key == key else None
        if rehearsed is None:
            continue
        for step, text in rehearsed.get("steps", {}).items():
            measured = rehearsed.get("measured", {}).get(step, {})
            found[step] = LastRehearsal(f"{text} ({rehearsed['at']})", measured)
    return found


def backups_before(key: str) -> dict[tuple[str, str], str]:
    """The backup that was taken before each step last ran on this database, if there was one."""
    found: dict[tuple[str, str], str] = {}
    for record in read_runs():
        if record.key != key:
            continue
        backed_up = record.last("backed_up")
        for app, name, backwards in record.start.get("plan", ()):
            if not backwards and backed_up is not None:
                found[app, name] = str(backed_up["backup"])
            elif not backwards:
                found.pop((app, name), None)
    return found


def clones_of(key: str) -> "dict[str, Clone]":
    """The clones that runs made of this database, by name, whether they are still there or not."""
    found = {}
    for record in read_runs():
        made = record.last("point_made") if record.key == key else None
        if made is not None:
            from deploy_ops.backup.methods.clone import Clone  # needs psycopg

            with suppress(KeyError, TypeError, ValueError):  # of another version, or damaged
                clone = Clone.from_json(made)
                found[clone.database] = clone
    return found


def last_clone(key: str) -> "Earlier | None":
    """How the last clone of this database went, one that was cancelled at its limit too."""
    for record in reversed(read_runs()):
        if record.key != key:
            continue
        for step in reversed(record.steps):
            if step["step"] in ("point_made", "point_too_slow") and "could_share" in step:
                from deploy_ops.backup.methods.clone import Earlier  # needs psycopg

                facts = {name: step[name] for name in ("could_share", "seconds", "size_bytes")}
                return Earlier(is_done=step["step"] == "point_made", **facts)
    return None


def planned_since(key: str, run: str) -> frozenset[tuple[str, str]]:
    """Migrations that runs on this database began with after another one (ids are in order)."""
    return frozenset(
        (app, name)
        for record in read_runs()
        if record.key == key and record.run > run
        for app, name, backwards in record.start.get("plan", ())
        if not backwards
    )
