"""The direct way to a PostgreSQL database: as Django reaches it, or past the pooler.

Connections made here are our own, outside Django's: for the deploy lock, for positions and counts,
and for the maintenance database. The programs of PostgreSQL get the same parameters (libpq.py).
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
from django.db import connections
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from deploy_ops.conf import conf
from deploy_ops.databases.postgresql import libpq, own_sessions
from deploy_ops.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    PoolerRefused,
    VersionRefused,
)
from deploy_ops.redact import Secret, redact
from deploy_ops.supported import POSTGRESQL, too_old

Connection = psycopg.Connection[TupleRow]
CONNECT_TIMEOUT_SECONDS = "10"
POOLER_ROUNDS = 8  # a pooler that hands out sessions in turn comes around within these
_renamed: dict[str, str] = {}  # alias to the name its database has for this process alone
KEEPALIVES = {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3"}


@dataclass(frozen=True, slots=True)
class Server:
    """Where a database lives and how to log in; `role` is what Django assumes after login.

    `parameters` are all that libpq connects with but its `secrets`, such as the password.
    `public_name` is what the database is called while this process has it under another name
    (exclusive.py). `is_elsewhere`: another server, whose sessions do not count among those of ours
    in a database of the same name (own_sessions.py).
    """

    alias: str
    parameters: Mapping[str, str]
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    role: str | None = None
    public_name: str | None = None
    is_elsewhere: bool = False

    @property
    def dbname(self) -> str:
        """Name of the database of the alias in the server's catalog."""
        return self.parameters["dbname"]

    @property
    def live_name(self) -> str:
        """Name of the database of the alias as everybody knows it."""
        return self.public_name or self.dbname

    @property
    def host(self) -> str:
        """Host or socket directory, libpq's default if not given."""
        return self.parameters.get("host") or self.parameters["hostaddr"]

    @property
    def port(self) -> str:
        """Port, libpq's default if not given."""
        return self.parameters["port"]

    def connect(self, dbname: str | None = None, *, application_name: str) -> Connection:
        """Open an autocommit connection; raises DatabaseUnavailable without the password in it."""
        parameters: dict[str, Any] = {
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            **KEEPALIVES,
            **self.parameters,
            **{name: secret.reveal() for name, secret in self.secrets.items()},
            "dbname": self._in_catalog(dbname),
            "application_name": application_name[:63],
            "client_encoding": "UTF8",
        }
        try:
            connection = psycopg.connect(autocommit=True, **parameters)
        except psycopg.Error as error:
            raise self._unavailable(parameters["dbname"], error) from None
        if not self.is_elsewhere:
            own_sessions.note_connection(connection)
        if server_encoding(connection) == "SQL_ASCII":
            # Its texts are bytes of no known encoding. In LATIN1 each byte is a letter, so that
            # names are text here too, and go back as the bytes that they are.
            connection.execute("SET client_encoding = LATIN1")
        if self.role:
            self._assume_role(connection, parameters["dbname"], self.role)
        return connection

    def _in_catalog(self, dbname: str | None) -> str:
        return self.dbname if dbname in (None, self.live_name) else str(dbname)

    def _assume_role(self, connection: Connection, dbname: str, role: str) -> None:
        try:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        except psycopg.Error as error:
            connection.close()
            raise self._unavailable(dbname, error) from None

    def note_program(self, dbname: str, sessions: int) -> None:
        """Count the sessions of a program that has ended well."""
        if not self.is_elsewhere:
            own_sessions.note_program(dbname, sessions)

    def maintenance(self, *, application_name: str) -> Connection:
        """Connect to the maintenance database of the same server; raises VersionRefused too."""
        connection = self.connect(conf.maintenance_database, application_name=application_name)
        require_version(connection)
        return connection

    def environment(
        self, dbname: str | None = None, *, settings: Mapping[str, str] | None = None
    ) -> AbstractContextManager[dict[str, str]]:
        """Yield the variables for a program, with `settings` of the server for its sessions."""
        parameters = {**self.parameters, "dbname": self._in_catalog(dbname)}
        if settings:
            words = [f"-c {name}={_escaped(value)}" for name, value in settings.items()]
            parameters["options"] = " ".join([parameters["options"], *words]).strip()
        return libpq.environment(parameters, self.secrets)

    def _unavailable(self, dbname: str, error: psycopg.Error) -> DatabaseUnavailable:
        reason = redact(str(error)).strip()
        for secret in self.secrets.values():
            reason = reason.replace(secret.reveal(), str(secret))
        fact = (
            f"Database {dbname} on {self.host}:{self.port} cannot be reached as "
            f"{self.parameters['user']}:\n{reason}"
        )
        return DatabaseUnavailable(f"{fact}\nNothing was changed.", fact=fact)


def server_of(alias: str) -> Server:
    """Return the direct server of an alias: DEPLOY_OPS_DIRECT_DATABASE_URL, else Django's settings.

    Raises ConfigurationError if either does not name a database.
    """
    server = _configured_server(alias)
    if alias not in _renamed:
        return server
    parameters = {**server.parameters, "dbname": _renamed[alias]}
    return replace(server, parameters=parameters, public_name=server.dbname)


@contextmanager
def renamed(alias: str, dbname: str) -> Iterator[None]:
    """Reach the database of the alias under another name for the block, with Django too.

    In the end Django's connection is closed and goes where it went before. A pool of Django's
    would go on with the old name, so it is closed, and there is none meanwhile.
    """
    wrapper = connections[alias]
    wrapper.close()
    wrapper.close_pool()  # type: ignore[attr-defined]
    before = wrapper.settings_dict
    options = {n: value for n, value in before["OPTIONS"].items() if n not in ("dbname", "pool")}
    wrapper.settings_dict = {**before, "NAME": dbname, "OPTIONS": options}
    _renamed[alias] = dbname
    try:
        yield
    finally:
        del _renamed[alias]
        wrapper.close()
        wrapper.settings_dict = before


def _configured_server(alias: str) -> Server:
    if (url := _direct_url(alias)) is None:
        return application_server_of(alias)
    given = _parsed(url, "DEPLOY_OPS_DIRECT_DATABASE_URL")
    if not given.get("dbname") and not given.get("service"):
        raise ConfigurationError(
            "DEPLOY_OPS_DIRECT_DATABASE_URL names no database, so which one to save or migrate is "
            "not "
            'certain. Nothing was changed. Add its "/name".'
        )
    return _server(alias, given)


def server_at(alias: str, url: Secret, setting: str) -> Server:
    """Return the server of an alias as a URL has it that stands in another setting."""
    return _server(alias, _parsed(url, setting))


def _parsed(url: Secret, setting: str) -> dict[str, Any]:
    try:
        return dict(conninfo_to_dict(url.reveal()))
    except psycopg.ProgrammingError:
        raise ConfigurationError(
            f"{setting} is not a PostgreSQL URL. Nothing was changed. "
            "It looks like postgresql://user:password@host:5432/name"
        ) from None


def application_server_of(alias: str) -> Server:
    """Return the server of an alias as the application reaches it, through a pooler if it does."""
    # A connection of its own: the present one may have been pointed at the direct server.
    given = connections.create_connection(alias).get_connection_params()
    return _server(alias, given)


def has_direct_url(alias: str) -> bool:
    """Whether DEPLOY_OPS_DIRECT_DATABASE_URL says where this alias is."""
    return _direct_url(alias) is not None


@contextmanager
def direct_connection(alias: str) -> Iterator[None]:
    """Point Django's connection of the alias, in this thread, at the direct server for a while.

    In the end that connection is closed and goes where DATABASES says again.
    """
    wrapper = connections[alias]
    configured = wrapper.settings_dict
    if not has_direct_url(alias) or configured is not connections.settings[alias]:
        yield
        return
    server = server_of(alias)
    wrapper.close()
    # What only Django knows stays; where to connect comes from the URL alone.
    options = {n: v for n, v in configured["OPTIONS"].items() if n not in libpq.known_parameters()}
    options.pop("pool", None)
    options |= {name: value for name, value in server.parameters.items() if name != "dbname"}
    options |= {name: secret.reveal() for name, secret in server.secrets.items()}
    where = {"NAME": server.dbname, "HOST": "", "PORT": "", "USER": "", "PASSWORD": ""}
    wrapper.settings_dict = {**configured, **where, "OPTIONS": options}
    try:
        yield
    finally:
        wrapper.close()
        wrapper.settings_dict = configured


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
        '    DEPLOY_OPS_DIRECT_DATABASE_URL = "postgresql://user:password@host:5432/name"'
    )


def _keeps_its_session(first: Connection, second: Connection, before: int) -> bool:
    with second.transaction():
        return _backend_pid(second) != before and _backend_pid(first) == before


def require_version(connection: Connection) -> None:
    """Close the connection and raise VersionRefused if the server is older than POSTGRESQL.

    For commands: the polls and the heartbeat of an application that runs do without what is new.
    """
    major, minor = divmod(connection.info.server_version, 10000)
    if major < POSTGRESQL:
        connection.close()
        raise VersionRefused(
            f"{too_old('PostgreSQL', (POSTGRESQL,), (major, minor))} Upgrade the server first: "
            f"https://www.postgresql.org/docs/{POSTGRESQL}/upgrading.html"
        )


def server_encoding(connection: Connection) -> str:
    """Name of the encoding of the connection's database, such as UTF8."""
    return connection.info.parameter_status("server_encoding") or ""


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


def quoted(connection: Connection, name: str) -> str:
    """A name as it has to stand in SQL that people are told to run."""
    return sql.Identifier(name).as_string(connection)


def quoted_role(connection: Connection) -> str:
    """The role that a session has, quoted."""
    return quoted(connection, scalar(connection, "SELECT current_user"))


def _escaped(option: str) -> str:
    return option.replace("\\", "\\\\").replace(" ", "\\ ")


def _direct_url(alias: str) -> Secret | None:
    return conf.direct_database_url if alias == "default" else None


def _role(alias: str) -> str | None:
    role: str | None = connections.settings[alias]["OPTIONS"].get("assume_role")
    return role


def _server(alias: str, given: Mapping[str, Any]) -> Server:
    known = libpq.known_parameters()
    resolved = libpq.resolve(
        {name: str(value) for name, value in given.items() if name in known and value is not None}
    )
    names = libpq.secret_parameters()
    secrets = {name: Secret(resolved.pop(name)) for name in names if resolved.get(name)}
    return Server(alias, resolved, secrets, _role(alias))


def _backend_pid(connection: Connection) -> int:
    return int(scalar(connection, "SELECT pg_backend_pid()"))
