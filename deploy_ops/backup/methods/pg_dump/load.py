"""The restore beside: a new database from the dump, analysed, with the live one's properties.

Nobody knows the new database yet, so pg_restore may run in parallel and without one big
transaction; what goes wrong is answered by dropping it.
"""

import os
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from deploy_ops.backup.manifest import Manifest
from deploy_ops.backup.methods.pg_dump import trial
from deploy_ops.backup.methods.pg_dump.dump import as_role, safe_settings
from deploy_ops.backup.methods.pg_dump.lines import follow_tables
from deploy_ops.databases.base import Json
from deploy_ops.databases.postgresql import names, properties, subscriptions, tables
from deploy_ops.databases.postgresql.disk import free_bytes
from deploy_ops.databases.postgresql.programs import find_program
from deploy_ops.databases.postgresql.server import Connection, Server, system_identifier
from deploy_ops.databases.postgresql.surroundings import is_superuser
from deploy_ops.errors import DeployOpsError, RestoreFailed
from deploy_ops.process import run
from deploy_ops.progress import Progress
from deploy_ops.redact import error_text

AS_ANOTHER = (
    "Restore with an administrator's account of the server: give it in "
    "DEPLOY_OPS_DIRECT_DATABASE_URL for this command."
)


def restore_beside(  # pylint: disable=too-many-arguments  # the contract of Engine
    server: Server, directory: Path, manifest: Manifest, *, name: str, jobs: int, progress: Progress
) -> None:
    """Create database `name` from the dump; raises RestoreFailed, and then it is gone again."""
    with server.maintenance(application_name=f"deploy_ops/restore/{os.getpid()}") as connection:
        tables.without_timeouts(connection)
        if free_bytes(connection) is None:
            progress.say("Free disk space on the server is unknown.")
        wanted = wanted_properties(connection, server, manifest)
        _create(connection, name, wanted)
        sizes = manifest.extra["table_bytes"]
        try:
            argv = [*_pg_restore(connection, server, manifest), f"--jobs={jobs}", str(directory)]
            _try_in(server, name, manifest, progress)
            if "--no-owner" in argv:
                progress.say(_what_is_dropped(manifest))
            settings = settings_of(connection, manifest)
            for item, refused in _prepare(connection, server, manifest, name, settings):
                progress.say(refused)
                if not is_same_cluster(connection, manifest):
                    wanted["settings"].remove(item)
            with follow_tables("Restore", sizes, jobs, progress) as on_line:
                _run(server, name, argv, on_line)
            detach_subscriptions(server, name, manifest, progress)
            _carry_over(connection, name, settings, wanted)
            analyse(server, name)
            check_large_objects(server, name, manifest)
        except BaseException as error:
            _drop(connection, server, name, error)
            if isinstance(error, (DeployOpsError, psycopg.Error)):
                raise _failed(server, name, error) from error
            raise


def _try_in(server: Server, name: str, manifest: Manifest, progress: Progress) -> None:
    """Ask the server for what it may refuse now, and not after hours; raises RestoreFailed."""
    with server.connect(name, application_name="deploy_ops/trial") as inside:
        for other in trial.other_versions(inside, manifest):
            progress.say(other)
        if refused := [*trial.refused(inside, manifest)]:
            raise RestoreFailed("\n".join(f"- {each}" for each in refused) + f"\n{AS_ANOTHER}")


def detach_subscriptions(server: Server, name: str, manifest: Manifest, progress: Progress) -> None:
    """Leave subscriptions disabled and without a slot, and tell which there are and which not."""
    with server.connect(name, application_name="deploy_ops/restore") as inside:
        detached = subscriptions.detach(inside)
    for each in detached:
        progress.say(
            f"Subscription {each} is disabled and has no slot, since the saved database may be "
            "using it. See ALTER SUBSCRIPTION before it is enabled."
        )
    for each in manifest.extra.get("subscriptions", ()):
        if each not in detached:
            progress.say(f"Subscription {each} of the saved database is not restored.")


def settings_of(connection: Connection, manifest: Manifest) -> list[Json]:
    """Settings that the saved database had, as far as they can apply here."""
    settings: list[Json] = manifest.extra["properties"]["settings"]
    if not is_same_cluster(connection, manifest):
        return [item for item in settings if not item["role"]]
    roles = {role for (role,) in connection.execute("SELECT rolname FROM pg_roles").fetchall()}
    return [item for item in settings if not item["role"] or item["role"] in roles]


def _prepare(
    connection: Connection, server: Server, manifest: Manifest, name: str, settings: list[Json]
) -> list[tuple[Json, str]]:
    """Make the empty database what the saved one was before its contents.

    Settings come first, as pg_restore --create does: materialized views, indexes and defaults are
    computed with them. One that this role may not set is returned with the reason; where the live
    database is the measure, it has been refused before.
    """
    if not manifest.extra["has_public"]:
        with server.connect(name, application_name="deploy_ops/restore") as inside:
            inside.execute("DROP SCHEMA public")
    report = []
    for item in settings:
        [statement] = properties.setting_statements(name, [item])
        try:
            connection.execute(statement)
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject) as error:
            text = f"Loading without {statement.as_string(connection)}: {error}".rstrip()
            report.append((item, text))
    return report


def is_same_cluster(connection: Connection, manifest: Manifest) -> bool:
    """Was the backup taken in the cluster that it is restored to?"""
    return bool(manifest.database.system_identifier == system_identifier(connection))


def wanted_properties(connection: Connection, server: Server, manifest: Manifest) -> Json:
    """Properties for the new database: the live one's, else the manifest's.

    In another cluster they are the manifest's, but for owner, ACL and settings of roles: they name
    roles that may not exist there.
    """
    saved: Json = manifest.extra["properties"]
    if is_same_cluster(connection, manifest):
        return properties.properties_of(connection, server.dbname) or saved
    elsewhere = {"owner": None, "acl": None, "tablespace": "pg_default"}
    return {**saved, **elsewhere, "settings": settings_of(connection, manifest)}


def _what_is_dropped(manifest: Manifest) -> str:
    roles = ", ".join(manifest.extra["roles"]) or "none"
    return (
        "The backup comes from another server: owners and privileges in it are not restored "
        f"(roles there: {roles}); all objects belong to the restoring role."
    )


def _create(connection: Connection, name: str, wanted: Json) -> None:
    try:
        connection.execute(properties.create_statement(name, wanted))
    except psycopg.Error as error:
        raise RestoreFailed(
            f"Database {name} could not be created: {error_text(error)}"
            + "\nThe live database was not changed."
        ) from error


def _pg_restore(connection: Connection, server: Server, manifest: Manifest) -> list[str]:
    program = find_program("pg_restore", connection.info.server_version // 10000)
    argv = [program.path, "--exit-on-error", "--no-password", "--verbose", *as_role(server)]
    if not is_same_cluster(connection, manifest):
        argv += ["--no-owner", "--no-acl"]
    if not is_superuser(connection):
        argv.append("--no-subscriptions")
    return argv


def _run(server: Server, name: str, argv: list[str], on_line: Callable[[str], None]) -> None:
    # --dbname is taken for a connection string if it looks like one, so it is made one.
    with server.environment(name, settings=safe_settings(server, name)) as env:
        run([*argv, f"--dbname={make_conninfo(dbname=name)}"], env=env, on_line=on_line)


def _carry_over(connection: Connection, name: str, settings: list[Json], wanted: Json) -> None:
    with connection.transaction():
        for statement in (
            *properties.reset_statements(name, settings),
            *properties.carry_over_statements(name, wanted),
        ):
            connection.execute(statement)


def analyse(server: Server, name: str) -> None:
    """Collect the planner's statistics, which no dump before PostgreSQL 18 holds."""
    with server.connect(name, application_name="deploy_ops/analyse") as connection:
        tables.without_timeouts(connection)
        connection.execute("ANALYZE")


def check_large_objects(server: Server, name: str, manifest: Manifest) -> None:
    """Compare their number, which counts of tables do not see."""
    with server.connect(name, application_name="deploy_ops/count") as connection:
        found = tables.large_objects_of(connection)
    if found != (saved := manifest.extra["large_objects"]):
        raise RestoreFailed(f"{name} has {found} large objects, and the backup {saved}.")


def _drop(connection: Connection, server: Server, name: str, error: BaseException) -> None:
    """Drop what was half made; where the server does not answer, say what stays."""
    try:
        names.drop(connection, server, name)
    except psycopg.Error as second:
        raise RestoreFailed(
            f"The backup could not be restored into {name}:\n{error}".rstrip()
            + f"\nThe half-made database {name} could not be dropped: {second}".rstrip()
            + f"\n{server.dbname} was not changed. Once the server answers, drop it in psql:\n"
            f"    DROP DATABASE {sql.Identifier(name).as_string()};"
        ) from error


def _failed(server: Server, name: str, error: Exception) -> RestoreFailed:
    return RestoreFailed(
        f"The backup could not be restored into {name}:\n{error_text(error)}"
        + f"\nThe half-made database was dropped; {server.dbname} was not changed."
    )
