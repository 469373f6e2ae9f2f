"""A database that a killed swap left closed is found by any host, and one closed on purpose is not."""

import signal
import time

import pytest

from deploy_ops.databases import database_for
from deploy_ops.databases.postgresql import closing, swap
from deploy_ops.databases.postgresql.closing import Mark
from deploy_ops.databases.postgresql.server import server_of
from deploy_ops.errors import RestoreFailed

postgresql = pytest.mark.parametrize("database", ["pg15", "pg18"], indirect=True)
postgresql_15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)
COMMENT = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
CLOSED = "SELECT datname FROM pg_database WHERE NOT datallowconn AND datname LIKE %s"
OPEN = "SELECT datallowconn FROM pg_database WHERE datname = %s"


@pytest.fixture
def live(django_alias):
    return database_for(django_alias)


@pytest.fixture
def beside(live, database):
    name = live.name_beside("restoring_20260131T020000Z")
    database.cluster.execute(f'CREATE DATABASE "{name}" OWNER app')
    return name


@pytest.fixture
def previous(live):
    return live.name_beside("before_restore_20260131T020000Z")


def comment(database, name):
    return database.cluster.execute(COMMENT, [name])[0][0]


def is_open(database, name):
    return database.cluster.execute(OPEN, [name])[0][0]


def close(alias, database, beside, previous):
    with server_of(alias).maintenance(application_name="test") as connection:
        closing.close(
            connection,
            database.name,
            Mark("swap", database.name, beside, previous, "0", "me", "now"),
        )


@postgresql
@pytest.mark.parametrize("text", [None, "Reisekosten", "zwei\nZeilen -- closed by deploy_ops: "])
def test_comment_is_given_back(database, live, beside, previous, text, django_alias):
    value = "NULL" if text is None else f"'{text}'"
    database.execute(f'COMMENT ON DATABASE "{database.name}" IS {value}')
    close(django_alias, database, beside, previous)
    assert not is_open(database, database.name)
    assert "closed by deploy_ops" in comment(database, database.name)

    report = live.repair_marked()

    assert "A restore by me, begun now, had been cut off. The swap had not taken place" in report
    assert f"{database.name} had stayed closed and is open again" in report
    assert f"kept as {beside}" in report
    assert is_open(database, database.name) and comment(database, database.name) == text
    assert live.repair_marked() == ""


@postgresql
def test_a_swap_leaves_no_mark(database, live, beside, previous):
    database.execute(f"COMMENT ON DATABASE \"{database.name}\" IS 'Reisekosten'")
    live.swap(beside, previous, before=lambda: None)
    assert comment(database, previous) == "Reisekosten" and is_open(database, previous)
    assert live.repair_marked() == "" and not live.is_left_closed()


@postgresql
@pytest.mark.parametrize(
    "statement",
    [
        'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false',
        'GRANT CONNECT ON DATABASE "{name}" TO PUBLIC',
    ],
)
def test_one_that_somebody_altered_since_is_not_opened(
    database, live, beside, previous, django_alias, statement
):
    close(django_alias, database, beside, previous)
    database.cluster.execute(statement.format(name=database.name))

    report = live.repair_marked()

    assert not is_open(database, database.name)
    assert "somebody has altered it since" in report
    assert f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS true;' in report


@postgresql_15
def test_one_that_an_administrator_closed_is_not_opened(database, live):
    database.cluster.execute(f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS false')
    assert live.repair_marked() == "" and not live.is_left_closed()
    assert not is_open(database, database.name)


@postgresql_15
def test_vacuum_does_not_pass_for_an_alteration(database, live, beside, previous, django_alias):
    close(django_alias, database, beside, previous)
    for table in ("pg_database", "pg_shdescription"):
        database.cluster.execute(f"VACUUM (FREEZE, FULL) {table}")
    assert "is open again" in live.repair_marked()


@postgresql_15
def test_mark_that_cannot_be_read_is_passed_over(database, live):
    text = closing.HEAD + '{"live": 3}'
    database.execute(f"COMMENT ON DATABASE \"{database.name}\" IS '{text}'")
    assert live.repair_marked() == ""


KILL = """
import os, signal
from deploy_ops.databases.postgresql import {module}
original = {module}.{function}
def fatal(*args, **options):
    if "{moment}" == "after":
        original(*args, **options)
    os.kill(os.getpid(), signal.SIGKILL)
{module}.{function} = fatal
from django.core.management import call_command
call_command("restore", "latest", "--noinput", "--confirm", "{name}")
"""
STEPS = {
    "closed": ("closing", "close", "after"),
    "closed_and_empty": ("swap", "rename", "before"),
    "renamed_and_closed": ("swap", "rename", "after"),
}


@postgresql
@pytest.mark.parametrize(
    ("step", "command"),
    # After the renames the live database is open; only the previous one is not.
    [(step, "restore") for step in STEPS]
    + [("closed", "safe_migrate"), ("closed_and_empty", "safe_migrate")],
)
def test_any_host_with_any_directory_finds_and_opens_it(project, database, tmp_path, step, command):
    project.run("migrate", check=0)
    project.run("backup", check=0)
    module, function, moment = STEPS[step]
    code = KILL.format(module=module, function=function, moment=moment, name=database.name)
    assert project.run("shell", "-c", code).code == -signal.SIGKILL
    [closed] = database.cluster.execute(CLOSED, [f"{database.name}%"])
    assert closed[0].startswith(database.name) and (closed[0] == database.name) == (
        step != "renamed_and_closed"
    )
    elsewhere = {
        "DEPLOY_OPS_STATE_DIR": str(tmp_path / "other"),
        "DEPLOY_OPS_BACKUP_DIR": str(tmp_path / "backups"),
    }

    result = project.run(command, env=elsewhere, check=0)

    assert "had been cut off" in result.stdout and "is open again" in result.stdout
    assert [name for name in database.databases() if name != database.name][0] in result.stdout
    assert database.cluster.execute(CLOSED, [f"{database.name}%"]) == []
    # The host that it was killed on, later: there is nothing to open, and its files go.
    later = project.run("restore", check=0)
    assert "had been cut off" in later.stdout and "is open again" not in later.stdout
    assert not list((project.ops_dir / "restores").iterdir())


@postgresql
def test_a_prepared_transaction_stops_it_before_anybody_is_kept_out(
    database, live, beside, previous
):
    with database.connect() as connection:
        connection.execute("BEGIN; CREATE TABLE x (); PREPARE TRANSACTION 'it''s mine'")
    started = time.monotonic()
    with pytest.raises(RestoreFailed) as failure:
        live.swap(beside, previous, before=lambda: pytest.fail("closed"))
    assert time.monotonic() - started < 1
    assert '"it\'s mine" of app' in str(failure.value)
    assert "ROLLBACK PREPARED 'it''s mine';" in str(failure.value)
    assert is_open(database, database.name)
    database.execute("ROLLBACK PREPARED 'it''s mine'")


@postgresql
def test_a_transaction_prepared_meanwhile_stops_it_at_once(database, live, beside, previous):
    other = database.connect()

    def prepare():
        # A session of a role that may be ended can still prepare in its last moment.
        with server_of(live.alias).maintenance(application_name="test") as admin:
            closing._allow(admin, database.name, True)
            with database.connect() as late:
                late.execute("BEGIN; CREATE TABLE y (); PREPARE TRANSACTION 'late'")
            closing._allow(admin, database.name, False)

    started = time.monotonic()
    with pytest.raises(RestoreFailed, match="prepared transactions: .late"):
        live.swap(beside, previous, before=prepare)
    assert time.monotonic() - started < 2
    assert is_open(database, database.name)
    database.execute("ROLLBACK PREPARED 'late'")
    other.close()


@postgresql
def test_a_swap_that_lost_the_lock_is_ended_before_the_door_is_opened(
    database, live, beside, previous, django_alias
):
    """Else somebody could write between its proof that nobody did and its renaming."""
    report = []

    def repaired_by_another_host():
        report.append(swap.repair_marked(server_of(django_alias)))

    with pytest.raises(RestoreFailed, match="The swap was cut off: "):
        live.swap(beside, previous, before=repaired_by_another_host)

    assert "is open again" in report[0]
    assert is_open(database, database.name) and not database.exists(previous)


@postgresql_15
def test_the_door_is_closed_for_no_longer_than_its_limit(
    database, live, beside, previous, monkeypatch
):
    """A session that cannot be ended and a proof that takes long: both are cut off."""
    monkeypatch.setattr(swap, "DOOR", swap.DOOR / 10)
    started = time.monotonic()
    with pytest.raises(RestoreFailed, match="not within 1 s: what came before took all"):
        live.swap(beside, previous, before=lambda: time.sleep(1.1))
    assert time.monotonic() - started < 3
    assert is_open(database, database.name)
