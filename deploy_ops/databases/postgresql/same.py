"""Proof that all of us reach one database: our connections, the programs, and Django itself.

An address proves nothing. Two servers can have databases of one name, and what stands in between
(a proxy, a service file, a variable) may choose differently for each of us. The system identifier
of the cluster and the oid of the database name one database, so these are compared.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from django.db import Error, connections

from deploy_ops.databases.postgresql.programs import find_program
from deploy_ops.databases.postgresql.server import (
    Connection,
    Server,
    application_server_of,
    has_direct_url,
    system_identifier,
)
from deploy_ops.errors import DatabaseUnavailable, ProgramError
from deploy_ops.process import run
from deploy_ops.redact import redact

IDENTITY = """
    SELECT system_identifier::text || ' ' || (
        SELECT oid::text FROM pg_database WHERE datname = current_database())
        || ' ' || current_database() FROM pg_control_system()
"""


@dataclass(frozen=True, slots=True)
class WhichDatabase:
    """Which database of which cluster; there are no two with the same first two values."""

    system_identifier: str
    oid: str
    name: str

    @classmethod
    def parse(cls, text: str) -> "WhichDatabase":
        """Read one row of IDENTITY."""
        return cls(*text.strip().split(" ", 2))

    def __str__(self) -> str:
        return f"database {self.name} (oid {self.oid}) of cluster {self.system_identifier}"


def which_database(connection: Connection) -> WhichDatabase:
    """Ask a connection of ours."""
    row = connection.execute(IDENTITY).fetchone()
    assert row is not None
    return WhichDatabase.parse(row[0])


def differing_programs(server: Server, connection: Connection) -> Iterator[str]:
    """Compare what psql reaches, given what every program is given, with a connection of ours."""
    ours, dbname = which_database(connection), connection.info.dbname
    try:
        psql = find_program("psql", connection.info.server_version // 10000)
        argv = [psql.path, "--no-psqlrc", "--no-password", "--tuples-only", "--no-align"]
        with server.environment(dbname) as env:
            printed = run([*argv, "--command", IDENTITY], env=env).stdout
        server.note_program(dbname, 1)
    except ProgramError as error:
        yield f"psql does not reach {ours}, as this process does, with the same settings: {error}"
        return
    if (theirs := WhichDatabase.parse(printed)) != ours:
        yield (
            f"psql reaches {theirs}, and this process {ours}, both through {server.host}:"
            f"{server.port}. A dump or a restore would be of another database than the one that "
            "was meant. Give the address of the one server in DEPLOY_OPS_DIRECT_DATABASE_URL."
        )


def differing_django(alias: str, server: Server, connection: Connection) -> Iterator[str]:
    """Compare what Django reaches by DATABASES with a connection of ours to the live database."""
    ours = which_database(connection)
    try:
        theirs = _as_django(alias)
    except Error as error:
        yield from _unreached(alias, server, ours.system_identifier, error)
        return
    if theirs != ours:
        yield _not_meant(alias, server, str(theirs), str(ours))


def differing_cluster(alias: str, server: Server, connection: Connection) -> Iterator[str]:
    """Compare only the clusters, for a live database that is not there."""
    ours = system_identifier(connection)
    yield from _unreached(alias, server, ours, f"there is no database {server.dbname}")


def _as_django(alias: str) -> WhichDatabase:
    wrapper = connections.create_connection(alias)
    given = wrapper.settings_dict
    alone = {name: value for name, value in given["OPTIONS"].items() if name != "pool"}
    wrapper.settings_dict = {**given, "OPTIONS": alone}  # a pool would go on trying by itself
    try:
        with wrapper.cursor() as cursor:
            cursor.execute(IDENTITY)
            return WhichDatabase.parse(cursor.fetchone()[0])
    finally:
        wrapper.close()


def _unreached(alias: str, server: Server, ours: str, reason: object) -> Iterator[str]:
    """Without a direct address there is only one; with one, at least the clusters are compared."""
    if not has_direct_url(alias):
        return
    application = application_server_of(alias)
    try:
        with application.maintenance(application_name="deploy_ops/same") as connection:
            theirs = system_identifier(connection)
    except (DatabaseUnavailable, psycopg.Error):
        yield (
            f"DEPLOY_OPS_DIRECT_DATABASE_URL leads to cluster {ours} at "
            f"{server.host}:{server.port}. Whether Django's database '{alias}' at "
            f"{application.host}:{application.port} is the same is not known, since it does not "
            "answer. If it is, give this command the direct address in DATABASES too. What was "
            f"answered: {redact(str(reason)).strip()}"
        )
        return
    if theirs != ours:
        yield _not_meant(alias, server, f"cluster {theirs}", f"cluster {ours}")


def _not_meant(alias: str, server: Server, theirs: str, ours: str) -> str:
    application = application_server_of(alias)
    return (
        f"Django's database '{alias}' at {application.host}:{application.port} is {theirs}, and "
        f"deploy_ops reaches {ours} at {server.host}:{server.port}. What was meant is not certain. "
        "Make DATABASES and DEPLOY_OPS_DIRECT_DATABASE_URL name the same database."
    )
