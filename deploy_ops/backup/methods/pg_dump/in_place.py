"""The restore in place: for roles that may not create databases, on explicit demand only.

One transaction drops the schemas and loads the dump, so whatever fails leaves the database as
it was; but from the first DROP to the COMMIT everybody else waits.

pg_restore --single-transaction cannot include the drops, and --clean leaves what is newer than
the dump. So pg_restore writes a script, to its end, before psql
begins: psql takes the end of a cut-off script for success (7 #5).
"""

import os
import secrets
from pathlib import Path

from psycopg import sql

from deploy_ops.backup.manifest import Manifest
from deploy_ops.backup.methods.base import Unchanged
from deploy_ops.backup.methods.pg_dump import drops, guards, load
from deploy_ops.backup.methods.pg_dump.dump import SAFE, as_role, safe_settings
from deploy_ops.databases.postgresql.programs import find_program
from deploy_ops.databases.postgresql.same import which_database
from deploy_ops.databases.postgresql.server import Connection, Server
from deploy_ops.databases.postgresql.surroundings import is_superuser
from deploy_ops.backup.workspace import OPENED, open_workspace
from deploy_ops.errors import ProgramError, RestoreFailed
from deploy_ops.files import open_private
from deploy_ops.process import run
from deploy_ops.places import backup_directory
from deploy_ops.progress import Progress

# As initdb makes it; the script holds only what differs from that.
PUBLIC = """
    CREATE SCHEMA public AUTHORIZATION pg_database_owner;
    COMMENT ON SCHEMA public IS 'standard public schema';
    GRANT ALL ON SCHEMA public TO pg_database_owner;
    GRANT USAGE ON SCHEMA public TO PUBLIC;
"""
# Until the drops have their locks, others queue behind them.
HEAD = "SET client_min_messages = warning; SET LOCAL lock_timeout = '30s';"
EDGE_BYTES = 4096  # before and after all data there are only comments
# These are the script's own business, or decide about roles.
NOT_SET = frozenset({"role", "session_authorization", "client_encoding", *SAFE})


def _workspace_name() -> str:
    return f"{OPENED}{os.getpid()}-{secrets.token_hex(4)}"


def restore_in_place(
    server: Server,
    directory: Path,
    manifest: Manifest,
    *,
    unless_changed: Unchanged | None,
    progress: Progress,
) -> None:
    """Replace the contents of the live database in one transaction; raises RestoreFailed.

    Compares where psql is and what is there before the first drop, and the rows before COMMIT.
    """
    with server.connect(application_name=f"deploy_ops/in_place/{os.getpid()}") as connection:
        major = connection.info.server_version // 10000
        before = _before(connection, manifest, unless_changed)
        encoding = connection.info.encoding
        may_subscribe = is_superuser(connection)
    # What a kill leaves is the whole database in plain text: swept, as other remains are.
    with open_workspace(backup_directory(), _workspace_name()) as opened:
        scratch = opened.path
        script = Path(scratch, "restore.sql")
        _write(Path(scratch, "before.sql"), before, server, encoding)
        progress.say("Writing the script of the restore; nothing is locked yet.")
        reader = find_program("pg_restore", major).path
        # Else the script would commit before and after its large objects.
        whole = ["--single-transaction", f"--file={script}"]
        whole += [] if may_subscribe else ["--no-subscriptions"]
        run([reader, *whole, *as_role(server), str(directory)])
        _leave_the_transaction_open(script)
        _write(Path(scratch, "after.sql"), guards.contents_guard(manifest), server, encoding)
        progress.say(f"Replacing the contents of {server.dbname}; others wait until it is done.")
        _psql(server, find_program("psql", major).path, Path(scratch))
    load.detach_subscriptions(server, server.dbname, manifest, progress)
    load.analyse(server, server.dbname)


def _leave_the_transaction_open(script: Path) -> None:
    """Blank the first BEGIN and the last COMMIT of pg_restore's script: psql has its own."""
    with script.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for offset, word, find in (
            (0, b"\nBEGIN;\n", bytes.find),
            (max(0, size - EDGE_BYTES), b"\nCOMMIT;\n", bytes.rfind),
        ):
            file.seek(offset)
            place = find(file.read(EDGE_BYTES), word)
            if place < 0:
                raise RestoreFailed(
                    f"pg_restore's script has no {word.decode().strip()} where it is looked for, "
                    "so it cannot be made part of one transaction. Nothing was changed."
                )
            file.seek(offset + place)
            file.write(b"\n" + b" " * (len(word) - 2) + b"\n")


def _before(connection: Connection, manifest: Manifest, unless_changed: Unchanged | None) -> str:
    statements = [guards.place_guard(which_database(connection)), HEAD]
    if unless_changed is not None:
        statements.append(guards.change_guard(unless_changed))
    statements += [f"{statement};" for statement in drops.drop_statements(connection)]
    if manifest.extra["has_public"]:
        statements.append(PUBLIC)
    for item in load.settings_of(connection, manifest):
        name, _, value = item["setting"].partition("=")
        if item["role"] in (None, connection.info.user) and name not in NOT_SET:
            statements.append(guards.set_locally(name, value))
    return "\n".join([*statements, ""])


def _write(path: Path, text: str, server: Server, encoding: str) -> None:
    """Write a script in the encoding of our own session, and let it say so.

    It is one of two whose Python name PostgreSQL knows too. pg_restore's script leaves another.
    """
    head = f"SET client_encoding = '{encoding}';\n"
    head += f"SET ROLE {sql.Identifier(server.role).as_string(None)};\n" if server.role else ""
    with os.fdopen(open_private(path), "w", encoding=encoding) as file:
        file.write(head + text)


def _psql(server: Server, psql: str, scratch: Path) -> None:
    argv = [psql, "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"]
    argv += ["--no-password", "--output=/dev/null"]
    argv += [f"--file={scratch / name}" for name in ("before.sql", "restore.sql", "after.sql")]
    try:
        with server.environment(settings=safe_settings(server, server.dbname)) as env:
            run(argv, env=env)
    except ProgramError as error:
        raise RestoreFailed(
            f"The contents of {server.dbname} could not be replaced; everything was rolled back "
            f"and the database is as it was:\n{error}"
        ) from error
