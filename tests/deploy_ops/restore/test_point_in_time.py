"""Restores to a moment, beside another database of the server that loses nothing.

MOMENTS=20 restores to so many random moments instead of one, EVERYTHING=1 on PostgreSQL 18 too.
"""

import os
import random
import shutil
import signal
import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from tests.conftest import running_cluster
from tests.deploy_ops.restore.archived import GRANT, REVOKE, ArchivedCluster, Writer
from tests.project.databases import PostgresDatabase
from tests.project.runner import Project

MOMENTS = int(os.environ.get("MOMENTS", "1"))


# A cluster of its own with an archive takes its time, so a whole run has it of one version alone.
MAJORS = [15, 18] if os.environ.get("EVERYTHING") else [15]


@pytest.fixture(scope="module", params=MAJORS, ids=lambda major: f"pg{major}")
def cluster(request):
    yield from running_cluster(request.param, make=ArchivedCluster)


@pytest.fixture
def live(cluster):
    url = cluster.create_database()
    name = urlsplit(url).path.removeprefix("/")
    yield PostgresDatabase(cluster, name, url)
    cluster.drop_databases(name)


@pytest.fixture
def project(live, cluster, tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("project"), live)
    cluster.configure(project)
    yield project
    project.close()
    shutil.rmtree(cluster.archive / "base", ignore_errors=True)


def restored(project, live, *words):
    """The ids of the rows in a database that was restored beside."""
    name = f"{live.name}_then"
    project.run("restore", *words, "--into", name, check=0, timeout=300)
    rows = live.beside(name).query("SELECT id FROM tick ORDER BY id")
    live.cluster.drop_databases(name)
    return {number for (number,) in rows}


def remains(cluster):
    """What is left of scratch instances: directories, and servers."""
    return sorted(path.name for path in (cluster.archive / "scratch").glob("[0-9]*"))


def test_a_restore_has_exactly_what_was_committed_before(project, live, cluster):
    other = live.beside(f"{live.name}_other")
    cluster.create_database(name=other.name)
    with Writer(live) as writer, Writer(other) as beside:
        project.run("archive", "base", check=0)
        time.sleep(0.5)
        before = datetime.now(UTC)
        point = project.json("archive", "point", "before_lunch", check=0)
        after = datetime.now(UTC)
        time.sleep(0.5)
    committed, elsewhere = writer.committed(), beside.committed()
    [base] = project.json("archive", "list", check=0)["bases"]
    first, last = datetime.fromisoformat(base["finished_at"]), max(committed.values())

    for _ in range(MOMENTS):
        at = first + random.random() * (last - first)
        wanted = {number for number, moment in committed.items() if moment < at}
        assert restored(project, live, "--to", at.isoformat()) == wanted, at
    swapped = project.run(
        *("restore", "--to-point", point["point"], "--noinput", "--confirm", live.name),
        check=0,
        timeout=300,
    )

    [(rows, newest)] = live.query("SELECT count(*), max(id) FROM tick")
    assert {n for n, moment in committed.items() if moment < before} <= set(range(1, newest + 1))
    assert rows == newest and committed[newest] < after
    assert f"public.tick: {len(committed) - rows} more rows now" in swapped.stdout
    assert beside.committed() == elsewhere
    assert remains(cluster) == []


@pytest.fixture
def based(project, live):
    """A project with a base backup, and rows 1 and 2 after it; the time between them."""
    live.execute("CREATE TABLE tick (id bigserial PRIMARY KEY)")
    project.run("archive", "base", check=0)
    live.execute("INSERT INTO tick DEFAULT VALUES")
    time.sleep(0.1)
    [(between,)] = live.query("SELECT clock_timestamp()")
    time.sleep(0.1)
    live.execute("INSERT INTO tick DEFAULT VALUES")
    return between.isoformat()


def test_what_cannot_be_had_is_refused_with_what_can(project, live, cluster, based):
    year = f"{datetime.now(UTC).year}"
    for words, code, said in [
        (("--to", "yesterday"), 2, "--to 'yesterday' is no time"),
        (("--to", f"{int(year) + 1}-01-01T12:00"), 1, "is in the future"),
        (("--to", "2026-01-01 12:00"), 1, "is before the oldest base backup. The oldest moment"),
        (("--to", "2026-03-29 02:30"), 2, "does not exist in Europe/Berlin"),
        (("--to", "2026-10-25 02:30"), 2, "comes twice in Europe/Berlin"),
        (("--to-point", "nowhere"), 1, "There is no restore point 'nowhere' of this database"),
        (("--before-run", "nothing"), 2, "There is no run 'nothing'"),
        (("latest", "--to", based), 2, "exclude each other"),
    ]:
        refused = project.run("restore", *words, "--into", f"{live.name}_then", check=code)
        assert said in refused.stderr and "Nothing was changed" in refused.stderr
    assert live.databases() == [live.name]


def test_killed_on_the_way_nothing_is_left_running(project, live, cluster, based):
    restore = project.start("restore", "--to", based, "--into", f"{live.name}_then")
    pid = server_of_scratch(cluster)
    os.killpg(restore.pid, signal.SIGKILL)
    project.finish(restore)
    base = project.start("archive", "base")
    wait_for(lambda: list((cluster.archive / "base").glob(".partial-*/data/base")))
    os.killpg(base.pid, signal.SIGKILL)
    project.finish(base)

    assert restored(project, live, "--to", based) == {1}
    project.run("archive", "base", check=0)

    assert not os.path.exists(f"/proc/{pid}") and remains(cluster) == []
    assert list((cluster.archive / "base").glob(".partial-*")) == []
    assert len(project.json("archive", "list", check=0)["bases"]) == 2


def test_before_a_run_its_migrations_are_not_there(project, live, cluster):
    project.with_apps("good_expand")
    project.run("archive", "base", check=0)
    project.run("safe_migrate", "good_expand", "0001", check=0)
    project.insert_trips("good_expand", ("Bonn", 31))
    run = project.json("safe_migrate", check=0)["run"]
    project.insert_trips("good_expand", ("Kiel", 96))
    then = live.beside(f"{live.name}_then")

    project.run("restore", "--before-run", run, "--into", then.name, check=0, timeout=300)

    assert then.query("SELECT purpose FROM good_expand_trip") == [("Bonn",)]
    assert "cost_centre" not in then.schema()["good_expand_trip"]
    assert "cost_centre" in live.schema()["good_expand_trip"]


def wait_for(happened, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)
    return found


def server_of_scratch(cluster):
    [path] = wait_for(lambda: list((cluster.archive / "scratch").glob("*/data/postmaster.pid")))
    return int(wait_for(path.read_text).split()[0])


def test_a_damaged_base_is_told_before_anything_is_made_of_it(project, live, cluster, based):
    [control] = (cluster.archive / "base").glob("*/data/global/pg_filenode.map")
    content = bytearray(control.read_bytes())
    content[100] ^= 1
    control.write_bytes(content)

    failed = project.run("restore", "--to", based, "--into", f"{live.name}_then", check=1)

    assert "is damaged" in failed.stderr
    assert 'checksum mismatch for file "global/pg_filenode.map"' in failed.stderr
    assert remains(cluster) == [] and project.json("backups", "list")["backups"] == []


def test_a_missing_segment_is_named(project, live, cluster, based):
    project.run("archive", "check", check=0)
    project.run("archive", "check", check=0)
    newest = sorted(path for path in cluster.wal.iterdir() if len(path.name) == 24)
    newest[-2].rename(cluster.archive / "lost")

    checked = project.run("archive", "check", check=1)
    failed = project.run("restore", "--to", now(live), "--into", f"{live.name}_then", check=1)

    for result in (checked, failed):
        assert "The archive lacks 1 segments of the log" in result.stderr
        assert newest[-2].name in result.stderr
    assert remains(cluster) == []


def receiving(project, cluster):
    """The service that receives the log, once it does."""
    receiver = project.start("archive", "receive")
    wait_for(lambda: (True,) in cluster.execute("SELECT active FROM pg_replication_slots"))
    return receiver


def now(live):
    [(moment,)] = live.query("SELECT clock_timestamp()")
    return moment.isoformat()


def test_why_no_restore_point_can_be_made_is_said_with_the_cure(project, live, cluster):
    def why_not():
        return project.run("archive", "point", "p", check=1).stderr

    assert "The archive has no base backup of this server. Take one:" in why_not()
    project.run("archive", "base", check=0)
    cluster.execute(REVOKE)
    try:
        assert (
            'ON FUNCTION pg_catalog.pg_create_restore_point(text), pg_catalog.pg_switch_wal() TO "'
            'app"'
        ) in why_not()
    finally:
        cluster.execute(GRANT)
    project.run("archive", "point", "p", check=0)
    [path] = (cluster.archive / "base").glob("*/manifest.json")
    path.write_text(path.read_text().replace(f"{datetime.now(UTC).year}-", "2020-"))
    assert "days old. Take one:" in why_not()
    project.settings(DEPLOY_OPS_ARCHIVE={"engine": "tape", "directory": "/tape"})
    assert "DEPLOY_OPS_ARCHIVE has the engine 'tape'; there is basebackup" in why_not()


def test_received_log_goes_on_behind_a_promotion(project, live, cluster):
    """With pg_receivewal, incremental base backups where there are any, and what is pruned."""
    cluster.restart("archive_mode = off\n")
    receiver = receiving(project, cluster)
    live.execute("CREATE TABLE tick (id bigserial PRIMARY KEY)")
    project.run("archive", "base", check=0)
    live.execute("INSERT INTO tick DEFAULT VALUES")
    before_promotion = now(live)
    project.run("archive", "check", check=0)
    cluster.promote()
    live.execute("INSERT INTO tick DEFAULT VALUES")
    project.finish(receiver)
    receiver = receiving(project, cluster)
    between = now(live)
    live.execute("INSERT INTO tick DEFAULT VALUES")
    incremental = ["--incremental"] if cluster.major >= 17 else []
    newest = project.json("archive", "base", *incremental, check=0)["base"]
    live.execute("INSERT INTO tick DEFAULT VALUES")

    assert restored(project, live, "--to", before_promotion) == {1}
    assert restored(project, live, "--to", between) == {1, 2}
    assert restored(project, live, "--to", now(live)) == {1, 2, 3, 4}
    pruned = project.json("archive", "prune", "--keep", "1", "--delete", check=0)

    assert len(pruned["bases"]) == (0 if incremental else 1)
    assert newest["id"] in pruned["kept"]
    assert restored(project, live, "--to", now(live)) == {1, 2, 3, 4}
    os.killpg(receiver.pid, signal.SIGTERM)
    assert project.finish(receiver).code == 0
