"""Dumps of PostgreSQL: the right client, one snapshot, nothing given away, damage found."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from deploy_ops.backup.methods import method_for
from deploy_ops.backup.methods.pg_dump import dump as dump_module
from deploy_ops.backup.methods.pg_dump.archive import read_header, read_through
from deploy_ops.errors import BackupCorrupt, BackupFailed, DeployOpsError, ProgramError
from deploy_ops.progress import Silent
from tests.deploy_ops.backup.portraits import furnish, save

postgresql = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
postgresql_15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)


@pytest.fixture
def method(django_alias):
    return method_for(django_alias)


@postgresql
def test_says_what_is_in_it(method, database, tmp_path):
    furnish(database)

    manifest = save(method, tmp_path / "dump")

    assert manifest.counts == {
        "public.person": 50,
        "public.trip": 2000,
        "public.Odd Table": 2,
        "archive.trip_2024": 15,
        "archive.trip_2025": 15,
    }
    assert manifest.sequences == {
        "public.person_id_seq": 50,
        "public.trip_id_seq": 2000,
        "public.invoice": 37,  # from 5 in steps of 2 to 77
        "public.never_called": 0,
        "public.downwards": 2,
    }
    extra = manifest.extra
    assert list(extra["extensions"]) == ["citext", "pg_trgm"]
    assert extra["roles"] == ["app", "reader"] and extra["owners"] == ["app"]
    assert extra["large_objects"] == 2
    assert extra["properties"]["datconnlimit"] == 23
    major = str(database.cluster.major)
    assert manifest.versions["server"].split(".")[0] == major
    assert manifest.versions["pg_dump"].split(".")[0] == major


@postgresql
def test_counts_are_of_the_dump_while_others_write(method, database, tmp_path):
    database.execute("CREATE TABLE trip (id serial, note text)")
    database.execute("INSERT INTO trip (note) SELECT md5(i::text) FROM generate_series(1, 90000) i")
    stop = threading.Event()

    def write():
        with database.connect() as connection:
            while not stop.is_set():
                connection.execute("INSERT INTO trip (note) VALUES ('meanwhile')")

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.1)
    try:
        manifest = save(method, tmp_path / "dump")
    finally:
        stop.set()
        writer.join()

    script = tmp_path / "script.sql"
    restore = database.cluster.bindir / "pg_restore"
    subprocess.run([restore, "--data-only", "-f", script, tmp_path / "dump"], check=True)
    rows = sum("\t" in line for line in script.read_text().splitlines())
    assert manifest.counts["public.trip"] == rows > 90000
    assert database.query("SELECT count(*) FROM trip")[0][0] > rows


@postgresql
def test_tells_progress(method, database, tmp_path):
    furnish(database)
    report = []

    class Listener(Silent):
        def track(self, label, total_bytes):
            report.append((label, total_bytes))
            return super().track(label, total_bytes)

    (tmp_path / "dump").mkdir()
    method.dump(tmp_path / "dump", jobs=2, progress=Listener())

    assert report[0][0] == "Dump" and report[0][1] > 100_000


@postgresql
def test_gives_up_behind_a_table_lock(method, database, tmp_path, monkeypatch):
    monkeypatch.setattr(dump_module, "LOCK_WAIT_MS", 300)
    database.execute("CREATE TABLE trip (id int)")
    with database.connect() as migration, migration.transaction():
        migration.execute("LOCK trip IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DeployOpsError, match="lock"):
            save(method, tmp_path / "dump")


@postgresql
def test_a_terminated_session_fails_the_dump_and_leaves_no_program(method, database, tmp_path):
    database.execute(
        "CREATE TABLE trip AS SELECT i, md5(i::text) FROM generate_series(1, 500000) i"
    )
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    ended = threading.Timer(0.3, lambda: database.cluster.execute(end, [database.name]))
    ended.start()

    with pytest.raises((ProgramError, BackupFailed)):
        save(method, tmp_path / "dump")

    ended.join()
    assert not _processes_with(str(tmp_path / "dump"))


@postgresql_15
def test_kill_9_ends_pg_dump_and_its_workers(project):
    big = (
        "CREATE TABLE trip AS SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 300000) i"
    )
    project.database.execute(big)
    command = project.start("backup")
    directory = str(project.backups_dir)
    _until(lambda: len(_processes_with(directory)) >= 2)

    command.send_signal(signal.SIGKILL)
    command.wait()

    _until(lambda: not _processes_with(directory))
    listed = project.json("backups", "list")
    assert "complete" not in json.dumps(listed)
    project.run("backup", check=0)
    assert not [path for path in project.backups_dir.iterdir() if ".partial" in path.name]


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
def test_no_password_in_output_arguments_or_environments(project, tcp_cluster):
    password = "geheim-7261"
    tcp_cluster.create_role("berta", password=password)
    tcp_cluster.create_database("berta", "secret_trips")
    try:
        url = tcp_cluster.url("secret_trips", "berta", password)
        fill = "CREATE TABLE trip AS SELECT i, md5(i::text) FROM generate_series(1, 400000) i"
        tcp_cluster.execute(fill, dbname="secret_trips")
        tcp_cluster.execute("ALTER TABLE trip OWNER TO berta", dbname="secret_trips")
        seen = []
        for argv in (["backup"], ["restore", "latest", "--noinput", "--confirm", "secret_trips"]):
            command = project.start(*argv, env={"DATABASE_URL": url})
            while command.poll() is None:
                seen += _children_of(command.pid)
                time.sleep(0.02)
            result = project.finish(command)
            assert result.code == 0, result
            assert password not in result.stdout + result.stderr
        wrong = project.run("backup", env={"DATABASE_URL": url.replace(password, "wr0ng-pass")})
        assert wrong.code == 1 and "password authentication failed" in wrong.stderr
        assert "wr0ng-pass" not in wrong.stdout + wrong.stderr
    finally:
        tcp_cluster.drop_databases("secret_trips")
        tcp_cluster.execute("DROP ROLE berta")

    assert any("pg_dump" in arguments for arguments, _ in seen)
    assert any("pg_restore" in arguments for arguments, _ in seen)
    for arguments, environment in seen:
        assert password not in arguments and password not in environment
    for path in project.ops_dir.rglob("*"):
        assert path.is_dir() or password.encode() not in path.read_bytes()


@postgresql_15
def test_a_missing_client_is_named_with_its_package(method, database, tmp_path, settings):
    settings.DEPLOY_OPS_PG_BIN = {15: str(tmp_path)}

    [problem, *_] = method.check_backup()
    assert "pg_dump of PostgreSQL 15 is needed" in problem
    assert "apt-get install postgresql-client-15" in problem
    with pytest.raises(ProgramError, match="was not found"):
        save(method, tmp_path / "dump")


@postgresql_15
def test_a_client_of_another_major_is_not_used(method, pg18_cluster, settings):
    settings.DEPLOY_OPS_PG_BIN = {15: str(pg18_cluster.bindir)}

    [problem, *_] = method.check_backup()

    assert f"{pg18_cluster.bindir} (18." in problem


def test_the_wheel_is_found_though_path_has_an_older_client(pg15_cluster, pg18_cluster):
    from deploy_ops.databases.postgresql.programs import find_program

    majors = [cluster.major for cluster in (pg15_cluster, pg18_cluster)]

    assert [find_program("pg_dump", major).major for major in majors] == [15, 18]


@postgresql
def test_foreseen_tables_and_large_objects_that_may_not_be_read(method, database):
    cluster, name = database.cluster, database.name
    cluster.execute("CREATE TABLE public.salary (id int)", dbname=name)
    cluster.execute("SELECT lo_create(99)", dbname=name)
    cluster.execute("CREATE TABLE public.seen (id int)", dbname=name)
    cluster.execute("GRANT SELECT ON public.seen TO app", dbname=name)
    cluster.execute("ALTER TABLE public.seen ENABLE ROW LEVEL SECURITY", dbname=name)

    tables, rows, objects = method.check_backup()

    assert "may not read: public.salary" in tables
    assert "Row policies would hide rows from the backup in: public.seen" in rows
    assert "99 of postgres" in objects


@postgresql_15
def test_nothing_stands_in_the_way_of_an_ordinary_dump(method, database):
    furnish(database)

    assert method.check_backup() == []


@postgresql_15
def test_a_prepared_transaction_is_no_obstacle_for_a_dump(method, database, tmp_path):
    database.execute("CREATE TABLE trip (id int)")
    with database.connect() as connection:
        connection.execute("BEGIN; INSERT INTO trip VALUES (1); PREPARE TRANSACTION 'booked'")

    assert method.check_backup() == []
    assert save(method, tmp_path / "dump").counts == {"public.trip": 0}


@pytest.fixture(scope="module", params=["pg15_cluster", "pg18_cluster"])
def archive(request, tmp_path_factory):
    """A dump with two tables and large objects, made once per major."""
    cluster = request.getfixturevalue(request.param)
    cluster.create_database(name="archived")
    cluster.execute(
        "CREATE TABLE trip AS SELECT i, md5(i::text) FROM generate_series(1, 9000) i",
        dbname="archived",
    )
    cluster.execute(
        "SELECT lo_from_bytea(7, convert_to(repeat('receipt', 900), 'UTF8'))", dbname="archived"
    )
    directory = tmp_path_factory.mktemp("archive") / "dump"
    argv = [cluster.bindir / "pg_dump", "-Fd", "-Z1", "-f", directory, "-d", "archived"]
    env = {**os.environ, "PGHOST": str(cluster.directory), "PGUSER": "postgres"}
    subprocess.run(argv, env=env, check=True)
    cluster.drop_databases("archived")
    return directory


def test_an_intact_archive_is_read_to_its_end(archive):
    read_through(archive)


def test_the_head_tells_versions(archive):
    header = read_header(archive)

    assert header.server.split(".")[0] == header.pg_dump.split(".")[0] == str(header.dump_major)


def flip(path: Path, position: float) -> None:
    content = bytearray(path.read_bytes())
    content[min(int(len(content) * position), len(content) - 1)] ^= 0xFF
    path.write_bytes(bytes(content))


def biggest(directory: Path) -> Path:
    return max(directory.glob("[0-9]*.dat.gz"), key=lambda path: path.stat().st_size)


DAMAGE = {
    "head_magic": lambda directory: flip(directory / "toc.dat", 0),
    "head_cut": lambda directory: os.truncate(directory / "toc.dat", 9),
    "toc_cut": lambda directory: os.truncate(
        directory / "toc.dat", (directory / "toc.dat").stat().st_size // 2
    ),
    "toc_empty": lambda directory: os.truncate(directory / "toc.dat", 0),
    "toc_missing": lambda directory: (directory / "toc.dat").unlink(),
    "data_head": lambda directory: flip(biggest(directory), 0),
    "data_emptied": lambda directory: os.truncate(biggest(directory), 0),
    "data_cut_in_head": lambda directory: os.truncate(biggest(directory), 5),
    "data_middle": lambda directory: flip(biggest(directory), 0.5),
    "data_checksum": lambda directory: flip(biggest(directory), 1),
    "data_tail_cut": lambda directory: os.truncate(
        biggest(directory), biggest(directory).stat().st_size - 20
    ),
    "data_cut": lambda directory: os.truncate(
        biggest(directory), biggest(directory).stat().st_size // 2
    ),
    "data_missing": lambda directory: biggest(directory).unlink(),
    "large_object_missing": lambda directory: next(directory.glob("blob_*")).unlink(),
    "large_object_middle": lambda directory: flip(next(directory.glob("blob_*")), 0.5),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_archive_is_found_by_reading_it(archive, tmp_path, damage):
    copy = tmp_path / "dump"
    shutil.copytree(archive, copy)
    DAMAGE[damage](copy)

    with pytest.raises(BackupCorrupt):
        read_through(copy)


def _processes_with(word: str) -> list[int]:
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                arguments = (process / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if word in arguments and "pg_dump" in arguments:
                found.append(int(process.name))
    return found


def _children_of(pid: int) -> list[tuple[str, str]]:
    """Arguments and environments of a process and of its descendants."""
    found, parents = [], {pid}
    for process in sorted(
        (p for p in Path("/proc").iterdir() if p.name.isdigit()), key=lambda p: int(p.name)
    ):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if int(process.name) == pid or parent in parents:
                parents.add(int(process.name))
                arguments = (process / "cmdline").read_bytes().decode(errors="replace")
                # The command itself is given DATABASE_URL; its children are not. Between fork and
                # exec a child is still the command, with its arguments and its environment.
                command = Path("/proc", str(pid), "cmdline").read_bytes().decode(errors="replace")
                own = int(process.name) == pid or arguments == command
                environment = "" if own else (process / "environ").read_text(errors="replace")
                found.append((arguments, environment))
        except OSError:
            continue
    return found


def _until(claim, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
