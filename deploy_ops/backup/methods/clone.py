"""A clone of a PostgreSQL database beside it: a safety point of a moment.

It lies on the same disk, so it is no backup; one is made of it afterwards, while the application
works again (docs/decisions/0038).
"""

import secrets
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta

from django.db import connections

from deploy_ops.backup.create import Source
from deploy_ops.backup.methods.base import Abilities, Cost, Scope
from deploy_ops.backup.methods.pg_dump import PgDump
from deploy_ops.backup.methods.pg_dump.live_checks import check_rename
from deploy_ops.databases import database_for
from deploy_ops.databases.base import Json
from deploy_ops.databases.postgresql import clone
from deploy_ops.databases.postgresql.server import server_of
from deploy_ops.ids import new_id

ABILITIES = Abilities(
    Scope.DATABASE, Cost.FLAT, is_backup=False, supports_beside=True, ends_sessions=True
)
PLAIN_BYTES_PER_SECOND = 300e6  # of a plain copy, cautiously: 2 GB took 1.4 s on ext4, 7.2 s on XFS


@dataclass(frozen=True, slots=True)
class Clone:
    """A clone: its database, and the live one's position of writes when nobody was connected.

    `properties` are those that lay outside of the live one's files (properties.py).
    """

    id: str
    alias: str
    database: str
    at: datetime
    write_position: Json
    size_bytes: int
    could_share: bool
    seconds: float
    properties: Json

    def as_json(self) -> Json:
        """For the journal, which has an `at` of its own."""
        facts = asdict(self)
        return {**facts, "cloned_at": facts.pop("at").isoformat()}

    @classmethod
    def from_json(cls, facts: Json) -> "Clone":
        """As it was noted; KeyError, TypeError or ValueError if it is none of this form."""
        known = {each.name: facts[each.name] for each in fields(cls) if each.name != "at"}
        return cls(**known, at=datetime.fromisoformat(facts["cloned_at"]))

    def as_source(self) -> Source:
        """For a backup of that moment."""
        server = server_of(self.alias)
        parameters = {**server.parameters, "dbname": self.database}
        of_clone = replace(server, parameters=parameters, public_name=None)
        return Source(PgDump(self.alias, of_clone), self.at, self.write_position)


@dataclass(frozen=True, slots=True)
class Planned:
    """A clone that is to be made: the id of the point, and the name of its database."""

    id: str
    alias: str
    database: str


@dataclass(frozen=True, slots=True)
class Earlier:
    """How it went when this database was cloned the last time, or was to be (`is_done`)."""

    is_done: bool
    could_share: bool
    seconds: float
    size_bytes: int


def plan(alias: str) -> Planned:
    """Name a clone; raises DatabaseUnavailable."""
    database = database_for(alias)
    point = new_id(datetime.now(UTC))
    return Planned(point, alias, database.name_beside(f"point_{point[:16]}"))


def why_not(alias: str) -> str | None:
    """What speaks against a clone whatever the size: a sentence; None if nothing does."""
    return clone.why_not(server_of(alias))


def check_put_back(alias: str) -> list[str]:
    """Look for what a swap with a clone would fail at, or leave behind; a sentence each."""
    server = server_of(alias)
    with server.maintenance(application_name="deploy_ops/preflight") as connection:
        return check_rename(connection, server.dbname)


def could_share(alias: str) -> bool:
    """Whether the server may let the file system share blocks."""
    with server_of(alias).maintenance(application_name="deploy_ops/look") as connection:
        return clone.could_share(connection)


def estimate(size_bytes: int, shares: bool, earlier: Earlier | None) -> float | None:
    """Seconds that a clone will take; None if it shares blocks or not, which is not known yet."""
    if earlier is None or earlier.could_share != shares:
        return None if shares else size_bytes / PLAIN_BYTES_PER_SECOND
    plain = earlier.size_bytes / PLAIN_BYTES_PER_SECOND
    if shares and earlier.is_done and earlier.seconds < plain / 10:
        return earlier.seconds
    return size_bytes * earlier.seconds / max(earlier.size_bytes, 1)


def tried(alias: str, limit: timedelta) -> Earlier:
    """What is noted of a clone that was cancelled: that it needs longer than the limit."""
    size = database_for(alias).identify().size_bytes
    return Earlier(False, could_share(alias), limit.total_seconds() * 1.1, size)


def copy(point: Clone) -> str:
    """Clone a clone, to try things in; return the name. Raises PointFailed."""
    name = database_for(point.alias).name_beside(f"verify_{point.id[:16]}_{secrets.token_hex(2)}")
    clone.copy(server_of(point.alias), point.database, name)
    return name


def prepare(alias: str) -> None:
    """Write out what is dirty, with clients at work, so that the clone itself is short."""
    clone.checkpoint(server_of(alias))


def make(planned: Planned, within: timedelta) -> Clone:
    """End all sessions in the database and clone it; raises PointFailed, DatabaseUnavailable."""
    database = database_for(planned.alias)
    size = database.identify().size_bytes
    connections[planned.alias].close()
    moments: list[tuple[datetime, Json]] = []
    cloning = clone.clone(
        server_of(planned.alias),
        planned.database,
        within=within,
        at_rest=lambda: moments.append((datetime.now(UTC), database.write_position())),
    )
    at, position = moments[-1]
    return Clone(
        id=planned.id,
        alias=planned.alias,
        database=planned.database,
        at=at,
        write_position=position,
        size_bytes=size,
        could_share=cloning.could_share,
        seconds=cloning.seconds,
        properties=cloning.properties,
    )
