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

A missing major is a skip; REQUIRE_POSTGRESQL="15,18" makes it a failure. TEST_POSTGRESQL="16,17"
takes other majors where a test does not name its own.
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

# 16 and 17 are for `make test-matrix`, which has their programs on the PATH.
MAJORS = os.environ.get("TEST_POSTGRESQL", "15,18").split(",")
POSTGRESQL = [f"pg{major}" for major in MAJORS]
ALIAS = "scratch"

# Stories: they hardly differ by database, and the variants of one have much in common. A whole run
# keeps one in so many of those that run on 15 too, and one in four variants, but two at least.
STORIES = (
    "tests/drills/",
    "tests/kvb/test_on_postgresql.py",
    *(f"tests/deploy_ops/{name}/" for name in ("backup", "databases", "flags", "phases")),
    *(f"tests/deploy_ops/{name}/" for name in ("release", "restore")),
)
KEPT = {"pg18": 12, "sqlite": 6}
VARIANTS = 4
WHOLE_RUN = 2000


def pytest_collection_modifyitems(config, items):
    """Leave out of a whole run what EVERYTHING=1 runs: see CONTRIBUTING.md."""
    if os.environ.get("EVERYTHING") or len(items) < WHOLE_RUN:
        return
    left_out = _left_out({item.nodeid for item in items})
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left_out])
    items[:] = [item for item in items if item.nodeid not in left_out]


def _left_out(ids: set[str]) -> set[str]:
    stories = {each for each in ids if each.startswith(STORIES) and "/random_" not in each}
    again = {each for each in stories if _runs_on_15_too(each, ids)}
    tests: dict[str, list[str]] = {}
    for each in sorted(stories - again, key=_number):
        tests.setdefault(each.partition("[")[0], []).append(each)
    variants = {
        each for found in tests.values() for each in found[max(2, len(found) // VARIANTS) :]
    }
    return again | variants | {each for each in ids if each.startswith("tests/benchmarks/")}


def _runs_on_15_too(nodeid: str, ids: set[str]) -> bool:
    return any(
        database in nodeid
        and nodeid.replace(database, "pg15") in ids - {nodeid}
        and _number(nodeid) % number
        for database, number in KEPT.items()
    )


def _number(nodeid: str) -> int:
    """The same for a test in every run, and by chance among tests."""
    return zlib.crc32(nodeid.encode())


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


def _cluster_of(major: int):
    @pytest.fixture(scope="session", name=f"pg{major}_cluster")
    def started():
        yield from running_cluster(major)

    return started


pg15_cluster, pg16_cluster, pg17_cluster, pg18_cluster = map(_cluster_of, range(15, 19))


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
def pg16(pg16_cluster):
    yield from scratch_database(pg16_cluster)


@pytest.fixture
def pg17(pg17_cluster):
    yield from scratch_database(pg17_cluster)


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
