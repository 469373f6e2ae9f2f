"""Others at the same time: a second run, twenty runs, writers, blockers, killed sessions."""

import itertools
import os
import signal
import threading
import time

import psycopg
import pytest

from tests.conftest import running_cluster, scratch_database
from tests.drills.conftest import TRIPS
from tests.project.runner import Project

MIGRATING = "SELECT pid FROM pg_stat_activity WHERE application_name ~ '^deploy_ops/[0-9]{8}T'"
SLEEPING = MIGRATING + " AND query LIKE '%%pg_sleep%%' AND state = 'active'"
LOCK_HOLDER = (
    "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'deploy_ops/safe_migrate/%%'"
)

on_postgresql = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
on_pg15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)


@pytest.mark.parametrize("database", ["sqlite", "pg15"], indirect=True)
def test_twenty_at_once_one_migrates_nineteen_find_nothing_to_do(deployed):
    project = deployed("good_expand")
    started = [project.start("safe_migrate", "--format", "json") for _ in range(20)]
    results = [project.finish(process) for process in started]
    assert [result.code for result in results] == [0] * 20, results
    statuses = sorted(result.json()["status"] for result in results)
    assert statuses == ["nothing_to_do"] * 19 + ["ok"]


@on_pg15
def test_a_second_run_is_told_who_holds_the_lock(deployed, wait_for):
    project = deployed("slow_migration")
    first = project.start("safe_migrate", env={"SLOW_MIGRATION_SECONDS": "6"})
    wait_for(project.database, SLEEPING)
    second = project.json("safe_migrate", "--wait", "0", check=1)
    assert second["status"] == "error"
    assert f"process {first.pid}" in second["message"]
    assert "when that one has finished" in second["message"]
    assert project.finish(first).code == 0


@on_postgresql
def test_a_terminated_backend_rolls_back(deployed, wait_for):
    project = deployed("slow_migration")
    run = project.start("safe_migrate", "--format", "json")
    [(pid,)] = wait_for(project.database, SLEEPING)
    project.database.cluster.execute("SELECT pg_terminate_backend(%s)", (pid,))
    result = project.finish(run)
    assert result.code == 3, result
    assert result.json()["recovery"]["rung"] == "rolled_back"
    assert "note" not in project.database.schema()["slow_migration_trip"]


@on_postgresql
def test_a_statement_timeout_of_the_role_is_shown_and_rolls_back(deployed):
    project = deployed("slow_migration")
    name = project.database.name
    project.database.cluster.execute(
        f"ALTER ROLE app IN DATABASE {name} SET statement_timeout = '1s'"
    )
    result = project.json("safe_migrate", check=3)
    assert result["recovery"]["rung"] == "rolled_back"
    assert [f["id"] for f in result["findings"]] == ["deploy_ops.V005"]
    assert "statement_timeout = 1s" in result["findings"][0]["msg"]


@on_pg15
def test_a_dead_lock_connection_stops_before_the_next_migration(deployed, wait_for):
    project = deployed("slow_migration").with_apps("slow_migration", "tidy_up")
    run = project.start("safe_migrate", "--format", "json", env={"SLOW_MIGRATION_SECONDS": "3"})
    wait_for(project.database, SLEEPING)
    [(pid,)] = project.database.query(LOCK_HOLDER)
    project.database.cluster.execute("SELECT pg_terminate_backend(%s)", (pid,))
    result = project.finish(run)
    assert result.code == 4, result
    assert "deploy lock is gone" in result.json()["error"]
    assert result.json()["recovery"]["applied"] == [["slow_migration", "0002_slow_note"]]
    assert "tidy_up_marker" not in project.database.schema()


@on_pg15
def test_sigterm_rolls_back_like_ctrl_c(deployed, wait_for):
    project = deployed("slow_migration")
    run = project.start("safe_migrate", "--format", "json")
    wait_for(project.database, SLEEPING)
    run.terminate()
    result = project.finish(run)
    assert result.code == 3, result
    assert result.json()["recovery"]["rung"] == "rolled_back"


@on_pg15
def test_ctrl_c_while_waiting_to_try_again_recovers_too(deployed):
    project = deployed("good_expand")
    with project.database.connect() as blocker, blocker.transaction():
        blocker.execute("SELECT * FROM good_expand_trip")
        run = project.start("safe_migrate", "--lock-timeout", "3s", "--lock-retries", "50")
        wait_for_text(project, run, "retry 1 of 50")
        run.send_signal(signal.SIGINT)
        result = project.finish(run)
    assert result.code == 3, result
    assert "Stopped by the operator" in result.stdout
    assert project.journal()[-1]["step"] == "finished"


@pytest.mark.parametrize("is_lost", [False, True], ids=["number_kept", "number_lost"])
def test_a_server_that_crashes_is_asked_again_by_the_next_run(tmp_path_factory, wait_for, is_lost):
    """A killed backend takes every session with it, the deploy lock's too.

    And the transaction's number where nothing of it had reached the disk: it is given out again.
    """
    for cluster in running_cluster(15):
        for database in scratch_database(cluster):
            project = Project(tmp_path_factory.mktemp("project"), database)
            project.with_apps("slow_migration")
            project.run("migrate", "slow_migration", "0001", check=0)
            project.insert_trips("slow_migration", *TRIPS)
            cluster.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
            cluster.execute("SELECT pg_reload_conf()")
            run = project.start("safe_migrate", "--format", "json")
            [(pid,)] = wait_for(database, SLEEPING)
            if not is_lost:
                database.execute("CREATE TABLE flushes (x int)")
            os.kill(pid, signal.SIGKILL)
            result = project.finish(run)
            assert result.code in (3, 4), result.stderr
            assert "Traceback" not in result.stderr
            wait_until_it_answers(database)
            fast = {"SLOW_MIGRATION_SECONDS": "0"}
            told = result.stdout + project.run("safe_migrate", env=fast, check=0).stdout
            assert ("lost its transaction" in told) == is_lost, told
            assert ("was rolled back" in told) != is_lost, told
            assert project.trips("slow_migration") == TRIPS


def wait_for_text(project, run, text, seconds=20.0):
    deadline = time.monotonic() + seconds
    while text not in project.output_of(run):
        assert time.monotonic() < deadline, project.output_of(run)
        time.sleep(0.05)


def wait_until_it_answers(database, seconds=20.0):
    deadline = time.monotonic() + seconds
    while True:
        try:
            database.query("SELECT 1")
            return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@on_postgresql
def test_the_session_of_a_killed_run_is_found_and_can_be_cancelled(deployed, wait_for):
    project = deployed("slow_migration")
    run = project.start("safe_migrate")
    [(pid,)] = wait_for(project.database, SLEEPING)
    run.kill()
    project.finish(run)

    refused = project.run("safe_migrate", "--noinput", "--wait", "0", check=1)
    assert f"server process {pid}" in refused.stdout + refused.stderr
    assert f"SELECT pg_terminate_backend({pid})" in refused.stderr

    fast = {"SLOW_MIGRATION_SECONDS": "0"}
    resolved = project.run("safe_migrate", input="cancel\n", env=fast, check=0)
    assert "was rolled back" in resolved.stdout
    assert project.trips("slow_migration") == TRIPS


@on_pg15
@pytest.mark.parametrize("options", [("--noinput",), ()], ids=["noinput", "no_stdin"])
def test_the_server_ends_an_orphan_by_itself_and_waiting_gets_there(deployed, wait_for, options):
    """Also where it would ask and standard input has ended.

    client_connection_check_interval lets the server notice that nobody listens any more."""
    project = deployed("slow_migration")
    run = project.start("safe_migrate")
    wait_for(project.database, SLEEPING)
    run.kill()
    project.finish(run)
    project.run("safe_migrate", *options, env={"SLOW_MIGRATION_SECONDS": "0"}, check=0)


@on_postgresql
def test_a_lost_lock_race_is_tried_again_until_the_blocker_leaves(deployed):
    project = deployed("good_expand")
    with project.database.connect() as blocker, blocker.transaction():
        blocker.execute("SELECT * FROM good_expand_trip")
        run = project.start("safe_migrate", "--lock-timeout", "100ms", "--lock-retries", "50")
        wait_for_text(project, run, "retry 1 of 50")
    result = project.finish(run)
    assert result.code == 0, result
    assert "lock timeout, held by" in result.stdout


@on_postgresql
def test_a_blocker_that_stays_is_named_and_nothing_is_changed(deployed):
    project = deployed("bad_third")  # its 0003 has deferred SQL, where Django leaks a transaction
    with project.database.connect() as blocker, blocker.transaction():
        blocker.execute("SELECT * FROM bad_third_trip")
        options = ("--lock-timeout", "100ms", "--lock-retries", "2")
        result = project.json("safe_migrate", *options, check=3)
    assert "lock timeout" in result["error"]
    assert result["recovery"]["rung"] == "rolled_back"


@on_postgresql
def test_deferred_sql_that_loses_its_lock_race_does_not_leak_the_transaction(deployed):
    """A foreign key needs SHARE ROW EXCLUSIVE on the parent, which a writer keeps away."""
    project = deployed("bad_third")
    project.run("migrate", "bad_third", "0002", check=0)
    with project.database.connect() as writer, writer.transaction():
        writer.execute("INSERT INTO bad_third_trip (purpose, km) VALUES ('offen', 1)")
        run = project.start(
            "safe_migrate", "bad_third", "0003", "--lock-timeout", "100ms", "--lock-retries", "50"
        )
        wait_for_text(project, run, "retry 1 of 50")
    result = project.finish(run)
    assert result.code == 0, result
    assert "bad_third_receipt" in project.database.schema()


@on_postgresql
def test_a_concurrent_index_outwaits_old_snapshots_whatever_the_lock_timeout(deployed):
    """CREATE INDEX CONCURRENTLY counts that wait against lock_timeout, so it gets none."""
    project = deployed("concurrent_index")
    with project.database.connect() as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM django_migrations")
        run = project.start("safe_migrate", "--no-backup", "--lock-timeout", "500ms")
        time.sleep(4)
        reader.execute("COMMIT")
    result = project.finish(run)
    assert result.code == 0, result
    assert project.database.query("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]


class Writer(threading.Thread):
    """Inserts rows with growing numbers and notes each whose commit was acknowledged."""

    def __init__(self, url: str, table: str) -> None:
        super().__init__()
        self.acknowledged: set[int] = set()
        self._url, self._table = url, table
        self._stop_asked = threading.Event()

    def __enter__(self) -> "Writer":
        self.start()
        return self

    def __exit__(self, *exc_info) -> None:
        self._stop_asked.set()
        self.join()

    def run(self) -> None:
        """Write until asked to stop, through any number of lost connections."""
        statement = f"INSERT INTO {self._table} (purpose, km) VALUES ('laufend', %s)"
        numbers = itertools.count(1000)
        while not self._stop_asked.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True) as connection:
                    while not self._stop_asked.is_set():
                        number = next(numbers)
                        connection.execute(statement, [number])
                        self.acknowledged.add(number)
                        time.sleep(0.002)
            except psycopg.Error:
                time.sleep(0.01)


def numbers_in(database, table: str) -> set[int]:
    return {number for (number,) in database.query(f"SELECT km FROM {table}")}


@on_postgresql
def test_no_acknowledged_row_is_lost_when_a_run_is_reversed(deployed):
    project = deployed("bad_third")
    with Writer(project.database.url, "bad_third_trip") as writer:
        result = project.json("safe_migrate", check=3)
    assert result["recovery"]["rung"] == "reversed"
    assert len(writer.acknowledged) > 20
    assert writer.acknowledged <= numbers_in(project.database, "bad_third_trip")


@on_postgresql
def test_a_backup_is_not_restored_over_rows_that_others_wrote(deployed):
    project = deployed("bad_lossy")
    with Writer(project.database.url, "bad_lossy_trip") as writer:
        result = project.json("safe_migrate", check=4)
    assert "Not restored: others wrote since the backup began" in result["recovery"]["message"]
    assert len(writer.acknowledged) > 20
    assert writer.acknowledged <= numbers_in(project.database, "bad_lossy_trip")


@on_postgresql
def test_with_accepted_loss_the_rows_are_in_the_previous_database(deployed):
    project = deployed("bad_lossy")
    with Writer(project.database.url, "bad_lossy_trip") as writer:
        result = project.json("safe_migrate", "--accept-data-loss", check=3)
        time.sleep(0.3)
    previous = numbers_in(
        project.database.beside(result["recovery"]["previous_database"]), "bad_lossy_trip"
    )
    live = numbers_in(project.database, "bad_lossy_trip")
    assert writer.acknowledged <= live | previous
    assert previous - live, "the writer was too slow to prove anything"
    assert live - previous, "the writer did not come back after the swap"


VACUUM = """
    SELECT pid FROM pg_stat_progress_vacuum JOIN pg_locks USING (pid)
    WHERE relation = 'good_expand_trip'::regclass
"""


def test_an_autovacuum_gives_way_although_locks_are_waited_for_briefly(tmp_path_factory, wait_for):
    """The server ends it for who waits a second; each attempt waits a tenth, but for every tenth."""
    for cluster in running_cluster(15):
        for database in scratch_database(cluster):
            project = Project(tmp_path_factory.mktemp("project"), database)
            project.with_apps("good_expand")
            project.run("migrate", "good_expand", "0001", check=0)
            database.execute(
                "INSERT INTO good_expand_trip (purpose, km) SELECT 'x', n "
                "FROM generate_series(1, 100000) AS n"
            )
            database.execute(
                "ALTER TABLE good_expand_trip SET (autovacuum_vacuum_cost_delay = 100, "
                "autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_threshold = 1, "
                "autovacuum_vacuum_scale_factor = 0)"
            )
            database.execute("DELETE FROM good_expand_trip WHERE km % 2 = 0")
            for setting in ("autovacuum = on", "autovacuum_naptime = '1s'"):
                cluster.execute(f"ALTER SYSTEM SET {setting}")
            cluster.execute("SELECT pg_reload_conf()")
            wait_for(database, VACUUM)
            result = project.run("safe_migrate", "--no-backup", check=0)
            assert "retry 1 of 100" in result.stdout
            assert "retry 3 of 100" not in result.stdout
