"""What is said about a database, of whatever kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Json = dict[str, Any]
Counts = Mapping[str, int]


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


def database_key(engine: str, system_identifier: str, name: str) -> str:
    """Key a database by its cluster and name; for SQLite the name is the resolved path.

    Not by its oid: a restore puts another database under the name, and the runs on the one before
    are still to be resolved. Not by host and port, which have many names.
    """
    return ":".join(filter(None, (engine, system_identifier, name)))


class Answer(StrEnum):
    """Whether somebody wrote; UNKNOWN counts as WROTE."""

    NOBODY = "nobody"
    WROTE = "wrote"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Writes:
    """What others wrote since a mark: the answer, rows by table where known, and the evidence."""

    answer: Answer
    rows: Counts
    evidence: str
