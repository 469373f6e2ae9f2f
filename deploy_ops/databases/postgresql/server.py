"""The direct way to a PostgreSQL database: as Django reaches it, or past the pooler.

Connections made here are our own, outside Django's: for the deploy lock, for marks and counts,
and for the maintenance database. The programs of PostgreSQL get the same parameters through
libpq's environment variables, and the password through a PGPASSFILE that only lives as long as
the program.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from django.db import connections
from psycopg import pq, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from deploy_ops.conf import conf
from deploy_ops.databases.postgresql import own_sessions
from deploy_ops.errors import ConfigurationError, DatabaseUnavailable, PoolerRefused
from deploy_ops.files import private_directory
from deploy_ops.lock_file import scratch_directory
from deploy_ops.redact import Secret, redact

Connection = psycopg.Connection[TupleRow]
CONNECT_TIMEOUT_SECONDS = "10"
POOLER_ROUNDS = 8  # a pooler that hands out sessions in turn comes around within these
KEEPALIVES = {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3"}


@dataclass(frozen=True, slots=True)
class Server:
    """Where a database lives and how to log in; `role` is what Django assumes after login."""

    parameters: Mapping[str, str]
    password: Secret
    role: str | None = None

    @property
    def dbname(self) -> str:
        """Name of the database of the alias."""
        return self.parameters["dbname"]

    @property
    def host(self) -> str:
        """Host or socket directory, `localhost` if libpq's default is used."""
        return self.parameters.get("host") or "localhost"

    @property
    def port(self) -> str:
        """Port, libpq's default if not given."""
        return self.parameters.get("port") or "5432"

    def connect(self, dbname: str | None = None, *, application_name: str) -> Connection:
        """Open an autocommit connection; raises DatabaseUnavailable without the password in it."""
        parameters: dict[str, Any] = {
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            **KEEPALIVES,
            **self.parameters,
            "dbname": dbname or self.dbname,
            "application_name": application_name[:63],
        }
        if self.password:
            parameters["password"] = self.password.reveal()
        try:
            connection = psycopg.connect(autocommit=True, **parameters)
        except psycopg.Error as error:
            raise self._unavailable(parameters["dbname"], error) from None
        own_sessions.note_connection(connection)
        if self.role:
            self._assume_role(connection, parameters["dbname"], self.role)
        return connection

    def _assume_role(self, connection: Connection, dbname: str, role: str) -> None:
        try:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        except psycopg.Error as error:
            connection.close()
            raise self._unavailable(dbname, error) from None

    def maintenance(self, *, application_name: str) -> Connection:
        """Connect to the maintenance database of the same server."""
        return self.connect(conf.maintenance_database, application_name=application_name)

    @contextmanager
    def environment(self, dbname: str | None = None) -> Iterator[dict[str, str]]:
        """Yield libpq's environment for a program; the password is in a file that goes again."""
        values = {**self.parameters, "dbname": dbname or self.dbname}
        env = {_variables()[name]: value for name, value in values.items() if name in _variables()}
        if not self.password:
            yield env
            return
        with scratch_directory(private_directory(conf.dir) / "passwords") as directory:
            env["PGPASSFILE"] = str(_write_passfile(directory, self.password))
            yield env

    def _unavailable(self, dbname: str, error: psycopg.Error) -> DatabaseUnavailable:
        reason = redact(str(error)).strip()
        if self.password:
            reason = reason.replace(self.password.reveal(), str(self.password))
        return DatabaseUnavailable(
            f"Database {dbname} on {self.host}:{self.port} cannot be reached as "
            f"{self.parameters.get('user', 'the default user')}:\n{reason}\nNothing was changed."
        )


def server_of(alias: str) -> Server:
    """Return the direct server of an alias: DEPLOY_OPS_DATABASE_URL, else Django's settings.

    Raises ConfigurationError if either does not name a database.
    """
    if alias == "default" and (url := conf.database_url):
        try:
            return _server(dict(conninfo_to_dict(url.reveal())), _role(alias))
        except psycopg.ProgrammingError:
            raise ConfigurationError(
                "DEPLOY_OPS_DATABASE_URL is not a PostgreSQL URL. Nothing was changed. "
                "It looks like postgresql://user:password@host:5432/name"
            ) from None
    return application_server_of(alias)


def application_server_of(alias: str) -> Server:
    """Return the server of an alias as the application reaches it, through a pooler if it does."""
    return _server(connections[alias].get_connection_params(), _role(alias))


def use_direct_connection(alias: str) -> None:
    """Point Django's own connection of the alias at the direct server, for this process."""
    if alias != "default" or not conf.database_url:
        return
    server, connection = server_of(alias), connections[alias]
    connection.close()
    options = connection.settings_dict["OPTIONS"]
    # What only Django knows stays; where to connect comes from the URL alone.
    kept = {name: value for name, value in options.items() if name not in _variables()}
    kept.pop("pool", None)
    where = {name: value for name, value in server.parameters.items() if name != "dbname"}
    connection.settings_dict.update(
        NAME=server.dbname, HOST="", PORT="", USER="", PASSWORD=server.password.reveal()
    )
    connection.settings_dict["OPTIONS"] = {**kept, **where}


def refuse_pooler(server: Server) -> None:
    """Raise PoolerRefused if two of our connections share a server session.

    Locks and SET live in a session; behind PgBouncer in transaction mode each statement may get
    another one. While `second` holds a session in a transaction, the first one's statements
    either stay on their own session (direct, or session mode) or, sooner or later, they move.
    """
    with server.connect(application_name="deploy_ops/pooler") as first:
        before = _backend_pid(first)
        if before == first.info.backend_pid:
            return  # the pid of the protocol's key is the session's own: nobody stands between
        with server.connect(application_name="deploy_ops/pooler") as second:
            if all(_keeps_its_session(first, second, before) for _ in range(POOLER_ROUNDS)):
                return
    raise PoolerRefused(
        f"{server.host}:{server.port} is a pooler in transaction mode. There the deploy lock and "
        "time-outs would fall on other clients' sessions. Nothing was changed. Give the address "
        "of PostgreSQL itself:\n"
        '    DEPLOY_OPS_DATABASE_URL = "postgresql://user:password@host:5432/name"'
    )


def _keeps_its_session(first: Connection, second: Connection, before: int) -> bool:
    with second.transaction():
        return _backend_pid(second) != before and _backend_pid(first) == before


def system_identifier(connection: Connection) -> str:
    """Return the identifier that initdb gave the cluster."""
    return str(scalar(connection, "SELECT system_identifier FROM pg_control_system()"))


def lock_key(*parts: str) -> int:
    """Hash names into the signed 64-bit key of an advisory lock."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def scalar(connection: Connection, query: str, params: Any = None) -> Any:
    """Return the first column of the first row, None without a row."""
    row = connection.execute(query, params).fetchone()
    return row[0] if row else None


def _role(alias: str) -> str | None:
    role: str | None = connections[alias].settings_dict["OPTIONS"].get("assume_role")
    return role


def _server(given: Mapping[str, Any], role: str | None) -> Server:
    known = {name: str(given[name]) for name in _variables() if given.get(name) not in (None, "")}
    if "dbname" not in known:
        raise ConfigurationError(
            "The connection settings name no database, so which one to save or migrate is not "
            'certain. Nothing was changed. Set NAME in DATABASES, or the "/name" of the URL.'
        )
    password = Secret(known.pop("password", ""))
    return Server(known, password, role)


@cache
def _variables() -> Mapping[str, str]:
    """libpq's connection parameters and the environment variable of each."""
    return {
        option.keyword.decode(): option.envvar.decode()
        for option in pq.Conninfo.get_defaults()
        if option.envvar
    }


def _write_passfile(directory: Path, password: Secret) -> Path:
    path = directory / "pgpass"
    escaped = password.reveal().replace("\\", "\\\\").replace(":", "\\:")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"*:*:*:*:{escaped}\n")
    return path


def _backend_pid(connection: Connection) -> int:
    return int(scalar(connection, "SELECT pg_backend_pid()"))
