"""The ground the other tests stand on: real servers, own databases, real processes."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tests.clusters import PostgresCluster, find_binaries
from tests.conftest import running_cluster, scratch_database
from tests.sample_apps.many import write_many_migrations

SAMPLE_APPS = sorted(
    path.parent.name for path in Path(__file__).parent.glob("sample_apps/*/models.py")
)
POSTGRESQL_ONLY = {
    "concurrent_index",
    "bad_concurrent_index",
    "fills_partitions",
    "index_on_only",
    "index_with_a_space",
    "truncates_and_fails",
}


def test_each_cluster_is_the_major_it_says(cluster):
    [(version,)] = cluster.execute("SHOW server_version_num")
    assert int(version) // 10000 == cluster.major
    client = subprocess.run(
        [cluster.bindir / "pg_dump", "--version"], capture_output=True, text=True, check=True
    )
    assert f" {cluster.major}." in client.stdout


def test_nobody_outside_reaches_the_server(cluster):
    assert cluster.execute("SHOW listen_addresses") == [("",)]
    assert cluster.directory.stat().st_mode & 0o777 == 0o700
    assert len(f"{cluster.directory}/.s.PGSQL.5432") < 108


def test_the_server_does_not_run_as_root(cluster):
    postmaster, *children = cluster.pids()
    assert children
    assert Path(f"/proc/{postmaster}").stat().st_uid != 0


def test_the_application_role_creates_databases_and_is_no_superuser(cluster):
    [attributes] = cluster.execute(
        "SELECT rolcanlogin, rolcreatedb, rolsuper FROM pg_roles WHERE rolname = 'app'"
    )
    assert attributes == (True, True, False)


def test_loopback_asks_for_the_password(tcp_cluster):
    tcp_cluster.create_role("anna", password="right")
    try:
        with psycopg.connect(tcp_cluster.url("postgres", "anna", "right")) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("anna",)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(tcp_cluster.url("postgres", "anna", "wrong"))
    finally:
        tcp_cluster.execute("DROP ROLE anna")


def test_a_stopped_cluster_leaves_no_process_and_no_directory():
    cluster = PostgresCluster(15).start()
    session = cluster.connect()
    pids = cluster.pids()
    cluster.stop()
    assert not cluster.directory.exists()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    session.close()


def test_the_server_dies_with_a_killed_test_session():
    script = (
        "import os, signal\n"
        "from tests.clusters import PostgresCluster\n"
        "cluster = PostgresCluster(15).start()\n"
        "print(cluster.pids()[0], cluster.directory, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    postmaster, directory = killed.stdout.split()
    wait_until(lambda: not is_running(int(postmaster)))
    subprocess.run(["rm", "-r", directory], check=True)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_test_session_cleans_up(signum, tmp_path):
    process, postmaster, directory = start_session_that_waits(tmp_path)
    process.send_signal(signum)
    assert process.wait(30) == pytest.ExitCode.INTERRUPTED
    assert not is_running(postmaster)
    assert not directory.exists()


@pytest.mark.parametrize(
    "required, outcome", [("", "NOT TESTED ON POSTGRESQL 99"), ("18,99", "REQUIRE_POSTGRESQL")]
)
def test_a_missing_major_is_never_silent(required, outcome, monkeypatch):
    monkeypatch.setenv("REQUIRE_POSTGRESQL", required)
    kind = pytest.fail.Exception if required else pytest.skip.Exception
    with pytest.raises(kind, match=f"{outcome}.*no binaries of PostgreSQL 99"):
        next(running_cluster(99))


def test_binaries_out_of_the_servers_reach_are_copied(tmp_path, monkeypatch):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    installed = find_binaries(18)
    site_packages = closed / "site-packages"
    site_packages.symlink_to(installed.parents[2])
    out_of_reach = site_packages / installed.relative_to(installed.parents[2])
    monkeypatch.setattr("tests.clusters.find_binaries", lambda major: out_of_reach)
    cluster = PostgresCluster(18).start()
    try:
        copied = cluster.bindir.is_relative_to(cluster.directory)
        assert copied == (os.geteuid() == 0)
    finally:
        cluster.stop()


@pytest.mark.parametrize("round_", ["first", "second"])
def test_every_test_gets_an_empty_database(database, round_):
    assert database.schema() == {}
    database.execute("CREATE TABLE leftover (id integer, name varchar(10))")
    database.execute("INSERT INTO leftover VALUES (%s, %s)", (1, round_))
    assert database.query("SELECT name FROM leftover WHERE id = %s", (1,)) == [(round_,)]
    assert database.schema() == {"leftover": ["id", "name"]}
    assert database.databases() == [database.name]
    assert database.exists(database.name)
    assert not database.exists(f"{database.name}_before_restore")


def test_the_application_role_owns_its_database(postgresql_database):
    assert postgresql_database.query("SELECT current_user") == [("app",)]


def test_what_a_test_leaves_behind_is_dropped(cluster):
    """Also with open sessions, a prepared transaction, a slot, and connections refused."""
    cluster.create_database(name="mess")
    cluster.create_database(name="mess_before_restore_1")
    cluster.create_database(name="messenger")
    # The slot first: making one waits for every transaction in progress, prepared ones included.
    slot = "SELECT pg_create_logical_replication_slot('kept', 'pgoutput')"
    cluster.execute(slot, dbname="mess")
    session = cluster.connect("mess", "app")
    session.execute("CREATE TABLE t (id int)")
    session.execute("BEGIN")
    session.execute("INSERT INTO t VALUES (1)")
    session.execute("PREPARE TRANSACTION 'kept'")
    cluster.execute("ALTER DATABASE mess ALLOW_CONNECTIONS false")
    cluster.drop_databases("mess")
    assert [name for name in cluster.databases() if name.startswith("mess")] == ["messenger"]
    with pytest.raises(psycopg.OperationalError):
        session.execute("SELECT 1")
    cluster.drop_databases("messenger")


def test_a_database_goes_with_its_test_and_so_do_its_neighbours(cluster):
    lent = scratch_database(cluster)
    database = next(lent)
    cluster.create_database(name=f"{database.name}_before_restore_1")
    assert len(database.databases()) == 2
    lent.close()
    assert database.databases() == []


def test_migrate_works_in_a_real_process(project):
    project.with_apps("good_expand")
    project.run("migrate", "good_expand", "0001", check=0)
    project.insert_trips("good_expand", ("Kunde", 12), ("Messe", 340))
    project.run("migrate", check=0)
    assert project.trips("good_expand") == [("Kunde", 12), ("Messe", 340)]
    assert "cost_centre" in project.database.schema()["good_expand_trip"]


def test_the_process_sees_only_the_environment_it_is_given(sqlite_project, monkeypatch):
    monkeypatch.setenv("OUTER_SECRET", "visible")
    code = "import os; print('OUTER_SECRET' in os.environ, os.environ['HOME'])"
    result = sqlite_project.run("shell", "-v", "0", "-c", code, check=0)
    assert result.stdout.split() == ["False", str(sqlite_project.directory)]


def test_settings_follow_the_project(sqlite_project):
    sqlite_project.settings(DEPLOY_OPS_BACKUP_KEY_FILE="/etc/key")
    code = (
        "from django.conf import settings as s\n"
        "print(s.DEPLOY_OPS_STATE_DIR, s.DEPLOY_OPS_BACKUP_DIR, s.DEPLOY_OPS_BACKUP_KEY_FILE)"
    )
    result = sqlite_project.run("shell", "-v", "0", "-c", code, check=0)
    expected = [str(sqlite_project.ops_dir), str(sqlite_project.backups_dir), "/etc/key"]
    assert result.stdout.split() == expected
    assert sqlite_project.ops_dir.stat().st_mode & 0o777 == 0o700


def test_a_failing_command_shows_both_outputs(sqlite_project):
    with pytest.raises(AssertionError, match="(?s)expected exit code 0.*Unknown command: 'nosuch'"):
        sqlite_project.run("nosuch", check=0)


def test_input_reaches_the_command(sqlite_project):
    result = sqlite_project.run("shell", "-v", "0", input="print('heard')\n", check=0)
    assert "heard" in result.stdout


def test_a_started_command_can_be_killed(postgresql_project):
    project = postgresql_project.with_apps("slow_migration")
    project.run("migrate", "slow_migration", "0001", check=0)
    process = project.start("migrate")
    asleep = (
        "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%%' AND state = 'active'"
    )
    wait_until(lambda: project.database.query(asleep))
    process.kill()
    assert project.finish(process).code == -signal.SIGKILL
    assert "note" not in project.database.schema()["slow_migration_trip"]


def test_sample_models_match_their_migrations(sqlite_project):
    sqlite_project.with_apps(*SAMPLE_APPS)
    sqlite_project.run("makemigrations", "--check", "--dry-run", check=0)


@pytest.mark.parametrize(
    "story, trips, failure",
    [
        ("bad_third", [], "line 7 of the import has no amount"),
        ("bad_lossy", [], "trips of two years are open"),
        ("bad_irreversible", [("Kunde", 1)], "trips of two years are open"),
        ("bad_nonatomic", [("Kunde", 1)], "bad_nonatomic_no_such_table"),
        ("bad_unique", [("Kunde", 1), ("Kunde", 2)], "IntegrityError"),
        ("deferred_constraint", [], "IntegrityError"),
        ("bad_after_run_python", [("Kunde", 1)], "line 7 of the import has no purpose"),
        ("bad_post_migrate", [], "the search server does not answer"),
    ],
)
def test_bad_stories_fail_as_they_say(project, story, trips, failure):
    project.with_apps(story)
    project.run("migrate", story, "0001", check=0)
    project.insert_trips(story, *trips)
    assert failure in project.run("migrate", check=1).stderr


def test_a_nonatomic_failure_leaves_the_column_unrecorded(project):
    project.with_apps("bad_nonatomic")
    project.run("migrate", "bad_nonatomic", "0001", check=0)
    project.run("migrate", check=1)
    assert "note" in project.database.schema()["bad_nonatomic_trip"]
    applied = "SELECT name FROM django_migrations WHERE app = 'bad_nonatomic'"
    assert project.database.query(applied) == [("0001_initial",)]


def test_a_concurrent_unique_index_on_duplicates_stays_invalid(postgresql_project):
    project = postgresql_project.with_apps("bad_concurrent_index")
    project.run("migrate", "bad_concurrent_index", "0001", check=0)
    project.insert_trips("bad_concurrent_index", ("Kunde", 1), ("Kunde", 2))
    assert "IntegrityError" in project.run("migrate", check=1).stderr
    invalid = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
    assert project.database.query(invalid) == [("bad_concurrent_index_purpose",)]


def test_a_true_reverse_restores_the_rows(project):
    project.with_apps("lossless_run_python")
    project.run("migrate", "lossless_run_python", "0001", check=0)
    project.insert_trips("lossless_run_python", ("Kunde", 12))
    project.run("migrate", check=0)
    assert project.trips("lossless_run_python") == [("Kunde", 12_000)]
    project.run("migrate", "lossless_run_python", "0001", check=0)
    assert project.trips("lossless_run_python") == [("Kunde", 12)]


def test_many_migrations_are_found(sqlite_project):
    app = write_many_migrations(sqlite_project.directory, 7)
    sqlite_project.with_apps(app)
    sqlite_project.run("migrate", "many", "0003", check=0)
    sqlite_project.run("migrate", check=0)
    assert "note_7" in sqlite_project.database.schema()["many_trip"]
    sqlite_project.run("makemigrations", "--check", "--dry-run", check=0)


def test_code_in_this_process_uses_the_database(database, django_alias):
    from django.db import connections

    connection = connections[django_alias]
    assert connection.vendor == database.vendor
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE seen (id integer)")
    assert database.schema() == {"seen": ["id"]}


TWO_RECORDS = """
from deploy_ops.errors import JournalFailed
from deploy_ops.migrate.journal import Journal
journal = Journal.start()
print("started", flush=True)
try:
    journal.record("applied")
except JournalFailed as error:
    print("refused", error.__cause__.errno, flush=True)
"""


@pytest.mark.parametrize(
    "fault, said, recorded",
    [
        ("journal:started:before", [], []),
        ("journal:started:after", [], ["started"]),
        ("journal:applied:before", ["started"], ["started"]),
        ("journal:*:after:2", ["started"], ["started", "applied"]),
    ],
)
def test_kill_at_a_journal_step(sqlite_project, fault, said, recorded):
    result = sqlite_project.run("shell", "-v", "0", "-c", TWO_RECORDS, env={"KILL_AT": fault})
    assert result.code == -signal.SIGKILL, result
    assert result.stdout.split() == said
    assert [step["step"] for step in sqlite_project.journal()] == recorded


def test_raise_at_a_journal_step_is_a_full_disk(sqlite_project):
    env = {"RAISE_AT": "journal:applied:before"}
    result = sqlite_project.run("shell", "-v", "0", "-c", TWO_RECORDS, env=env, check=0)
    assert result.stdout.split() == ["started", "refused", str(errno.ENOSPC)]
    assert [step["step"] for step in sqlite_project.journal()] == ["started"]


def test_a_misspelt_fault_is_refused(sqlite_project):
    result = sqlite_project.run("check", env={"KILL_AT": "journal:applied"})
    assert result.code == 1
    assert "not journal:<step>:before|after[:n]: journal:applied" in result.stderr


def start_session_that_waits(tmp_path):
    """A pytest of its own which has a server and sleeps: process, postmaster's pid, directory."""
    test, said = tmp_path / "test_waits.py", tmp_path / "said"
    test.write_text(
        "import pathlib, time\n"
        "from tests.conftest import pg15_cluster\n"
        "def test_waits(pg15_cluster):\n"
        f"    said = pathlib.Path({str(said)!r})\n"
        "    said.write_text(f'{pg15_cluster.pids()[0]} {pg15_cluster.directory}\\n')\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:django", "-p", "no:cacheprovider"]
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(
            [*command, "-c", "/dev/null", test],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    wait_until(lambda: process.poll() is not None or said.exists() and said.read_text())
    assert process.poll() is None, (tmp_path / "output").read_text()
    postmaster, directory = said.read_text().split()
    return process, int(postmaster), Path(directory)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
