"""What is said about a database, as values."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from deploy_ops.redact import statement_text

Json = dict[str, Any]
Counts = Mapping[str, int]
RowCounts = dict[int, int]  # rows changed, by the number of their table
_CAST = re.compile(r"::(?:character varying|[a-z_]+)(?:\(\d+\))?(?:\[\])?|[()\s]")


@dataclass(frozen=True, slots=True)
class Identity:
    """Which database this is.

    `system_identifier` names the server's cluster (SQLite: empty), `oid` the database in it.
    """

    engine: str
    name: str
    host: str
    port: str
    system_identifier: str
    oid: int
    server_version: int
    size_bytes: int

    @property
    def place(self) -> str:
        """Name and host as people read them."""
        return f"{self.name} on {self.host}" if self.host else self.name

    @property
    def key(self) -> str:
        """The same text for the same database, however it is reached."""
        return database_key(self.engine, self.system_identifier, self.name)


@dataclass(frozen=True, slots=True)
class ClientSession:
    """A program that is connected, by the name it gave; `since` is None where one may not know."""

    pid: int
    name: str
    host: str
    since: datetime | None


def database_key(engine: str, system_identifier: str, name: str) -> str:
    """Key a database by its cluster and name; for SQLite the name is the resolved path.

    Not by its oid: a restore puts another database under the name, and the runs on the one before
    are still to be resolved. Not by host and port, which have many names.
    """
    return ":".join(filter(None, (engine, system_identifier, name)))


class Answer(StrEnum):
    """Whether somebody wrote.

    UNKNOWN may be answered behind the closed door; UNKNOWABLE counts as WROTE for good.
    """

    NOBODY = "nobody"
    WROTE = "wrote"
    UNKNOWN = "unknown"
    UNKNOWABLE = "unknowable"


@dataclass(frozen=True, slots=True)
class Writes:
    """What others wrote since a position: the answer, rows by table if known, and the evidence.

    `catalogs` are the tables of the schema itself that were written, by temporary tables too.
    """

    answer: Answer
    rows: Counts
    evidence: str
    catalogs: tuple[str, ...] = ()


class Outcome(StrEnum):
    """What became of a transaction; LOST: its server crashed before it had written any of it."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    IN_PROGRESS = "in progress"
    LOST = "lost"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Ended:
    """A transaction at its end: whether the session is still in the same one (None: it cannot be
    asked), and the rows it changed (None: not known)."""

    is_same: bool | None
    rows: RowCounts | None


@dataclass(frozen=True, slots=True)
class Schema:
    """The whole schema as the database itself writes it, line by line; equal or not."""

    lines: tuple[str, ...]

    def difference(self, before: "Schema") -> list[str]:
        """What came (+) and what went (-) since `before`; empty only if both are equal."""
        if self == before:
            return []
        now, then = Counter(self.lines), Counter(before.lines)
        changed = [f"+ {line}" for line in now - then] + [f"- {line}" for line in then - now]
        shown = [line for line in changed if line.strip("+- ")]
        return shown or ["the same lines in another order"]

    def without_casts(self) -> "Schema":
        """Without casts and parentheses, which a restore may write otherwise in expressions."""
        return Schema(tuple(_CAST.sub("", line) for line in self.lines))


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view: its file, and the type of each column by the column's number."""

    schema: str
    name: str
    file: int
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Invalid:
    """An index that is not valid, or a constraint that is not validated."""

    kind: str
    schema: str
    name: str
    table: str

    @property
    def quoted_name(self) -> str:
        """The bare name, quoted for SQL."""
        return '"' + self.name.replace('"', '""') + '"'

    def __str__(self) -> str:
        return '"' + self.schema.replace('"', '""') + '".' + self.quoted_name


class LockSamples(Protocol):
    """Which locks were seen so far."""

    def longest(self) -> list[tuple[str, str, float]]:
        """Table, mode and the longest time that it was held at a stretch, in seconds."""


@dataclass(frozen=True, slots=True)
class TableWork:
    """What was done to a table: its file changes when it is rewritten, and `scans` count reads."""

    file: int
    size_bytes: int
    scans: int


@dataclass(frozen=True, slots=True)
class IndexState:
    """An index at a moment."""

    oid: int
    table: str
    is_valid: bool
    is_being_built: bool


@dataclass(frozen=True, slots=True)
class Backend:
    """A server process that works for a session."""

    pid: int
    state: str
    seconds: int
    query: str

    def __str__(self) -> str:
        query = statement_text(self.query)
        return f"server process {self.pid} ({self.state}, {self.seconds} s): {query}"
