"""Fixtures: real databases and a real project around them.

Databases (each test gets its own, empty; it and everything named `<name>_*` is dropped afterwards)
    database             parametrised sqlite, pg15, pg18. Choose one with
                         @pytest.mark.parametrize("database", ["pg15"], indirect=True)
    postgresql_database  parametrised pg15, pg18          sqlite_database   one file
        .url  .vendor ("sqlite"|"postgresql")  .name  .cluster (None for SQLite)
        .query(sql, params) -> rows   .execute(sql, params)   (%s parameters; new session each)
        .connect() -> psycopg/sqlite3 connection, autocommit, as the owner
        .exists(name)   .databases() -> this one and those beside it
        .schema() -> {table: [columns]}

Clusters (started when first asked for, one per major and session; tests/clusters.py)
    cluster              parametrised pg15, pg18          pg15_cluster, pg18_cluster   one major
    tcp_cluster          PostgreSQL 15 that also listens on loopback and asks for a password there:
                         create_role("anna", password="..."), url(name, "anna", "...")
        .execute(sql, params, dbname=) -> rows, as superuser
        .create_role(name, password=, createdb=, superuser=)   .create_database(owner, name) -> url
        .url(dbname, user, password)   .connect(dbname, user)
        .databases()   .drop_databases(name)   .bindir   .major   .port   .pids()
    Role `app` (LOGIN CREATEDB, not superuser) owns the databases; superuser is `postgres`. URLs
    carry the socket as `?host=/dir`, which Django has in OPTIONS, not in HOST: code under test
    has to ask connection.get_connection_params().

Project (tests/project/runner.py: tests.project.settings, real processes, warnings are errors)
    project              bound to `database`; postgresql_project, sqlite_project: to those
        .with_apps("good_expand", ...)   .settings(DEPLOY_OPS_X=...)   .env   for later commands
        .run(*argv, env=, input=, timeout=, check=code) -> Result(code, stdout, stderr, .json())
        .json(*argv) -> parsed stdout of `... --format json`
        .start(*argv, env=) -> Popen, own process group;   .finish(popen) -> Result
        .insert_trips(app, ("purpose", km), ...)   .trips(app) -> rows
        .runs() -> journal files   .journal() -> steps of the only one
        .directory  .ops_dir  .backups_dir  .media_root
    env={"KILL_AT": "journal:<step>:before|after[:n]"} kills the command there, RAISE_AT fills
    the disk (ENOSPC); step `*` counts every step (tests/project/kill.py).

flags                    flags(csv_export=True): forced until the end of the test

django_alias             alias of `database` for code under test that runs in this process

A missing major is a skip; REQUIRE_POSTGRESQL="15,18" makes it a failure.
"""

import os
import signal
import zlib
from urllib.parse import urlsplit

import environ
import pytest

from tests.clusters import PostgresCluster, PostgresUnavailable
from tests.project.databases import PostgresDatabase, SqliteDatabase
from tests.project.runner import Project

pytest_plugins = ["deploy_ops.flags.pytest_plugin"]

POSTGRESQL = ["pg15", "pg18"]
ALIAS = "scratch"

# Stories that hardly differ by database: of a whole run, of those that run on 15 too, one in so
# many is kept.
STORIES = ("tests/drills/", *(f"tests/deploy_ops/{name}/" for name in ("restore", "databases")))
LONG = (*STORIES, "tests/deploy_ops/flags/", "tests/deploy_ops/phases/", "tests/deploy_ops/backup/")
KEPT = {"pg18": (LONG, 4), "sqlite": (STORIES, 2)}
WHOLE_RUN = 2000


def pytest_collection_modifyitems(config, items):
    """Leave out of a whole run what EVERYTHING=1 runs: see CONTRIBUTING.md."""
    if os.environ.get("EVERYTHING") or len(items) < WHOLE_RUN:
        return
    ids = {item.nodeid for item in items}
    left_out = {id(item): item for item in items if _is_left_out(item.nodeid, ids)}
    config.hook.pytest_deselected(items=list(left_out.values()))
    items[:] = [item for item in items if id(item) not in left_out]


def _is_left_out(nodeid: str, ids: set[str]) -> bool:
    if nodeid.startswith("tests/benchmarks/"):
        return True
    return "random_plans" not in nodeid and any(
        nodeid.startswith(stories)
        and database in nodeid
        and nodeid.replace(database, "pg15") in ids - {nodeid}
        and zlib.crc32(nodeid.encode()) % number
        for database, (stories, number) in KEPT.items()
    )


# `timeout` and CI runners end us with SIGTERM: leave by the same door as Ctrl-C, servers stopped.
signal.signal(signal.SIGTERM, signal.default_int_handler)
# A shell starts what runs in its background with SIGINT ignored, and every child would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def running_cluster(major: int, *, make=PostgresCluster, **options):
    """Start, lend, stop."""
    try:
        cluster = make(major, **options).start()
    except PostgresUnavailable as missing:
        if str(major) in os.environ.get("REQUIRE_POSTGRESQL", "").split(","):
            pytest.fail(f"REQUIRE_POSTGRESQL names {major}: {missing}", pytrace=False)
        pytest.skip(f"NOT TESTED ON POSTGRESQL {major}: {missing}")
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def pg15_cluster():
    yield from running_cluster(15)


@pytest.fixture(scope="session")
def pg18_cluster():
    yield from running_cluster(18)


@pytest.fixture(scope="session")
def tcp_cluster():
    yield from running_cluster(15, tcp=True)


@pytest.fixture(scope="session", params=POSTGRESQL)
def cluster(request) -> PostgresCluster:
    return request.getfixturevalue(f"{request.param}_cluster")


@pytest.fixture
def pg15(pg15_cluster):
    yield from scratch_database(pg15_cluster)


@pytest.fixture
def pg18(pg18_cluster):
    yield from scratch_database(pg18_cluster)


@pytest.fixture
def sqlite_database(tmp_path_factory) -> SqliteDatabase:
    return SqliteDatabase(tmp_path_factory.mktemp("database") / "trips.sqlite3")


@pytest.fixture(params=POSTGRESQL)
def postgresql_database(request) -> PostgresDatabase:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["sqlite", *POSTGRESQL])
def database(request):
    name = "sqlite_database" if request.param == "sqlite" else request.param
    return request.getfixturevalue(name)


@pytest.fixture
def project(database, tmp_path_factory):
    yield from scratch_project(database, tmp_path_factory)


@pytest.fixture
def postgresql_project(postgresql_database, tmp_path_factory):
    yield from scratch_project(postgresql_database, tmp_path_factory)


@pytest.fixture
def sqlite_project(sqlite_database, tmp_path_factory):
    yield from scratch_project(sqlite_database, tmp_path_factory)


@pytest.fixture
def django_alias(database, django_db_blocker):
    yield from scratch_alias(database, django_db_blocker)


def scratch_database(cluster: PostgresCluster):
    """Create, lend, drop with everything named after it."""
    url = cluster.create_database()
    name = urlsplit(url).path.removeprefix("/")
    try:
        yield PostgresDatabase(cluster, name, url)
    finally:
        cluster.drop_databases(name)


def scratch_project(database, tmp_path_factory):
    """Lend a project; end what it left running before the database goes."""
    project = Project(tmp_path_factory.mktemp("project"), database)
    try:
        yield project
    finally:
        project.close()


def scratch_alias(database, django_db_blocker):
    """Lend an alias of the database for code that runs in this process."""
    from django.db import connections

    connections.databases[ALIAS] = connections.configure_settings(
        {"default": {}, ALIAS: environ.Env.db_url_config(database.url)}
    )[ALIAS]
    with django_db_blocker.unblock():
        yield ALIAS
        connections[ALIAS].close()
    del connections[ALIAS], connections.databases[ALIAS]
