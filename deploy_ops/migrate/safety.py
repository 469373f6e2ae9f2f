"""Which safety point a run gets, by facts: a backup (dump), a clone of the database, or none.

A backup also survives the loss of the disk, so it is preferred while it is quick. A clone takes the
same time at any size where blocks are shared, but ends the sessions in the database, so it is
chosen by itself only where somebody holds the clients meanwhile (docs/decisions/0031).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from deploy_ops.backup.catalog import complete_backups
from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.databases.base import Identity
from deploy_ops.errors import PointRefused
from deploy_ops.migrate.journal import read_runs

if TYPE_CHECKING:
    from deploy_ops.backup.methods.clone import Earlier

NOT_ASKED = "not asked for"
QUICK_SECONDS = 10.0
SMALL_BYTES = 100_000_000
DUMP_BYTES_PER_SECOND = 50e6  # with what verifies it, cautiously: 2 GB took 9 s


class Safety(StrEnum):
    """What a run goes back to if a migration fails and cannot be undone."""

    AUTO = "auto"
    CLONE = "clone"
    DUMP = "dump"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Choice:
    """The way that was chosen, the seconds that it is expected to take (None: not known), and why
    the others were not."""

    method: Safety
    seconds: float | None = None
    others: Mapping[Safety, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {"method": self.method, "seconds": self.seconds, "others": dict(self.others)}


def choose(alias: str, asked: Safety, *, may_end_sessions: bool) -> Choice:
    """Choose by what is asked for and by facts.

    `may_end_sessions`: the operator has agreed to that, or nobody else can be connected. Raises
    PointRefused where what is asked for cannot be had, DatabaseUnavailable.
    """
    if asked is Safety.NONE:
        return Choice(Safety.NONE, 0.0, {Safety.DUMP: NOT_ASKED, Safety.CLONE: NOT_ASKED})
    if not database_for(alias).has_clones:
        return _without_clones(asked)
    identity = database_for(alias).identify()
    dump = _dump_seconds(identity)
    if asked is Safety.DUMP:
        return Choice(Safety.DUMP, dump, {Safety.CLONE: NOT_ASKED})
    if asked is Safety.AUTO and dump <= QUICK_SECONDS:
        return Choice(Safety.DUMP, dump, {Safety.CLONE: "a backup is quick, and survives the disk"})
    seconds, why_not = _clone(alias, identity, may_end_sessions)
    if why_not and asked is Safety.CLONE:
        raise PointRefused(
            f"No clone can be made as a safety point: {why_not}. Nothing was changed. Leave "
            "--safety out for what is possible here."
        )
    if why_not:
        return Choice(Safety.DUMP, dump, {Safety.CLONE: why_not})
    return Choice(Safety.CLONE, seconds, {Safety.DUMP: f"it would take about {dump:.0f} s"})


def _without_clones(asked: Safety) -> Choice:
    why_not = "SQLite has no other database beside a file to clone it to; a dump is a copy of it"
    if asked is Safety.CLONE:
        raise PointRefused(
            f"No clone can be made as a safety point: {why_not}. Nothing was changed. Leave "
            "--safety out."
        )
    return Choice(Safety.DUMP, None, {Safety.CLONE: why_not})


def _dump_seconds(identity: Identity) -> float:
    """From the last backup of this database, else from its size."""
    if identity.size_bytes > SMALL_BYTES:
        for backup in reversed(complete_backups()):
            if backup.belongs_to(identity):
                saved = backup.manifest
                growth = identity.size_bytes / max(saved.database.size_bytes, 1)
                return round(sum(saved.seconds.values()) * growth, 1)
    return round(identity.size_bytes / DUMP_BYTES_PER_SECOND, 1)


def _clone(
    alias: str, identity: Identity, may_end_sessions: bool
) -> tuple[float | None, str | None]:
    """How long a clone would take, if that is known; and what speaks against it, if anything."""
    from deploy_ops.backup.methods import clone  # needs psycopg

    if why_not := clone.why_not(alias):
        return None, why_not
    if clone.ABILITIES.ends_sessions and not may_end_sessions:
        if why_not := cut_off_by_clone(alias):
            return None, why_not
    seconds = clone.estimate(identity.size_bytes, clone.could_share(alias), _earlier(identity.key))
    limit = conf.clone_limit.total_seconds()
    if seconds is not None and seconds > limit:
        return seconds, (
            f"it would take about {seconds:.0f} s, and DEPLOY_OPS_CLONE_LIMIT allows {limit:.0f} s"
        )
    return seconds, None


def cut_off_by_clone(alias: str) -> str | None:
    """Whose requests a clone would cut off, as a sentence; None if nobody's."""
    database = database_for(alias)
    if database.pauses_clients or not database.has_clones:
        return None
    if conf.hold_file is None:
        connected = len(database.client_sessions())
        if not connected:
            return None
        return (
            f"it ends the sessions of others ({connected} now), and nothing holds their requests "
            "meanwhile: see DEPLOY_OPS_HOLD_FILE"
        )
    if elsewhere := database.clients_elsewhere():
        return (
            "it ends the sessions of others, and the hold file is of this host: "
            f"{'; '.join(elsewhere)}"
        )
    return None


def _earlier(key: str) -> "Earlier | None":
    """How the last clone of this database went, by the journals of the runs."""
    from deploy_ops.backup.methods.clone import Earlier

    for record in reversed(read_runs()):
        if record.key != key:
            continue
        for step in reversed(record.steps):
            if step["step"] in ("point_made", "point_too_slow"):
                facts = {name: step[name] for name in ("could_share", "seconds", "size_bytes")}
                return Earlier(is_done=step["step"] == "point_made", **facts)
    return None
