"""Closing a database to everybody, so that whoever comes later can tell that we did.

A swap that is killed leaves the database closed (ALLOW_CONNECTIONS false), and its host may be
gone; so does a run that had it for itself (exclusive.py). So the transaction that closes it also
writes a mark behind its comment. Any host finds that
in the server's shared catalogs, which need no connection to the closed database. The two rows
carry the number of the same transaction for as long as nobody alters the database: one that an
administrator has closed since is not ours to open (docs/decisions/0014).
"""

import json
import os
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum

from psycopg import sql

from deploy_ops.databases.postgresql.properties import not_carried_over
from deploy_ops.databases.postgresql.server import Connection, quoted
from deploy_ops.files import read_object

HEAD = "\n-- closed by deploy_ops: "
MARKED = """
    SELECT datname, datallowconn, description, pg_database.xmin = pg_shdescription.xmin
    FROM pg_database JOIN pg_shdescription
        ON classoid = 'pg_database'::regclass AND objoid = pg_database.oid
    WHERE position(%s in description) > 0 ORDER BY datname
"""
COMMENT = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"


class Purpose(StrEnum):
    """What a database is closed for."""

    SWAP = "swap"
    EXCLUSIVE = "exclusive"


@dataclass(frozen=True, slots=True)
class Mark:
    """Why a database was closed: for a change of the `live` name, with the names of the other two.

    `session` is the server process that closed it.
    """

    purpose: str
    live: str
    beside: str
    previous: str
    session: str
    by: str
    at: str

    @classmethod
    def of(
        cls, connection: Connection, purpose: Purpose, live: str, beside: str, previous: str
    ) -> "Mark":
        """Sign it with the session and the process that close it."""
        session = str(connection.info.backend_pid)
        by = f"process {os.getpid()} on {socket.gethostname()}"
        at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        return cls(purpose, live, beside, previous, session, by, at)


@dataclass(frozen=True, slots=True)
class Marked:
    """A database with a mark.

    `is_untouched`: nobody has altered it since; so if it is closed, it is closed by us.
    """

    name: str
    mark: Mark
    is_open: bool
    is_untouched: bool


def close(connection: Connection, name: str, mark: Mark) -> None:
    """Let nobody connect any more, superusers included; those who are connected stay."""
    with connection.transaction():
        write_mark(connection, name, mark)
        _allow(connection, name, False)


def write_mark(connection: Connection, name: str, mark: Mark) -> None:
    """Mark a database in the transaction that alters it."""
    text = HEAD + json.dumps(asdict(mark))
    _comment(connection, name, _without_mark(_comment_of(connection, name)) + text)


def open_again(connection: Connection, name: str) -> None:
    """Let others connect, and give the database its comment back."""
    with connection.transaction():
        _comment(connection, name, _without_mark(_comment_of(connection, name)))
        _allow(connection, name, True)


def marked_databases(connection: Connection, live: str, purpose: Purpose) -> list[Marked]:
    """Databases that were closed for that, whichever name they have now."""
    rows = connection.execute(MARKED, [HEAD]).fetchall()
    found = [
        Marked(name, mark, is_open, is_untouched)
        for name, is_open, comment, is_untouched in rows
        if (mark := _read_mark(comment))
    ]
    return [each for each in found if (each.mark.live, each.mark.purpose) == (live, purpose)]


def reopen(
    connection: Connection, live: str, purpose: Purpose, *, is_ours: bool = False
) -> list[str]:
    """Open what was closed for that; return the names of what was closed.

    What somebody has altered since may be closed on purpose, and stays so unless it `is_ours`.
    """
    found = marked_databases(connection, live, purpose)
    lawful = [each for each in found if each.is_open or each.is_untouched or is_ours]
    for each in lawful:
        open_again(connection, each.name)
    return [each.name for each in lawful if not each.is_open]


def left_closed(connection: Connection, live: str, purpose: Purpose) -> str:
    """What `reopen` left closed, each as a sentence with the statement that opens it."""
    left = [each for each in marked_databases(connection, live, purpose) if not each.is_open]
    return "".join(
        f" {each.name} is closed, and somebody has altered it since deploy_ops closed it, so it "
        "was not opened. If nobody wants it closed:\n    ALTER DATABASE "
        f"{quoted(connection, each.name)} ALLOW_CONNECTIONS true;"
        for each in left
    )


def closed_by(connection: Connection, live: str) -> list[str]:
    """Who has closed databases for a change of the live name, and has not opened them again."""
    marks = {
        each.mark for purpose in Purpose for each in marked_databases(connection, live, purpose)
    }
    return sorted(f"{mark.by} ({mark.at})" for mark in marks)


def _read_mark(comment: str) -> Mark | None:
    fields = read_object(comment.rpartition(HEAD)[2].encode())
    try:
        mark = Mark(**fields or {})
    except TypeError:
        return None
    return mark if all(isinstance(value, str) for value in asdict(mark).values()) else None


def _without_mark(comment: str) -> str:
    return comment.rpartition(HEAD)[0] if HEAD in comment else comment


def _comment_of(connection: Connection, name: str) -> str:
    try:
        row = connection.execute(COMMENT, [name]).fetchone()
    except UnicodeDecodeError as error:
        raise not_carried_over(connection, name) from error
    return str(row[0] or "") if row else ""


def _comment(connection: Connection, name: str, comment: str) -> None:
    statement = sql.SQL("COMMENT ON DATABASE {} IS {}")
    connection.execute(statement.format(sql.Identifier(name), sql.Literal(comment or None)))


def _allow(connection: Connection, name: str, is_open: bool) -> None:
    statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    connection.execute(statement.format(sql.Identifier(name), sql.Literal(is_open)))
