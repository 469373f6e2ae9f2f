"""PgBouncer is paused for a swap, and goes on whatever happens to it."""

import threading
import time
from contextlib import contextmanager, suppress
from datetime import timedelta

import psycopg
import pytest
from django.db import connections

from deploy_ops.databases import database_for
from deploy_ops.databases.postgresql import pgbouncer
from deploy_ops.errors import ConfigurationError, RestoreFailed, SwapUnfinished
from tests.conftest import scratch_database
from tests.pooler import pooler

SOON, LATE = timedelta(seconds=0.5), timedelta(seconds=20)


@pytest.fixture
def database(pg15_cluster):
    yield from scratch_database(pg15_cluster)


@pytest.fixture
def address(database):
    with pooler(database.cluster, "transaction", "app", admin_users="app") as port:
        yield f"postgresql://app@127.0.0.1:{port}/"


@pytest.fixture
def live(database, address, settings, monkeypatch):
    """The alias `default` goes through PgBouncer, whose console and what is behind it are known."""
    settings.DEPLOY_OPS_PGBOUNCER_URL = f"{address}pgbouncer"
    settings.DEPLOY_OPS_DIRECT_DATABASE_URL = database.url
    monkeypatch.setattr(pgbouncer, "_name", lambda _alias: database.name)
    return database


@contextmanager
def in_transaction(database, address):
    with psycopg.connect(address + database.name) as session:
        session.execute("SELECT 1")
        yield session


def answers_within(database, address, seconds) -> bool:
    done = threading.Event()

    def ask():
        with suppress(psycopg.OperationalError):  # cut off, when the test is over
            with psycopg.connect(address + database.name, autocommit=True) as session:
                session.execute("SELECT 1")
            done.set()

    threading.Thread(target=ask, daemon=True).start()
    return done.wait(seconds)


def test_clients_wait_for_the_block_and_go_on(live, address):
    # The very first client of a PgBouncer that is paused waits for its server_login_retry, 15 s.
    assert answers_within(live, address, 5)
    with pgbouncer.paused("default", LATE, cuts_off=False):
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        assert live.cluster.execute(sessions, [live.name]) == [(0,)]
        assert not answers_within(live, address, 0.5)
    assert answers_within(live, address, 5)
    assert pgbouncer.resume("default") == ""


def test_a_transaction_that_ends_in_time_is_waited_for(live, address):
    with in_transaction(live, address) as session:
        threading.Timer(0.5, session.commit).start()
        started = time.monotonic()
        with pgbouncer.paused("default", LATE, cuts_off=False):
            assert time.monotonic() - started > 0.4
    assert answers_within(live, address, 5)


def test_a_transaction_that_does_not_end_in_time_stops_the_swap(live, address):
    with in_transaction(live, address) as session:
        with pytest.raises(RestoreFailed, match="did not end within 0 s"):
            with pgbouncer.paused("default", SOON, cuts_off=False):
                pytest.fail("swapped under it")
        assert answers_within(live, address, 5)
        session.execute("SELECT 1")


def test_a_transaction_that_does_not_end_in_time_is_left_to_be_cut_off(live, address):
    with in_transaction(live, address):
        with pgbouncer.paused("default", SOON, cuts_off=True):
            assert not answers_within(live, address, 0.5)
    assert answers_within(live, address, 5)


def test_an_error_of_the_swap_lets_clients_go_on(live, address):
    with pytest.raises(RestoreFailed, match="in between"):
        with pgbouncer.paused("default", LATE, cuts_off=False):
            raise RestoreFailed("in between")
    assert answers_within(live, address, 5)


def test_what_a_kill_has_left_paused_is_resumed_and_said(live, address, settings):
    with psycopg.connect(settings.DEPLOY_OPS_PGBOUNCER_URL, autocommit=True) as console:
        console.execute(f"PAUSE {live.name}".encode())
    assert (
        pgbouncer.resume("default") == f"PgBouncer had stayed paused for {live.name}, and goes on."
    )
    assert answers_within(live, address, 5)


def test_damaged_file_of_a_killed_restore_leaves_nobody_paused(database, address, project):
    project.settings(
        DEPLOY_OPS_PGBOUNCER_URL=f"{address}pgbouncer", DEPLOY_OPS_DIRECT_DATABASE_URL=database.url
    )
    restores = project.ops_dir / "restores"
    restores.mkdir(mode=0o700)
    (restores / "x.json").write_text("{")
    with psycopg.connect(address + database.name, autocommit=True) as session:
        session.execute("SELECT 1")
        with psycopg.connect(f"{address}pgbouncer", autocommit=True) as console:
            console.execute(f"PAUSE {database.name}".encode())
        repaired = project.run("restore", check=0, env={"DATABASE_URL": address + database.name})
        assert "its record x.json, which names the databases" in repaired.stdout
        assert f"PgBouncer had stayed paused for {database.name}, and goes on." in repaired.stdout
        session.execute("SELECT 1")


def test_console_that_does_not_answer_stops_the_swap(live, settings):
    settings.DEPLOY_OPS_PGBOUNCER_URL = "postgresql://app:geheim@127.0.0.1:1/pgbouncer"
    with pytest.raises(RestoreFailed, match="console does not answer") as stopped:
        with pgbouncer.paused("default", SOON, cuts_off=True):
            pytest.fail("swapped")
    assert "geheim" not in str(stopped.value)
    with pytest.raises(SwapUnfinished, match="may still wait") as left:
        pgbouncer.resume("default")
    assert "geheim" not in str(left.value)


def test_user_that_may_not_pause_is_told(database, settings, live):
    with pooler(database.cluster, "transaction", "app", stats_users="app") as port:
        settings.DEPLOY_OPS_PGBOUNCER_URL = f"postgresql://app@127.0.0.1:{port}/pgbouncer"
        with pytest.raises(RestoreFailed, match="needs a user of admin_users"):
            with pgbouncer.paused("default", SOON, cuts_off=True):
                pytest.fail("swapped")


def test_command_that_would_wait_for_itself_is_refused(live, settings):
    settings.DEPLOY_OPS_DIRECT_DATABASE_URL = None
    with pytest.raises(ConfigurationError, match="has to connect to PostgreSQL itself"):
        with pgbouncer.paused("default", SOON, cuts_off=True):
            pytest.fail("swapped")


@pytest.mark.parametrize("url", ["nonsense", "postgresql://anna:geheim@[/x"])
def test_url_that_is_none_is_told_without_its_password(live, settings, url):
    settings.DEPLOY_OPS_PGBOUNCER_URL = url
    with pytest.raises(ConfigurationError, match="is not the URL") as refused:
        with pgbouncer.paused("default", SOON, cuts_off=True):
            pytest.fail("swapped")
    assert "geheim" not in str(refused.value)


def test_other_aliases_and_projects_without_a_console_are_not_concerned(live, settings):
    assert "other" not in connections.databases
    with pgbouncer.paused("other", SOON, cuts_off=False):
        pass
    settings.DEPLOY_OPS_PGBOUNCER_URL = None
    assert pgbouncer.resume("default") == ""
    with database_for("default").paused(SOON, cuts_off=False):
        pass
