"""How every process of the application says that it is alive and which release it runs.

In two ways. Its sessions name the release in `application_name`. And a thread writes, once a
minute, when release, host and program were last seen (the model Instance): many processes hold no
session while they wait, and a cron job none between two runs.

Nobody waits for it. The thread has a session of its own, opened for a moment; what goes wrong is
logged once. A process that neither serves a request nor opens a connection is not seen, and needs
no table either.
"""

import atexit
import logging
import os
import socket
import sys
import threading
import time
from datetime import timedelta
from typing import Any

from django.core.signals import request_started
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from deploy_ops.models import Instance
from deploy_ops.phases.session_name import program_name, session_name
from deploy_ops.redact import error_text
from deploy_ops.version import code_version, given_version

INTERVAL = timedelta(seconds=60)
# How long a short command waits at its end for its one row, which most have long been written.
EXIT_SECONDS = 2.0
# Others of the same release, host and program have just written the row.
FRESH = "30 seconds"
FORGOTTEN_AFTER = "90 days"

_WRITABLE = """
    SELECT to_regclass('deploy_ops_instance') IS NOT NULL AND NOT pg_is_in_recovery()
        AND NOT current_setting('default_transaction_read_only')::bool
"""
# One that cannot be written at once is not waited for, and none waits for a standby.
_LIMITS = (
    "SET LOCAL lock_timeout = '1s'; SET LOCAL statement_timeout = '5s';"
    " SET LOCAL synchronous_commit = off"
)
_WRITE = f"""
    INSERT INTO deploy_ops_instance AS instance (release, host, program, pid, first_seen, seen_at)
    VALUES (%s, %s, %s, %s, now(), now())
    ON CONFLICT (release, host, program) DO UPDATE SET seen_at = now(), pid = excluded.pid
        WHERE instance.seen_at < now() - interval '{FRESH}'
"""
_FORGET = f"""
    DELETE FROM deploy_ops_instance WHERE ctid IN (
        SELECT ctid FROM deploy_ops_instance WHERE seen_at < now() - interval '{FORGOTTEN_AFTER}'
        FOR UPDATE SKIP LOCKED)
"""
# PostGIS too, and backends of others around them; any further one is named when it connects.
_ENGINES = ("postgresql", "postgis")
_log = logging.getLogger("deploy_ops.phases")


class Heartbeat:
    """The thread of this process that writes the rows, from the first `start` on."""

    def __init__(self) -> None:
        self._is_on = True
        self.forget()

    def forget(self) -> None:
        """Begin anew: in a forked child there is no thread, and nobody has seen it yet."""
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._asked: set[str | None] = set()
        self._due: dict[str, float] = {}  # when the next row of an alias is written, monotonic
        self._unwritten: set[str] = set()
        self._failed: set[str] = set()
        self._is_ending = False

    def turn_off(self) -> None:
        """Write nothing in this process: a command that deploys is not the application."""
        self._is_on = False

    def start(self, alias: str | None = None) -> None:
        """Write rows into an alias from now on; None where it is not known which one is used."""
        if alias in self._asked:
            return
        self._asked.add(alias)
        alias = alias or router.db_for_write(Instance)
        if self._is_on and not _is_test_run() and _may_have_rows(alias):
            with self._lock:
                if alias not in self._due:
                    self._due[alias] = 0.0
                    self._unwritten.add(alias)
                    self._launch()
            self._wake.set()

    def end(self) -> None:
        """At the end of the process: give a row that was not written yet a moment."""
        if self._thread is not None and self._unwritten:
            self._is_ending = True
            self._wake.set()
            self._thread.join(EXIT_SECONDS)

    def _launch(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="deploy_ops/heartbeat", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has no thread left to give
                self._asked.clear()
                self._due.clear()
            else:
                self._thread = thread

    def _run(self) -> None:
        while True:
            self._wake.clear()
            for alias, due in sorted(self._due.items()):
                if time.monotonic() >= due:
                    self._beat(alias)
            if self._is_ending:
                return
            self._wake.wait(INTERVAL.total_seconds())

    def _beat(self, alias: str) -> None:
        try:
            write_row(alias)
        except Exception as error:  # pylint: disable=broad-exception-caught  # tried again soon
            self._report(alias, error)
        # A little early, so that the wait above never just misses it.
        self._due[alias] = time.monotonic() + 0.9 * INTERVAL.total_seconds()
        self._unwritten.discard(alias)

    def _report(self, alias: str, error: Exception) -> None:
        """Say it once a process: contract would be decided without knowing of this one."""
        if alias not in self._failed:
            self._failed.add(alias)
            _log.warning(
                "This process cannot record in table deploy_ops_instance of database '%s' that it "
                "is alive, so the contract phase knows of it only while it is connected. It tries "
                "again every minute. %s",
                alias,
                error_text(error),
            )


heartbeat = Heartbeat()


def write_row(alias: str) -> None:
    """Note in the database of an alias that this process is alive; raises what went wrong.

    Nothing is written where the table is not there yet, and on a replica.
    """
    # Imported here: psycopg need not be installed where SQLite alone is used.
    from deploy_ops.databases.postgresql.server import application_server_of

    with application_server_of(alias).connect(application_name="deploy_ops/heartbeat") as session:
        session.prepare_threshold = None  # behind a pooler the next statement may go elsewhere
        row = session.execute(_WRITABLE).fetchone()
        if not (row and row[0]):
            return
        facts = [code_version()[:100], socket.gethostname()[:255], program_name()[:100]]
        with session.transaction():
            session.execute(_LIMITS)
            session.execute(_WRITE, [*facts, os.getpid()])
            session.execute(_FORGET)


def watch() -> None:
    """Name the sessions of this process and write its rows, as soon as it does anything."""
    connection_created.connect(_note_connection, dispatch_uid="deploy_ops.heartbeat")
    request_started.connect(_note_request, dispatch_uid="deploy_ops.heartbeat")
    os.register_at_fork(after_in_child=heartbeat.forget)
    atexit.register(heartbeat.end)
    if given_version():
        name_new_sessions()


def name_new_sessions() -> None:
    """Let all sessions name the release from their first moment on, which costs no statement.

    Only where APP_VERSION says what it is: asking the installed packages or git takes time at
    every start, so there the first connection asks.
    """
    for settings in connections.settings.values():
        options = settings["OPTIONS"]
        if settings["ENGINE"].endswith(_ENGINES) and not _may_be_named_elsewhere(options):
            given = options.get("application_name") or os.environ.get("PGAPPNAME", "")
            options["application_name"] = session_name(given, code_version())


def _may_be_named_elsewhere(options: dict[str, Any]) -> bool:
    is_service = "service" in options or "PGSERVICE" in os.environ
    return is_service or "application_name" in options.get("options", "")


def _note_connection(connection: BaseDatabaseWrapper, **_: Any) -> None:
    # Commands and C030 refuse psycopg2; an application that runs must not fail over a name.
    driver = connection.Database.__name__  # type: ignore[attr-defined]
    if connection.vendor == "postgresql" and driver == "psycopg":
        _name_session(connection)
        heartbeat.start(connection.alias)


def _note_request(**_: Any) -> None:
    heartbeat.start()


def _name_session(connection: BaseDatabaseWrapper) -> None:
    """Name a session that was opened without; those that follow are opened with the name."""
    session = connection.connection
    given = session.info.parameter_status("application_name") or ""
    name = session_name(given, code_version())
    if name == given:
        return
    # Past Django's cursor: it is none of the queries that the application makes and counts.
    session.execute("SELECT set_config('application_name', %s, false)", [name])
    if not connection.get_autocommit():
        session.commit()
    if connection.settings_dict is connections.settings.get(connection.alias):
        connection.settings_dict["OPTIONS"]["application_name"] = name


def _may_have_rows(alias: str) -> bool:
    is_postgresql = connections[alias].vendor == "postgresql"
    return is_postgresql and router.allow_migrate_model(alias, Instance)


def _is_test_run() -> bool:
    """Whether Django's test environment is set up, whose databases are dropped at its end."""
    return "outbox" in vars(sys.modules.get("django.core.mail", sys))
