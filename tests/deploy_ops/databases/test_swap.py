"""The swap of two databases: nobody's write is lost, and no kill leaves a closed door."""

import threading
import time
from datetime import timedelta

import psycopg
import pytest

from deploy_ops.backup.methods import method_for
from deploy_ops.databases import database_for
from deploy_ops.databases.base import Answer
from deploy_ops.databases.postgresql import own_sessions, sessions, swap
from deploy_ops.errors import RestoreFailed, SwapUnfinished
from tests.deploy_ops.backup.portraits import restore, save

postgresql = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
postgresql_15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
KEPT = "before_restore_20260131T020000Z"


@pytest.fixture
def method(django_alias):
    return method_for(django_alias)


@pytest.fixture
def live(django_alias):
    return database_for(django_alias)


@pytest.fixture
def beside(method, live, database, tmp_path):
    """A live database with two trips, and beside it one with the first trip alone."""
    database.execute("CREATE TABLE trip (id serial PRIMARY KEY, purpose text)")
    database.execute("INSERT INTO trip (purpose) VALUES ('saved')")
    manifest = save(method, tmp_path / "dump")
    database.execute("INSERT INTO trip (purpose) VALUES ('later')")
    return restore(method, tmp_path / "dump", manifest)


def purposes(database, name: str | None = None) -> list[str]:
    rows = database.cluster.execute(
        "SELECT purpose FROM trip ORDER BY id", dbname=name or database.name
    )
    return [purpose for (purpose,) in rows]


def is_open(database, name: str) -> bool:
    query = "SELECT datallowconn FROM pg_database WHERE datname = %s"
    return database.cluster.execute(query, [name]) == [(True,)]


@postgresql
def test_the_live_name_is_the_restored_database_and_the_old_one_is_kept(live, database, beside):
    previous = live.name_beside(KEPT)

    live.swap(beside, previous, before=lambda: None)

    assert (purposes(database), purposes(database, previous)) == (["saved"], ["saved", "later"])
    assert is_open(database, database.name) and is_open(database, previous)
    assert not database.exists(beside)


@postgresql
def test_each_acknowledged_write_is_in_one_of_the_two(live, database, beside):
    stop, acknowledged, refused = threading.Event(), [], []

    def write(worker: int) -> None:
        number = 0
        while not stop.is_set():
            try:
                with database.connect() as connection:
                    while not stop.is_set():
                        number += 1
                        purpose = f"{worker}/{number}"
                        insert = "INSERT INTO trip (purpose) VALUES (%s)"
                        connection.execute(insert, [purpose])
                        acknowledged.append(purpose)
            except psycopg.OperationalError as error:
                refused.append(error)

    writers = [threading.Thread(target=write, args=[worker]) for worker in range(4)]
    for writer in writers:
        writer.start()
    time.sleep(0.3)
    previous = live.name_beside(KEPT)
    live.swap(beside, previous, before=lambda: None)
    time.sleep(0.3)
    stop.set()
    for writer in writers:
        writer.join()

    old, new = purposes(database, previous), purposes(database)
    assert set(acknowledged) <= {*old, *new}
    assert len(old) > 10 and len(new) > 10 and refused


@postgresql
def test_before_runs_when_nobody_is_left_and_its_refusal_reopens(live, database, beside):
    seen = []

    def refuse() -> None:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND pid <> ALL(%s)"
        own = [live._witness.info.backend_pid]
        seen.append(database.cluster.execute(query, [database.name, own]))
        with pytest.raises(psycopg.OperationalError, match="not currently accepting"):
            database.connect()
        raise RestoreFailed("others wrote")

    with database.connect() as other, pytest.raises(RestoreFailed, match="others wrote"):
        other.execute("SELECT 1")
        live.swap(beside, live.name_beside(KEPT), before=refuse)

    assert seen == [[(0,)]]
    assert purposes(database) == ["saved", "later"] and is_open(database, database.name)
    assert database.exists(beside)


@postgresql
def test_writes_of_terminated_sessions_are_seen_in_before(live, database, beside):
    answers = []
    with database.connect() as other:
        position = live.write_position()
        other.execute("INSERT INTO trip (purpose) VALUES ('a second ago')")
        previous = live.name_beside(KEPT)
        live.swap(
            beside,
            previous,
            before=lambda: answers.append(live.writes_since(position, own_rows={})),
        )

    assert answers[0].answer is Answer.WROTE and answers[0].rows == {"public.trip": 1}


@postgresql
def test_nobody_is_proven_in_before(live, database, beside):
    answers = []
    with database.connect() as other:
        other.execute("SELECT * FROM trip")
        position = live.write_position()
        previous = live.name_beside(KEPT)
        live.swap(
            beside,
            previous,
            before=lambda: answers.append(live.writes_since(position, own_rows={})),
        )

    assert answers[0].answer is Answer.NOBODY


@postgresql_15
def test_a_session_that_may_not_be_ended_stops_it_and_is_named(live, database, beside, monkeypatch):
    monkeypatch.setattr(swap, "DOOR", timedelta(seconds=0.5))
    with database.cluster.connect(database.name) as superuser:
        superuser.execute("SET application_name = 'nightly report'")
        with pytest.raises(RestoreFailed, match="nightly report of role postgres"):
            live.swap(beside, live.name_beside(KEPT), before=lambda: None)

    assert purposes(database) == ["saved", "later"] and is_open(database, database.name)


@postgresql_15
def test_superusers_are_waited_for_while_the_database_is_open_and_then_named(
    live, database, monkeypatch
):
    monkeypatch.setattr(sessions, "PATIENCE", timedelta(seconds=0.2))
    with database.cluster.connect(database.name) as superuser:
        superuser.execute("SET application_name = 'rdsadmin'")
        with pytest.raises(RestoreFailed, match="rdsadmin of role postgres .*Ask who") as failed:
            live.wait_for_swap()
        assert "GRANT" not in str(failed.value) and is_open(database, database.name)

        monkeypatch.undo()
        threading.Timer(0.3, superuser.close).start()
        live.wait_for_swap()
        assert superuser.closed


@postgresql_15
def test_a_prepared_transaction_stops_it(live, database, beside):
    with database.connect() as connection:
        connection.execute(
            "BEGIN; INSERT INTO trip (purpose) VALUES ('x'); PREPARE TRANSACTION 'x'"
        )

    with pytest.raises(RestoreFailed, match="prepared transaction"):
        live.swap(beside, live.name_beside(KEPT), before=lambda: None)

    assert is_open(database, database.name)


@postgresql_15
def test_our_own_session_ended_from_outside_leaves_the_door_open(live, database, beside):
    end = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name LIKE 'deploy_ops/swap/%'"""

    with pytest.raises(RestoreFailed, match="The swap was cut off: "):
        previous = live.name_beside(KEPT)
        live.swap(beside, previous, before=lambda: database.cluster.execute(end))

    assert purposes(database) == ["saved", "later"] and is_open(database, database.name)


KILL = """
import os, signal
from deploy_ops.databases import database_for
from deploy_ops.databases.postgresql import closing, swap
original = {module}.{function}
def fatal(*args, **options):
    if "{moment}" == "after":
        original(*args, **options)
    os.kill(os.getpid(), signal.SIGKILL)
{module}.{function} = fatal
database_for("default").swap("{beside}", "{previous}", before=lambda: None)
"""
STEPS = {
    "closed": ("closing", "close", "after"),
    "closed_and_empty": ("swap", "rename", "before"),
    "renamed_and_closed": ("swap", "rename", "after"),
    "reopened": ("closing", "reopen", "after"),
}


@postgresql
@pytest.mark.parametrize("step", STEPS)
def test_kill_9_at_any_step_is_repaired(live, database, beside, project, step):
    module, function, moment = STEPS[step]
    previous = live.name_beside(KEPT)
    code = KILL.format(
        module=module, function=function, moment=moment, beside=beside, previous=previous
    )
    assert project.run("shell", "-c", code).code == -9

    report = live.repair_swap(beside, previous)

    swapped = step in ("renamed_and_closed", "reopened")
    assert report.startswith("The swap was complete" if swapped else "The swap had not taken")
    assert ("open again" in report) == (step != "reopened")
    assert purposes(database) == (["saved"] if swapped else ["saved", "later"])
    assert is_open(database, database.name)
    assert not swapped or is_open(database, previous)
    assert "open again" not in live.repair_swap(beside, previous)


@postgresql_15
def test_a_session_of_ours_that_may_not_be_signalled_is_waited_for(live, database, beside):
    """It belongs to the role that logged in, and the swap acts with one that this role assumed."""
    ending = database.cluster.connect(database.name, "postgres")
    own_sessions.note_connection(ending)
    closer = threading.Timer(0.3, ending.close)
    closer.start()

    live.swap(beside, live.name_beside(KEPT), before=lambda: None)

    closer.join()
    assert purposes(database) == ["saved"]


@postgresql_15
def test_repair_finishes_renames_that_somebody_began_by_hand(live, database, beside):
    previous = live.name_beside(KEPT)
    database.cluster.execute(f'ALTER DATABASE "{database.name}" RENAME TO "{previous}"')

    live.repair_swap(beside, previous)

    assert purposes(database) == ["saved"] and purposes(database, previous) == ["saved", "later"]


@postgresql_15
def test_repair_without_anything_to_repair_asks_for_a_person(live, database, beside):
    previous = live.name_beside(KEPT)
    database.cluster.execute(f'ALTER DATABASE "{database.name}" RENAME TO "{previous}"')
    database.cluster.execute(f'DROP DATABASE "{beside}"')

    with pytest.raises(SwapUnfinished, match="There is no database"):
        live.repair_swap(beside, previous)

    database.cluster.execute(f'ALTER DATABASE "{previous}" RENAME TO "{database.name}"')
