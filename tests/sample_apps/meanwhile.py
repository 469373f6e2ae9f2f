"""What happens in the middle of a migration, at a point that its sample app names.

MEANWHILE is a JSON object from point to a list of SQL statements: another session runs them, each
in a transaction of its own, and goes. MEANWHILE_URL is the database that it connects to, by default
the one that is migrated. Two words are faults instead: `kill` ends this process with SIGKILL, and
`terminate` sends it SIGTERM.
"""

import json
import os
import signal
import sqlite3
from contextlib import closing
from urllib.parse import urlsplit

import psycopg

FAULTS = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM}
LOCK_SECONDS = 5


def meanwhile(point: str) -> None:
    """Let others do what the test has planned for this point."""
    for act in json.loads(os.environ.get("MEANWHILE", "{}")).get(point, []):
        if act in FAULTS:
            os.kill(os.getpid(), FAULTS[act])
        else:
            _execute(act)


def _execute(statement: str) -> None:
    url = os.environ.get("MEANWHILE_URL", os.environ["DATABASE_URL"])
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(urlsplit(url).path[1:], LOCK_SECONDS)) as other, other:
            other.execute(statement)
        return
    with psycopg.connect(url, autocommit=True, application_name="another") as other:
        other.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
        other.execute(statement)
