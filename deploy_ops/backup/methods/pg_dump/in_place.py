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

from deploy_ops.backup.methods.pg_dump import load
from deploy_ops.backup.methods.pg_dump.dump import as_role
from deploy_ops.databases.postgresql.programs import find_program
from deploy_ops.databases.postgresql.server import Connection, Server
from deploy_ops.backup.workspace import OPENED, workspace
from deploy_ops.conf import conf
from deploy_ops.errors import ProgramError, RestoreFailed
from deploy_ops.files import open_private
from deploy_ops.process import run
from deploy_ops.progress import Progress

# Schemas of extensions go with their extension, which is dropped first.
SCHEMAS = """
    SELECT nspname FROM pg_namespace WHERE nspname <> 'information_schema' AND nspname !~ '^pg_'
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_namespace'::regclass
                    AND objid = pg_namespace.oid AND deptype = 'e') ORDER BY 1
"""
EXTENSIONS = "SELECT extname FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1"
# As initdb makes it; the script holds only what differs from that.
PUBLIC = """
    CREATE SCHEMA public AUTHORIZATION pg_database_owner;
    COMMENT ON SCHEMA public IS 'standard public schema';
    GRANT ALL ON SCHEMA public TO pg_database_owner;
    GRANT USAGE ON SCHEMA public TO PUBLIC;
"""
# Until the drops have their locks, others queue behind them.
HEAD = "SET client_min_messages = warning; SET LOCAL lock_timeout = '30s';"
LARGE_OBJECTS = "SELECT lo_unlink(oid) FROM pg_largeobject_metadata;"


def restore_in_place(server: Server, directory: Path, *, progress: Progress) -> None:
    """Replace the contents of the live database in one transaction; raises RestoreFailed."""
    with server.connect(application_name=f"deploy_ops/in_place/{os.getpid()}") as connection:
        major = connection.info.server_version // 10000
        drops = _drops(connection)
    # What a kill leaves is the whole database in plain text: swept, as other remains are.
    name = f"{OPENED}{os.getpid()}-{secrets.token_hex(4)}"
    with workspace(conf.backup_dir, name) as opened:
        scratch = opened.path
        script = Path(scratch, "restore.sql")
        _write(Path(scratch, "drop.sql"), drops, server)
        progress.say("Writing the script of the restore; nothing is locked yet.")
        reader = find_program("pg_restore", major).path
        run([reader, f"--file={script}", *as_role(server), str(directory)])
        progress.say(f"Replacing the contents of {server.dbname}; others wait until it is done.")
        _psql(server, find_program("psql", major).path, Path(scratch))
    load.analyse(server, server.dbname)


def _drops(connection: Connection) -> str:
    statements = [HEAD, LARGE_OBJECTS]
    for query, kind in ((EXTENSIONS, "EXTENSION"), (SCHEMAS, "SCHEMA")):
        for (name,) in connection.execute(query).fetchall():
            drop = sql.SQL("DROP {} IF EXISTS {} CASCADE;")
            composed = drop.format(sql.SQL(kind), sql.Identifier(name))
            statements.append(composed.as_string(connection))
    return "\n".join([*statements, PUBLIC, ""])


def _write(path: Path, text: str, server: Server) -> None:
    role = f"SET ROLE {sql.Identifier(server.role).as_string(None)};\n" if server.role else ""
    with os.fdopen(open_private(path), "w", encoding="utf-8") as file:
        file.write(role + text)


def _psql(server: Server, psql: str, scratch: Path) -> None:
    argv = [psql, "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"]
    argv += ["--no-password", "--output=/dev/null"]
    argv += [f"--file={scratch / name}" for name in ("drop.sql", "restore.sql")]
    try:
        with server.environment() as env:
            run(argv, env=env)
    except ProgramError as error:
        raise RestoreFailed(
            f"The contents of {server.dbname} could not be replaced; everything was rolled back "
            f"and the database is as it was:\n{error}"
        ) from error
