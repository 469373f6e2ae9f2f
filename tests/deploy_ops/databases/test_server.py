"""The direct way to a database: addresses, passwords, roles, poolers."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import environ
import pytest
from django.db import connections

from deploy_ops.databases.postgresql.server import (
    application_server_of,
    direct_connection,
    refuse_pooler,
    scalar,
    server_of,
)
from deploy_ops.errors import ConfigurationError, DatabaseUnavailable, PoolerRefused
from tests.pooler import pooler

PASSWORD = "s:ecret\\ 'word"


@pytest.fixture
def aliased(django_db_blocker):
    """Give a URL the alias `default` or another for one test."""
    before = {}

    def give(url: str, alias: str = "scratch", **options) -> str:
        before.setdefault(alias, connections.databases.get(alias))
        settings = environ.Env.db_url_config(url)
        settings["OPTIONS"] = {**settings.get("OPTIONS", {}), **options}
        configured = connections.configure_settings({"default": {}, alias: settings})[alias]
        connections.databases[alias] = configured
        if hasattr(connections._connections, alias):
            del connections[alias]
        return alias

    with django_db_blocker.unblock():
        yield give
    for alias, settings in before.items():
        if hasattr(connections._connections, alias):
            connections[alias].close()
            del connections[alias]
        if settings is None:
            del connections.databases[alias]
        else:
            connections.databases[alias] = settings


@pytest.fixture
def guarded(tcp_cluster):
    """A database of a role that needs its password."""
    tcp_cluster.create_role("anna", password=PASSWORD)
    tcp_cluster.create_database("anna", "guarded")
    yield tcp_cluster
    tcp_cluster.drop_databases("guarded")
    tcp_cluster.execute("DROP ROLE anna")


def anna(cluster, aliased, password=PASSWORD, **options) -> str:
    alias = aliased(f"postgresql://anna@127.0.0.1:{cluster.port}/guarded", **options)
    connections.databases[alias]["PASSWORD"] = password
    return alias


def test_reaches_the_database_as_django_does(guarded, aliased):
    server = server_of(anna(guarded, aliased))

    with server.connect(application_name="test") as connection:
        assert scalar(connection, "SELECT current_user || '@' || current_database()") == (
            "anna@guarded"
        )
    assert (server.host, server.port) == ("127.0.0.1", str(guarded.port))


def test_the_maintenance_database_is_on_the_same_server(guarded, aliased):
    server = server_of(anna(guarded, aliased))

    with server.maintenance(application_name="test") as connection:
        assert scalar(connection, "SELECT current_database()") == "postgres"


def test_a_wrong_password_is_told_and_never_shown(guarded, aliased):
    server = server_of(anna(guarded, aliased, password="wr0ng-pass"))

    with pytest.raises(DatabaseUnavailable, match="password authentication failed") as failure:
        server.connect(application_name="test")

    assert "wr0ng-pass" not in str(failure.value) + repr(server) + repr(failure.value.__context__)


def test_a_server_that_is_not_there_is_told(aliased):
    server = server_of(aliased("postgresql://anna:geheim@127.0.0.1:1/guarded"))

    with pytest.raises(DatabaseUnavailable, match="cannot be reached as anna") as failure:
        server.connect(application_name="test")

    assert "geheim" not in str(failure.value)


def test_programs_log_in_by_a_password_file_that_goes_again(guarded, aliased):
    server = server_of(anna(guarded, aliased))

    with server.environment() as env:
        passfile = Path(env["PGPASSFILE"])
        assert passfile.stat().st_mode & 0o777 == 0o600
        assert PASSWORD not in str(env) and "PGPASSWORD" not in env
        path = {"PATH": os.environ["PATH"]}
        done = subprocess.run(
            [guarded.bindir / "psql", "--no-password", "-Atc", "SELECT current_user"],
            env=path | env,
            capture_output=True,
            text=True,
        )

    assert done.stdout == "anna\n", done.stderr
    assert not passfile.exists()


def test_the_role_that_django_assumes_is_assumed(guarded, aliased):
    guarded.create_role("owner")
    guarded.execute("GRANT owner TO anna")
    try:
        server = server_of(anna(guarded, aliased, assume_role="owner"))
        with server.connect(application_name="test") as connection:
            assert scalar(connection, "SELECT current_user") == "owner"
    finally:
        guarded.execute("DROP ROLE owner")


def test_a_role_that_may_not_be_assumed_is_told(guarded, aliased):
    server = server_of(anna(guarded, aliased, assume_role="postgres"))

    with pytest.raises(DatabaseUnavailable, match="permission denied to set role"):
        server.connect(application_name="test")


def test_the_direct_url_wins_for_the_default_alias(guarded, aliased, settings):
    aliased("postgresql://nobody@127.0.0.1:1/pooled", "default", connect_timeout=1)
    settings.DEPLOY_OPS_DIRECT_DATABASE_URL = (
        f"postgresql://postgres@/guarded?host={guarded.directory}&port={guarded.port}"
    )

    configured = dict(connections["default"].settings_dict)

    with server_of("default").connect(application_name="test") as connection:
        assert scalar(connection, "SELECT current_user") == "postgres"
    with direct_connection("default"), direct_connection("default"):
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT current_user || '@' || current_database()")
            assert cursor.fetchone() == ("postgres@guarded",)

    assert connections["default"].connection is None
    assert connections["default"].settings_dict == configured


def test_a_direct_connection_is_one_threads_own(guarded, aliased, settings):
    aliased("postgresql://nobody@127.0.0.1:1/pooled", "default", connect_timeout=1)
    settings.DEPLOY_OPS_DIRECT_DATABASE_URL = (
        f"postgresql://postgres@/guarded?host={guarded.directory}&port={guarded.port}"
    )

    with direct_connection("default"), ThreadPoolExecutor(1) as pool:
        seen = pool.submit(lambda: connections["default"].settings_dict["NAME"]).result()

    assert seen == "pooled"
    assert server_of("default").dbname == "guarded"
    assert application_server_of("default").dbname == "pooled"


@pytest.mark.parametrize("url", ["no url at all", "postgresql://anna:geheim@[::1/x"])
def test_an_invalid_direct_url_is_told_without_its_password(aliased, settings, url):
    aliased("postgresql://nobody@127.0.0.1:1/pooled", "default")
    settings.DEPLOY_OPS_DIRECT_DATABASE_URL = url

    with pytest.raises(ConfigurationError, match="not a PostgreSQL URL") as failure:
        server_of("default")

    assert "geheim" not in str(failure.value)


def test_a_direct_url_without_a_database_is_told(aliased, settings):
    aliased("postgresql://nobody@127.0.0.1:1/pooled", "default")
    settings.DEPLOY_OPS_DIRECT_DATABASE_URL = "postgresql://anna@localhost"

    with pytest.raises(ConfigurationError, match="names no database"):
        server_of("default")


@pytest.fixture
def pooler_in(guarded):
    """Start PgBouncer in front of the cluster in a pool mode; its port."""
    with ExitStack() as started:
        yield lambda mode, **options: started.enter_context(
            pooler(guarded, mode, "postgres", **options)
        )


@pytest.mark.parametrize("turns", [0, 1])
def test_a_pooler_in_transaction_mode_is_refused(pooler_in, aliased, turns):
    port = pooler_in("transaction", server_round_robin=turns, min_pool_size=3)
    alias = aliased(f"postgresql://anna@127.0.0.1:{port}/guarded")
    server = server_of(alias)

    with pytest.raises(PoolerRefused, match="DEPLOY_OPS_DIRECT_DATABASE_URL"):
        refuse_pooler(server)


def test_a_pooler_in_session_mode_is_as_good_as_none(pooler_in, aliased):
    port = pooler_in("session")

    refuse_pooler(server_of(aliased(f"postgresql://anna@127.0.0.1:{port}/guarded")))


def test_a_direct_connection_is_no_pooler(guarded, aliased):
    refuse_pooler(server_of(anna(guarded, aliased)))
