"""Swaps killed at random moments, and repaired from another directory: what is said is there."""

import os
import random
import re
import signal
import sqlite3
import time
from contextlib import closing

import pytest

RUNS = 8
KEPT = re.compile(r"kept as (\S+?)\.(?:\s|$)")


def fill(project, megabytes):
    """Enough that copying takes a while."""
    project.run("migrate", check=0)
    if project.database.vendor == "sqlite":
        with closing(project.database.connect()) as connection:
            connection.execute("CREATE TABLE scan (content blob)")
            connection.executemany(
                "INSERT INTO scan VALUES (randomblob(?))", [(1024 * 1024,)] * megabytes
            )
    else:
        project.database.execute("CREATE TABLE scan (content text)")
        project.database.execute("INSERT INTO scan VALUES ('saved')")
    project.run("backup", check=0)
    project.database.execute("CREATE TABLE later (id integer)")


def is_whole(path):
    """A database, with the rows of the one or the other."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return connection.execute("SELECT count(*) FROM scan").fetchone() == (60,)


def wait_for(condition, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.0005)


@pytest.mark.parametrize("seed", range(RUNS))
@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_sqlite_killed_while_it_copies(sqlite_project, seed, mode):
    project, chance = sqlite_project, random.Random(f"{mode}{seed}")
    fill(project, 60)
    project.database.execute(f"PRAGMA journal_mode = {mode}")
    name = project.database.name
    restore = project.start("restore", "latest", "--noinput", "--confirm", name)
    markers = project.ops_dir / "restores"

    def is_swapping():
        return any("swapping" in path.read_text() for path in markers.glob("*.json"))

    wait_for(is_swapping, restore)
    time.sleep(chance.uniform(0, 0.3))
    os.killpg(restore.pid, signal.SIGKILL)
    project.finish(restore)

    repaired = project.json("restore", check=0)["repaired"]
    print(repaired)

    previous = KEPT.findall(repaired)
    assert all(is_whole(path) for path in [name, *previous]), repaired
    beside = [path for path in project.database.databases() if path != name]
    assert sorted(previous) == sorted(beside) or not repaired
    tables = project.database.schema()
    if "had not taken place" in repaired:
        assert "later" in tables
    if "had finished" in repaired:
        assert "later" not in tables and "later" in project.database.beside(previous[0]).schema()


HALF_A_COPY = """
import os, signal
from deploy_ops.databases.sqlite import copying
copy = copying.copy_database
def half(source, target, progress, label):
    if label == "Keep":
        target.write_bytes(b"SQLite format 3" if {begun} else b"")
        os.kill(os.getpid(), signal.SIGKILL)
    copy(source, target, progress, label)
copying.copy_database = half
from django.core.management import call_command
call_command("restore", "latest", "--noinput", "--confirm", "{name}")
"""


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_sqlite_killed_in_the_middle_of_the_copy_that_is_kept(sqlite_project, mode, begun):
    project = sqlite_project
    fill(project, 1)
    name = project.database.name
    project.database.execute(f"PRAGMA journal_mode = {mode}")
    code = HALF_A_COPY.format(begun=begun, name=name)
    assert project.run("shell", "-c", code).code == -9

    repaired = project.json("restore", check=0)["repaired"]

    [beside] = [path for path in project.database.databases() if path != name]
    assert "had not taken place" in repaired and f"kept as {beside}." in repaired
    assert "_restoring_" in beside and "later" in project.database.schema()


@pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
@pytest.mark.parametrize("seed", range(RUNS))
def test_postgresql_killed_in_the_swap_and_repaired_from_elsewhere(
    project, database, seed, tmp_path
):
    chance = random.Random(seed)
    fill(project, 1)
    database.execute(f"COMMENT ON DATABASE \"{database.name}\" IS 'Reisekosten'")
    restore = project.start("restore", "latest", "--noinput", "--confirm", database.name)
    markers = project.ops_dir / "restores"

    def is_swapping():
        return any("swapping" in path.read_text() for path in markers.glob("*.json"))

    wait_for(is_swapping, restore)
    time.sleep(chance.uniform(0, 0.06))
    os.killpg(restore.pid, signal.SIGKILL)
    project.finish(restore)
    elsewhere = {
        "DEPLOY_OPS_STATE_DIR": str(tmp_path / "x"),
        "DEPLOY_OPS_BACKUP_DIR": str(tmp_path / "y"),
    }

    report = project.json("restore", env=elsewhere, check=0)["repaired"]
    print(report)

    state = "SELECT datallowconn, shobj_description(oid, 'pg_database') FROM pg_database"
    rows = database.cluster.execute(f"{state} WHERE datname LIKE %s", [f"{database.name}%"])
    assert rows and set(rows) == {(True, "Reisekosten")}, (rows, report)
    assert "scan" in database.schema()
    if "had not taken place" in report:
        assert "later" in database.schema()
    if "was complete" in report:
        assert "later" not in database.schema()
    assert all(database.exists(name) for name in KEPT.findall(report))
    there = project.json("restore", check=0)["repaired"]
    assert all(database.exists(name) for name in KEPT.findall(there))
    assert project.json("restore", check=0)["status"] == "nothing_to_do"
