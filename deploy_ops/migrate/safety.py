"""Which safety point a run gets, by facts: a backup, a clone, a restore point, or none.

A backup is preferred while it is quick. A clone takes the same time at any size where blocks are
shared, and is put back in a moment, but ends the sessions in the database: so it is chosen by
itself only where somebody holds the clients meanwhile. A restore point disturbs nobody, but going
back to it recovers the whole server beside (docs/decisions/0038).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from deploy_ops.backup.catalog import complete_backups
from deploy_ops.conf import conf
from deploy_ops.databases import database_for
from deploy_ops.databases.base import Identity
from deploy_ops.errors import PointRefused
from deploy_ops.migrate.past import last_clone

NOT_ASKED = "not asked for"
QUICK = "a backup is quick, and survives the loss of the disk"
NO_LOG = "SQLite has no write-ahead log that can be archived"
RESTORE_POINT_SECONDS = 1.0  # 0.2 s, and until the archive has the segment
NO_CLONES = "an SQLite file has no database beside it; its backup is a copy of the file anyway"
QUICK_SECONDS = 10.0
SMALL_BYTES = 100_000_000
DUMP_BYTES_PER_SECOND = 50e6  # with what verifies it, cautiously: 2 GB took 9 s


class Safety(StrEnum):
    """What a run goes back to if a migration fails and cannot be undone."""

    AUTO = "auto"
    CLONE = "clone"
    RESTORE_POINT = "restore_point"
    DUMP = "dump"
    NONE = "none"

    @property
    def spoken(self) -> str:
        """In sentences."""
        return self.value.replace("_", " ")


# Than a dump of a large database; the first is put back sooner.
QUICKER = (Safety.CLONE, Safety.RESTORE_POINT)


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
        return Choice(Safety.NONE, 0.0, dict.fromkeys((Safety.DUMP, *QUICKER), NOT_ASKED))
    identity = database_for(alias).identify()
    dump = _dump_seconds(identity)
    if asked is Safety.DUMP:
        return Choice(Safety.DUMP, dump, dict.fromkeys(QUICKER, NOT_ASKED))
    if asked is Safety.AUTO and dump <= QUICK_SECONDS:
        return Choice(Safety.DUMP, dump, dict.fromkeys(QUICKER, QUICK))
    looks = {Safety.CLONE: _clone, Safety.RESTORE_POINT: _restore_point}
    others: dict[Safety, str] = {}
    for each in QUICKER if asked is Safety.AUTO else (asked,):
        why_not, seconds = looks[each](alias, identity, may_end_sessions)
        if asked is Safety.AUTO and each is Safety.CLONE:
            why_not = why_not or _too_slow(seconds)
        if why_not is None:
            return Choice(each, seconds, _why_not_others(each, asked, others, dump))
        others[each] = why_not
    if asked is not Safety.AUTO:
        raise PointRefused(
            "Nothing was changed. Leave --safety out for what is possible here. "
            f"No {asked.spoken} can be the safety point: {others[asked]}"
        )
    return Choice(Safety.DUMP, dump, others)


def _why_not_others(
    chosen: Safety, asked: Safety, tried: dict[Safety, str], dump_seconds: float
) -> dict[Safety, str]:
    others = dict.fromkeys(QUICKER, NOT_ASKED if asked is chosen else "not needed") | tried
    del others[chosen]
    return others | {Safety.DUMP: f"it would take about {dump_seconds:.0f} s"}


def _dump_seconds(identity: Identity) -> float:
    """From the last backup of this database, else from its size."""
    if identity.size_bytes > SMALL_BYTES:
        for backup in reversed(complete_backups()):
            if backup.belongs_to(identity):
                saved = backup.manifest
                growth = identity.size_bytes / max(saved.database.size_bytes, 1)
                return round(sum(saved.seconds.values()) * growth, 1)
    return round(identity.size_bytes / DUMP_BYTES_PER_SECOND, 1)


def _restore_point(
    alias: str, _identity: Identity, _may_end_sessions: bool
) -> tuple[str | None, float | None]:
    """What speaks against a restore point, if anything; and how long it takes to be archived."""
    if not database_for(alias).has_clones:
        return NO_LOG, None
    from deploy_ops.backup.methods import restore_point  # needs psycopg

    return restore_point.why_not(alias), RESTORE_POINT_SECONDS


def _clone(
    alias: str, identity: Identity, may_end_sessions: bool
) -> tuple[str | None, float | None]:
    """What speaks against a clone, if anything; and how long it would take, if that is known."""
    if not database_for(alias).has_clones:
        return NO_CLONES, None
    from deploy_ops.backup.methods import clone  # needs psycopg

    why_not = clone.why_not(alias)
    if not why_not and clone.ABILITIES.ends_sessions and not may_end_sessions:
        why_not = cut_off_by_clone(alias)
    if why_not:
        return why_not, None
    shares = clone.could_share(alias)
    return None, clone.estimate(identity.size_bytes, shares, last_clone(identity.key))


def _too_slow(seconds: float | None) -> str | None:
    """A clone of a time that is not known yet is tried, and cancelled at the limit."""
    limit = conf.clone_limit
    if seconds is None or seconds <= limit:
        return None
    return f"it would take about {seconds:.0f} s, and DEPLOY_OPS_CLONE_LIMIT allows {limit:g} s"


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
