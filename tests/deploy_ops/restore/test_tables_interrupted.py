"""`restore --table` beside others: a writer, a kill, a change between the question and the answer."""

import json
import sqlite3
import threading
import time

import psycopg
import pytest

from tests.deploy_ops.restore.test_tables import SAVED, consent, orders, shop  # noqa: F401

CALL = """
from django.core.management import call_command
call_command("restore", "latest", tables=["orders"], interactive=False, confirm={name!r})
"""
KILLED = {
    "before the transaction": """
from deploy_ops.restore.interrupted import RestoreMarker, REPLACING
write = RestoreMarker.write
def die(self, stage):
    write(self, stage)
    if stage == REPLACING:
        import os; os.kill(os.getpid(), 9)
RestoreMarker.write = die
""",
    "before its commit": """
import os
from deploy_ops.databases.sqlite import replacing as sqlite
sqlite.new_orphans = lambda *_: os.kill(os.getpid(), 9)
try:
    from deploy_ops.databases.postgresql.replacing.exchange import Exchange
    Exchange._require_done = lambda self: os.kill(os.getpid(), 9)
except ImportError:
    pass
""",
    "after it": """
import os
from deploy_ops.restore import tables
tables.RestoredTables = lambda *_: os.kill(os.getpid(), 9)
""",
}


def audit(project) -> list[dict]:
    lines = (project.ops_dir / "audit.jsonl").read_text().splitlines()
    return [event for line in lines if (event := json.loads(line))["kind"] == "restore"]


def test_a_kill_leaves_all_or_nothing_and_the_next_command_cleans_up(shop):  # noqa: F811
    harmed, databases = orders(shop), shop.database.databases()
    for moment, code in KILLED.items():
        killed = shop.run("shell", "-c", code + CALL.format(name=shop.database.name))
        assert killed.code != 0, moment
        assert len(shop.database.databases()) == len(databases) + 1

        repaired = shop.run("restore", check=0).stdout

        is_done = moment == "after it"
        assert orders(shop) == (SAVED if is_done else harmed), moment
        assert ("had been put back" in repaired) == is_done and "tables" in repaired, moment
        assert shop.database.databases() == databases
        assert audit(shop)[-1]["outcome"] == ("done" if is_done else "failed"), moment
        assert not list((shop.ops_dir / "restores").iterdir())


CUT_OFF = """
from deploy_ops.databases.postgresql.replacing.exchange import Exchange
def cut_off(self):
    self.live.execute("SELECT pg_terminate_backend(pg_backend_pid())")
Exchange._require_done = cut_off
"""


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
def test_a_lost_connection_changes_nothing(shop):  # noqa: F811
    harmed, databases = orders(shop), shop.database.databases()

    failed = shop.run("shell", "-c", CUT_OFF + CALL.format(name=shop.database.name))

    assert "connection to the server was lost" in failed.stderr
    assert "Nothing was changed" in failed.stderr
    assert orders(shop) == harmed and shop.database.databases() == databases


class Writer(threading.Thread):
    """Inserts orders one after the other, and notes each id once its commit was acknowledged."""

    def __init__(self, database) -> None:
        super().__init__()
        self.database, self.acknowledged, self.ends = database, [], threading.Event()

    def run(self) -> None:
        statement = "INSERT INTO orders VALUES (%s, 1, %s, 'late')"
        if self.database.vendor == "sqlite":
            statement = statement.replace("%s", "?")
        connection, number = self.database.connect(), 100
        while not self.ends.is_set():
            number += 1
            try:
                connection.execute(statement, (number, number))
            except (psycopg.Error, sqlite3.OperationalError):
                continue
            self.acknowledged.append(number)
            time.sleep(0.002)
        connection.close()


def test_no_acknowledged_row_is_lost_beside_a_writer(shop):  # noqa: F811
    writer = Writer(shop.database)
    writer.start()
    kept = []
    try:
        for _ in range(2):
            told = shop.json("restore", "latest", "--table=orders", *consent(shop), check=0)
            kept.append(told["tables"][0]["kept"])
    finally:
        writer.ends.set()
        writer.join()

    found = {
        id_
        for name in ["orders", *kept]
        for (id_,) in shop.database.query(f"SELECT id FROM {name}")
    }
    assert len(writer.acknowledged) > 50 and not {*writer.acknowledged} - found


def test_what_is_written_after_the_question_stops_it(shop):  # noqa: F811
    process = shop.start("restore", "latest", "--table", "orders", stdin=-1)
    deadline = time.monotonic() + 60
    while "To put these rows" not in shop.output_of(process):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    shop.database.execute("INSERT INTO orders VALUES (5, 1, 5, 'meanwhile')")
    harmed = orders(shop)
    line = next(l for l in shop.output_of(process).splitlines() if l.startswith("To put"))

    result = shop.finish(process, input=line.partition("type: ")[2] + "\n")

    assert result.code == 1 and "changed after you were shown" in result.stderr
    assert orders(shop) == harmed


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
def test_what_others_have_open_is_waited_for_in_short_tries(shop):  # noqa: F811
    with shop.database.connect() as other:
        other.execute("BEGIN")
        other.execute("INSERT INTO orders VALUES (6, 1, 6, 'open')")
        process = shop.start("restore", "latest", "--table", "orders", *consent(shop))
        deadline = time.monotonic() + 60
        while "Putting the rows back" not in shop.output_of(process):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        time.sleep(2.5)  # more than one try, between which others get in
        shop.database.execute("INSERT INTO orders VALUES (7, 1, 7, 'between')")
        assert process.poll() is None
        other.execute("COMMIT")

    assert shop.finish(process).code == 0

    assert orders(shop) == SAVED
    [kept] = shop.database.query("SELECT relname FROM pg_class WHERE relname LIKE 'orders_2%'")
    rows = shop.database.query(f'SELECT id FROM deploy_ops_kept."{kept[0]}" ORDER BY id')
    assert {(6,), (7,)} <= {*rows}
