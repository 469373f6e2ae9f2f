"""127.0.0.1 and localhost are one server, and a file and a link to it are one file."""

import pytest

from deploy_ops.lock import deploy_lock
from deploy_ops.errors import LockHeld

ROLE = "carla"


@pytest.fixture
def url(tcp_cluster):
    """The URL of one database, for a host name."""
    tcp_cluster.create_role(ROLE, password="geheim-4711", createdb=True)
    name = f"{ROLE}_trips"
    tcp_cluster.execute(f"CREATE DATABASE {name} OWNER {ROLE}")
    yield lambda host: tcp_cluster.url(name, ROLE, "geheim-4711").replace("127.0.0.1", host)
    tcp_cluster.drop_databases(name)
    tcp_cluster.execute(f"DROP ROLE {ROLE}")


def test_a_run_killed_under_one_name_is_found_under_the_other(url, sqlite_project):
    project = sqlite_project
    env = {"DATABASE_URL": url("localhost")}
    killed = project.run("safe_migrate", env=env | {"KILL_AT": "journal:finished:before"})
    assert killed.code == -9
    result = project.run("safe_migrate", env={"DATABASE_URL": url("127.0.0.1")}, check=0)
    assert "did not end" in result.stdout and "is resolved" in result.stdout


def test_a_backup_taken_under_one_name_is_the_latest_under_the_other(url, sqlite_project):
    project = sqlite_project
    project.run("migrate", env={"DATABASE_URL": url("localhost")}, check=0)
    backup = project.json("backup", env={"DATABASE_URL": url("localhost")}, check=0)["backup"]
    shown = project.json("backups", "show", "latest", env={"DATABASE_URL": url("127.0.0.1")})
    assert shown["manifest"]["id"] == backup


def test_the_password_file_of_a_killed_program_is_removed_by_the_next(url, sqlite_project):
    project, env = sqlite_project, {"DATABASE_URL": url("localhost")}
    project.run("migrate", env=env, check=0)
    code = """
import os, signal
from deploy_ops.databases.postgresql.server import server_of
with server_of("default").environment() as env:
    assert "geheim-4711" in open(env["PGPASSFILE"]).read()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert project.run("shell", "-c", code, env=env).code == -9
    passwords = project.ops_dir / "passwords"
    assert len(list(passwords.rglob("pgpass"))) == 1
    project.run("backup", env=env, check=0)
    assert [path for path in passwords.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_two_aliases_of_one_file_share_the_lock(database, django_alias, settings, tmp_path):
    from django.db import connections

    settings.DEPLOY_OPS_STATE_DIR = tmp_path / "ops"
    database.execute("CREATE TABLE trip (id integer)")
    link = tmp_path / "link.sqlite3"
    link.symlink_to(database.path)
    other = dict(connections.databases[django_alias])
    connections.databases["other"] = {**other, "NAME": f"file:{link}?mode=rw"}
    try:
        with deploy_lock(django_alias, purpose="backup"):
            with pytest.raises(LockHeld), deploy_lock("other", purpose="restore"):
                pass
    finally:
        del connections["other"], connections.databases["other"]
