"""PgBouncer kept from the server while a database has no name: PAUSE, and RESUME in every repair.

A paused PgBouncer lets transactions end, gives the server its sessions back and lets clients wait,
on whichever host they are. It stays paused when whoever paused it is killed: `resume` is part of
what repairs a swap.
"""

import select
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row

from deploy_ops.advice import manage
from deploy_ops.conf import conf
from deploy_ops.databases.postgresql.server import application_server_of, has_direct_url
from deploy_ops.errors import ConfigurationError, RestoreFailed, SwapUnfinished
from deploy_ops.redact import redact

Console = psycopg.Connection[DictRow]
CONNECT_SECONDS = "5"


def is_configured(alias: str) -> bool:
    """Whether DEPLOY_OPS_PGBOUNCER_URL says where the console is; it is for alias `default`."""
    return alias == "default" and conf.pgbouncer_url is not None


@contextmanager
def paused(alias: str, within: timedelta, *, cuts_off: bool) -> Iterator[None]:
    """Pause the alias's database for the block, where there is a console.

    Transactions that do not end in time are left to be `cuts_off`, or RestoreFailed is raised and
    nothing is paused. Raises SwapUnfinished where it stays paused in the end.
    """
    if not is_configured(alias):
        yield
        return
    name = _name(alias)
    if not has_direct_url(alias):
        raise ConfigurationError(
            "DEPLOY_OPS_PGBOUNCER_URL is set and DEPLOY_OPS_DIRECT_DATABASE_URL is not: while "
            f"PgBouncer is paused, this command has to connect to PostgreSQL itself. {name} was "
            "not swapped."
        )
    try:
        console = _console()
    except psycopg.Error as error:
        raise RestoreFailed(
            f"PgBouncer's console does not answer: {redact(str(error)).strip()}\n{name} was not "
            "swapped. Start it, or see DEPLOY_OPS_PGBOUNCER_URL."
        ) from None
    try:
        with closing(console):
            if not (_pause(console, name, within) or cuts_off):
                raise RestoreFailed(
                    "Transactions through PgBouncer (in session mode: clients) did not end within "
                    f"{within.total_seconds():.0f} s. "
                    f"{name} was not swapped, and PgBouncer goes on. Let them end and restore "
                    "again, or cut them off by --end-requests."
                )
            yield
    finally:
        resume(alias)


def resume(alias: str) -> str:
    """Let clients go on if they are paused; say so, "" if there was nothing to do.

    Raises SwapUnfinished if the console does not do it.
    """
    if not is_configured(alias):
        return ""
    name = _name(alias)
    try:
        with closing(_console()) as console:
            rows = console.execute("SHOW DATABASES").fetchall()
            if not any(row["name"] == name and int(row["paused"]) for row in rows):
                return ""
            console.execute(f"RESUME {_quoted(name)}".encode())
    except psycopg.Error as error:
        raise SwapUnfinished(
            f"Clients of PgBouncer may still wait: {redact(str(error)).strip()}\n"
            "Once its console answers, this lets them go on:\n" + manage("restore", alias=alias)
        ) from None
    return f"PgBouncer had stayed paused for {name}, and goes on."


def _pause(console: Console, name: str, within: timedelta) -> bool:
    """Ask for it and wait for the answer, which comes when the last transaction has ended."""
    connection, deadline = console.pgconn, time.monotonic() + within.total_seconds()
    connection.send_query(f"PAUSE {_quoted(name)}".encode())
    while connection.is_busy():
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([connection.socket], [], [], left)[0]:
            return False
        connection.consume_input()
    result = connection.get_result()
    if result is None or result.status != pq.ExecStatus.COMMAND_OK:
        reason = result.error_message if result else connection.error_message
        raise RestoreFailed(
            f"PgBouncer was not paused: {redact(reason.decode(errors='replace')).strip()}\n"
            f"{name} was not swapped. DEPLOY_OPS_PGBOUNCER_URL needs a user of admin_users."
        )
    return True


def _console() -> Console:
    url = conf.pgbouncer_url
    assert url is not None
    try:
        given: dict[str, Any] = {**conninfo_to_dict(url.reveal()), "dbname": "pgbouncer"}
    except psycopg.ProgrammingError:
        raise ConfigurationError(
            "DEPLOY_OPS_PGBOUNCER_URL is not the URL of a PgBouncer console. Nothing was changed. "
            "It looks like postgresql://user:password@host:6432/pgbouncer"
        ) from None
    given = {"connect_timeout": CONNECT_SECONDS, **given}
    return psycopg.connect(autocommit=True, row_factory=dict_row, **given)


def _name(alias: str) -> str:
    """What PgBouncer calls the database: the name that the application connects to."""
    return application_server_of(alias).dbname


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
