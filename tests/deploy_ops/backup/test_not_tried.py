"""What could not be tried proves nothing: the backup is no worse than before, and still `latest`."""

import signal
import time

import pytest

from deploy_ops.backup import verification
from deploy_ops.backup.catalog import find_backup, find_entry
from deploy_ops.backup.entry import Level
from deploy_ops.backup.methods.pg_dump import archive, load
from deploy_ops.backup.verification import verify_backup
from deploy_ops.errors import BackupCorrupt, BackupError, DeployOpsError, ProgramError
from tests.clusters import PostgresCluster
from tests.project.databases import PostgresDatabase
from tests.project.runner import Project

postgresql_15 = pytest.mark.parametrize("database", ["pg15"], indirect=True)


def is_still_latest(backup, alias) -> bool:
    return find_backup(alias, "latest").id == backup.id and backup.failure is None


@postgresql_15
@pytest.mark.parametrize("cause", ["createdb", "extension", "pg_restore", "signal"])
def test_what_is_missing_here_says_nothing_about_a_backup(
    take, django_alias, database, cause, settings, tmp_path, monkeypatch
):
    database.execute("CREATE EXTENSION citext")
    backup = take()
    program = tmp_path / "pg_restore"
    if cause == "createdb":
        database.cluster.execute("ALTER ROLE app NOCREATEDB")
    elif cause == "extension":  # it was there when the preflight looked
        monkeypatch.setattr(load, "_pg_restore", lambda *args: ["false"])
    else:
        real = database.cluster.bindir / "pg_restore"
        end = "kill -9 $$" if cause == "signal" else "exit 127"
        program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec {real} --version\n{end}\n')
        program.chmod(0o755)
        for name in ("psql", "pg_dump"):
            (tmp_path / name).symlink_to(database.cluster.bindir / name)
        settings.DEPLOY_OPS_PG_BIN = {15: str(tmp_path)}
    try:
        with pytest.raises(DeployOpsError) as failure:
            verify_backup(backup, Level.RESTORE, alias=django_alias)
    finally:
        database.cluster.execute("ALTER ROLE app CREATEDB")

    assert not isinstance(failure.value, BackupCorrupt)
    assert is_still_latest(backup, django_alias)
    assert database.databases() == [database.name]


def test_a_server_killed_in_the_middle_of_a_verification(tmp_path):
    cluster = PostgresCluster(15).start()
    try:
        url = cluster.create_database(name="trips")
        project = Project(tmp_path, PostgresDatabase(cluster, "trips", url))
        project.database.execute(
            "CREATE TABLE trip AS SELECT i, md5(i::text) FROM generate_series(1, 600000) i"
        )
        backup = project.json("backup", check=0)["backup"]
        verifying = project.start("backups", "verify", backup, "--level", "restore")
        deadline = time.monotonic() + 30
        while len(cluster.databases()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        cluster._postmaster.send_signal(signal.SIGQUIT)
        result = project.finish(verifying)
        listed = project.json("backups", "list", check=0)
    finally:
        cluster.stop()

    assert result.code == 1 and "Traceback" not in result.stderr
    assert 'DROP DATABASE "trips_verify_' in result.stderr
    assert [entry["state"] for entry in listed["backups"]] == ["complete"]


@postgresql_15
def test_a_verification_that_was_killed(project):
    project.database.execute(
        "CREATE TABLE trip AS SELECT i, md5(i::text) FROM generate_series(1, 300000) i"
    )
    backup = project.json("backup", check=0)["backup"]
    verifying = project.start("backups", "verify", backup, "--level", "restore")
    deadline = time.monotonic() + 30
    while len(project.database.databases()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    verifying.kill()
    verifying.wait()

    listed = project.json("backups", "list", check=0)

    assert [entry["state"] for entry in listed["backups"]] == ["complete"]
    pruned = project.json("backups", "prune", "--previous-databases", "--min-age", "0s", "--delete")
    assert len(pruned["drop"]) == 1
    assert project.database.databases() == [project.database.name]


@pytest.mark.parametrize("database", ["sqlite", "pg15"], indirect=True)
def test_a_file_that_cannot_be_read_now_is_not_damaged(take, django_alias, monkeypatch):
    backup = take()

    def fail(directory):
        raise PermissionError(13, "Permission denied", str(directory))

    monkeypatch.setattr(verification, "describe_files", fail)
    with pytest.raises(BackupError, match="says nothing about its contents"):
        verify_backup(backup, Level.HASH, alias=django_alias)

    assert is_still_latest(backup, django_alias)


@postgresql_15
def test_only_pg_restores_own_failure_speaks_of_the_archive(take, django_alias, monkeypatch):
    backup = take()

    def killed(argv):
        raise ProgramError("killed", -9)

    monkeypatch.setattr(archive, "run", killed)
    with pytest.raises(ProgramError):
        verify_backup(backup, Level.READ, alias=django_alias)

    assert is_still_latest(backup, django_alias)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_lower_level_does_not_make_a_corrupt_backup_whole(take, django_alias):
    backup = take()
    victim = max(backup.directory.glob("database/*"), key=lambda path: path.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[100] ^= 1
    victim.write_bytes(content)
    with pytest.raises(BackupCorrupt):
        verify_backup(backup, Level.HASH, alias=django_alias)

    verify_backup(backup, Level.MANIFEST, alias=django_alias)
    assert find_entry(backup.id).state == "corrupt"

    content[100] ^= 1
    victim.write_bytes(content)
    verify_backup(backup, Level.HASH, alias=django_alias)
    assert find_entry(backup.id).state == "complete"
