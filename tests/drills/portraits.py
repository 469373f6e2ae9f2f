"""The whole of a database as text, to compare with afterwards: schema and rows."""

import re
import subprocess
from contextlib import closing

from tests.project.databases import Database

# A random word, and positions of sequences, which no rollback gives back.
NOT_COMPARED = re.compile(r"^\\(un)?restrict |^SELECT pg_catalog\.setval|sqlite_sequence")
# What recoveries keep on purpose lies beside.
KEPT = "deploy_ops_kept"


def portrait(database: Database) -> list[str]:
    """All lines of a dump, in one order; equal only if schema and rows are."""
    lines = _postgresql(database) if database.vendor == "postgresql" else _sqlite(database)
    return sorted(line for line in lines if line and not NOT_COMPARED.search(line))


def _postgresql(database: Database) -> list[str]:
    argv = [database.cluster.bindir / "pg_dump", "--no-sync", f"--exclude-schema={KEPT}"]
    argv.append("--exclude-table-data=deploy_ops_instance")  # who is alive changes by itself
    url = database.cluster.url(database.name, "postgres")
    done = subprocess.run([*argv, url], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def _sqlite(database: Database) -> list[str]:
    with closing(database.connect()) as connection:
        objects = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
        kept = [each for each in objects if not each[1].startswith(KEPT)]
        tables = [name for kind, name, _ in kept if kind == "table"]
        rows = [(name, *row) for name in tables for row in connection.execute(_all_of(name))]
    return [repr(each) for each in kept + rows]


def _all_of(table: str) -> str:
    quoted = table.replace('"', '""')
    return f'SELECT * FROM "{quoted}"'
