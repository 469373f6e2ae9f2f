"""Restores to a moment, beside another database of the server that loses nothing."""

import os
import random
import signal
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from tests.conftest import running_cluster
from tests.deploy_ops.restore.archived import ArchivedCluster, Writer
from tests.project.databases import PostgresDatabase
from tests.project.runner import Project

MOMENTS = int(os.environ.get("MOMENTS", "2"))


@pytest.fixture(scope="module", params=[15, 18])
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


def restored(project, live, *words):
    """The ids of the rows in a database that was restored beside."""
    name = f"{live.name}_then"
    project.run("restore", *words, "--into", name, check=0, timeout=300)
    rows = live.beside(name).query("SELECT id FROM tick ORDER BY id")
    live.cluster.drop_databases(name)
    return {number for (number,) in rows}


def test_a_restore_has_exactly_what_was_committed_before(project, live, cluster):
    other = live.beside(f"{live.name}_other")
    cluster.create_database(name=other.name)
    with Writer(live) as writer, Writer(other) as beside:
        project.run("archive", "base", check=0)
        time.sleep(1)
        point = project.json("archive", "check", check=0)
        time.sleep(0.5)
    committed, elsewhere = writer.committed(), beside.committed()
    first, last = datetime.fromisoformat(point["oldest"]), max(committed.values())
    for _ in range(MOMENTS):
        at = first + random.random() * (last - first)
        wanted = {number for number, moment in committed.items() if moment < at}
        assert restored(project, live, "--to", at.isoformat()) == wanted, at
    assert beside.committed() == elsewhere
    assert not list((cluster.archive / "scratch").glob("[0-9]*"))
