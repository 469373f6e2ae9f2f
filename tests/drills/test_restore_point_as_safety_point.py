"""`safe_migrate --safety restore_point`: put back out of the archive, beside other databases."""

from urllib.parse import urlsplit

import pytest

from tests.conftest import running_cluster
from tests.deploy_ops.restore.archived import GRANT, REVOKE, ArchivedCluster
from tests.drills.portraits import portrait
from tests.project.databases import PostgresDatabase
from tests.project.runner import Project

HALF = [("first", 10), ("second", 0), ("third", 30)]
MIGRATE = ("safe_migrate", "--safety", "restore_point")


@pytest.fixture(scope="module")
def cluster():
    yield from running_cluster(15, make=ArchivedCluster)


@pytest.fixture
def half(cluster, tmp_path_factory):
    url = cluster.create_database()
    live = PostgresDatabase(cluster, urlsplit(url).path.removeprefix("/"), url)
    project = Project(tmp_path_factory.mktemp("project"), live)
    cluster.configure(project)
    project.with_apps("doubled_in_batches")
    for app in ("auth", "deploy_ops"):
        project.run("migrate", app, check=0)
    project.run("migrate", "doubled_in_batches", "0001", check=0)
    project.insert_trips("doubled_in_batches", *HALF)
    yield project
    project.close()
    cluster.drop_databases(live.name)


def test_failed_half_way_the_database_of_the_point_is_restored(half):
    """Asked for by name it is refused where it cannot be had."""
    refused = half.run(*MIGRATE, check=1)
    assert "No restore point can be the safety point" in refused.stderr
    assert "base backup" in refused.stderr
    half.run("archive", "base", check=0, timeout=300)
    before = portrait(half.database)

    result = half.json(*MIGRATE, check=3, timeout=300)

    assert result["safety"]["method"] == "restore_point"
    assert result["recovery"]["rung"] == "restored"
    assert portrait(half.database) == before
    failed = half.database.beside(result["recovery"]["previous_database"])
    assert failed.query("SELECT km FROM doubled_in_batches_trip ORDER BY id") == [
        (20,),
        (0,),
        (30,),
    ]


def test_what_the_server_forbids_is_told_with_the_right_to_grant(half, cluster):
    cluster.execute(REVOKE)
    try:
        refused = half.run(*MIGRATE, check=1)
        plan = half.json("safe_migrate", "--plan", check=0)
    finally:
        cluster.execute(GRANT)
    assert "GRANT EXECUTE" in refused.stderr
    assert plan["safety"]["method"] == "dump" and "restore_point" in plan["safety"]["others"]
