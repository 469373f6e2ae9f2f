"""Every run with what its journal says of it, and whether somebody is still at it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.db import DEFAULT_DB_ALIAS

from deploy_ops.errors import DeployOpsError
from deploy_ops.history import release_of_runs
from deploy_ops.lock import lock_holders
from deploy_ops.lock_file import Holder
from deploy_ops.migrate.journal import Json, Record, read_runs
from deploy_ops.times import moment


class State(StrEnum):
    """How a run stands; `stopped` has begun no migration, of `unknown` the lock cannot be seen."""

    AT_WORK = "at_work"
    UNRESOLVED = "unresolved"
    UNKNOWN = "unknown"
    DONE = "done"
    STOPPED = "stopped"
    RECOVERED = "recovered"
    FAILED = "failed"
    RESOLVED = "resolved"


ENDINGS = {
    "ok": State.DONE,
    "nothing_to_do": State.DONE,
    "error": State.STOPPED,
    "recovered": State.RECOVERED,
}


@dataclass(frozen=True, slots=True)
class Run:
    """One run; `began` and `seconds` are None, and texts empty, where that is not known.

    `committed` of its `steps` were, also if they were undone later. `rung` is the recovery step,
    `outcome` what a later run found out, `damage` which lines of the journal cannot be read.
    """

    id: str
    began: datetime | None
    command: tuple[str, ...]
    alias: str
    database: str
    state: State
    steps: int
    committed: int
    seconds: float | None
    version: str
    backup: str
    rung: str
    outcome: str
    damage: str


def all_runs() -> list[Run]:
    """Every run whose journal is there, oldest first."""
    records, versions = read_runs(), release_of_runs()
    aliases = {_alias(each) for each in records if not each.is_resolved}
    holders = {alias: _holders(alias) for alias in aliases}
    # Read again after the lock was looked at: what has ended in between was not cut off.
    now = [each if each.is_resolved else Record(each.path) for each in records]
    return [_run(each, holders, versions.get(each.run, "")) for each in now]


def committed_steps(record: Record) -> set[str]:
    """The names of the steps that it has committed, also if they were undone later."""
    applied = (step for step in record.steps if step["step"] == "migration_applied")
    return {name for step in applied for name in names_of(step)}


def names_of(step: Json) -> list[str]:
    """The names of the migrations that a step in a journal is about."""
    keys = step.get("migrations")
    if not isinstance(keys, list):
        return []
    return [".".join(map(str, key)) if isinstance(key, list) else str(key) for key in keys]


def is_held(record: Record, holders: Iterable[Holder]) -> bool:
    """Whether the process of a run holds the deploy lock."""
    process, host = record.start.get("process"), str(record.start.get("host"))
    # The name of a session has room for 63 bytes: the end of the host may be missing.
    return any(h.pid == process and h.host and host.startswith(h.host) for h in holders)


def _run(record: Record, holders: Mapping[str, Sequence[Holder] | None], version: str) -> Run:
    start, end = record.start, record.last("resolved") or record.last("finished") or {}
    began, ended, plan = moment(start.get("at")), moment(end.get("at")), start.get("plan")
    return Run(
        id=record.run,
        began=began,
        command=_command(start.get("command")),
        alias=_alias(record),
        database=_text(start.get("database")),
        state=_state(record, holders),
        steps=len(plan) if isinstance(plan, list) else 0,
        committed=len(committed_steps(record)),
        seconds=(ended - began).total_seconds() if began and ended and "status" in end else None,
        version=version,
        backup=_text((record.last("backed_up") or {}).get("backup")),
        rung=_text((record.last("recovered") or {}).get("rung")),
        outcome=_text(end.get("outcome")),
        damage=record.damage,
    )


def _state(record: Record, holders: Mapping[str, Sequence[Holder] | None]) -> State:
    if record.last("resolved"):
        return State.RESOLVED
    if finished := record.last("finished"):
        return ENDINGS.get(_text(finished.get("status")), State.FAILED)
    of_its_database = holders[_alias(record)]
    if of_its_database is None:
        return State.UNKNOWN
    return State.AT_WORK if is_held(record, of_its_database) else State.UNRESOLVED


def _holders(alias: str) -> Sequence[Holder] | None:
    """Who holds the deploy lock; None where nobody can tell."""
    try:
        return lock_holders(alias)
    except (DeployOpsError, LookupError):  # it does not answer, or is an alias no more
        return None


def _alias(record: Record) -> str:
    return _text(record.start.get("alias")) or DEFAULT_DB_ALIAS


def _command(words: object) -> tuple[str, ...]:
    return tuple(map(str, words)) if isinstance(words, list) else ()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
