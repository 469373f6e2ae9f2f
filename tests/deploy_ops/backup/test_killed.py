"""A backup that is killed, starved of disk, or kept from its key: what the next one finds."""

import base64
import os
import shutil
import signal
import subprocess
import time
from contextlib import closing

import pytest

from deploy_ops.backup.workspace import open_workspace, owner_of, sweep

MEGABYTE = 1024 * 1024


@pytest.fixture
def big(sqlite_project):
    """A project whose database takes a while to save."""
    sqlite_project.run("migrate", check=0)
    with closing(sqlite_project.database.connect()) as connection:
        connection.execute("CREATE TABLE scan (content blob)")
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO scan VALUES (randomblob(?))", [(MEGABYTE,) for _ in range(200)]
        )
        connection.execute("COMMIT")
    return sqlite_project


def names(directory):
    return sorted(path.name for path in directory.iterdir() if path.is_dir())


def wait_for_partial(project):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if any(
            (project.backups_dir / name / "database").exists()
            for name in names(project.backups_dir)
        ):
            return
        time.sleep(0.002)
    raise AssertionError("no backup began")


@pytest.mark.parametrize("delay", [0, 0.05, 0.15, 0.3, 0.45, 0.6])
def test_kill_9_at_any_moment_leaves_a_whole_backup_or_none(big, delay):
    process = big.start("backup")
    wait_for_partial(big)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)
    big.finish(process)
    entries = big.json("backups", "list", check=0)["backups"]
    complete = [entry["id"] for entry in entries if entry["state"] == "complete"]
    for backup_id in complete:
        big.run("backups", "verify", backup_id, "--level", "hash", check=0)
    result = big.json("backup", check=0)
    assert names(big.backups_dir) == sorted([*complete, result["backup"]])


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_end_leaves_nothing(big, kind):
    process = big.start("backup")
    wait_for_partial(big)
    process.send_signal(kind)
    result = big.finish(process)
    if result.code == 0:
        pytest.fail("the backup was faster than the signal")
    assert result.code == 1 and "stopped by the operator" in result.stderr
    assert "The database was not changed" in result.stderr
    assert names(big.backups_dir) == []


def test_pg_dump_does_not_outlive_a_killed_backup(postgresql_project):
    project = postgresql_project
    project.run("migrate", check=0)
    project.database.execute(
        "CREATE TABLE scan AS SELECT i, md5(i::text) AS t FROM generate_series(1, 600000) i"
    )
    process = project.start("backup")
    wait_for_partial(project)
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGKILL)
    project.finish(process)
    deadline = time.monotonic() + 10
    while str(project.backups_dir) in (seen := commands()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert str(project.backups_dir) not in seen
    backup = project.json("backup", check=0)["backup"]
    assert names(project.backups_dir)[-1] == backup
    assert not [name for name in names(project.backups_dir) if name.startswith(".partial")]


def commands():
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def test_what_a_live_process_fills_is_not_swept(tmp_path):
    with open_workspace(tmp_path, ".partial-live") as workspace:
        assert str(os.getpid()) in owner_of(workspace.path)
        (tmp_path / ".partial-dead").mkdir()
        (tmp_path / ".opened-dead").mkdir()
        (tmp_path / ".deleted-x").mkdir()
        (tmp_path / "20260131T020000Z-0123abcd").mkdir()
        assert sorted(sweep(tmp_path)) == [".deleted-x", ".opened-dead", ".partial-dead"]
        assert workspace.path.exists()
    assert names(tmp_path) == ["20260131T020000Z-0123abcd"]


def test_one_that_was_renamed_but_not_finished_is_swept_once_its_process_is_dead(tmp_path):
    with open_workspace(tmp_path, ".partial-x") as workspace:
        workspace.rename(tmp_path / "20260131T020000Z-0123abcd")
        assert sweep(tmp_path) == []
        copy = tmp_path / "20260131T020000Z-11111111"
        shutil.copytree(workspace.path, copy)
        assert sweep(tmp_path) == [copy.name]


@pytest.fixture
def small_disk(project):
    """DEPLOY_OPS_BACKUP_DIR on a tmpfs of 8 MB."""
    directory = project.backups_dir
    argv = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", str(directory)]
    if os.geteuid() != 0 or subprocess.run(argv, check=False, capture_output=True).returncode:
        pytest.skip("NOT TESTED WITH A FULL DISK: mounting a tmpfs needs root")
    project.run("migrate", check=0)
    yield project
    subprocess.run(["umount", str(directory)], check=True)


def fill(project, megabytes):
    """Random rows, which no dump makes smaller."""
    project.database.execute("CREATE TABLE scan (content text)")
    with closing(project.database.connect()) as connection:
        mark = "%s" if project.database.vendor == "postgresql" else "?"
        connection.execute("BEGIN")
        for _ in range(megabytes):
            text = base64.b64encode(os.urandom(MEGABYTE)).decode()
            connection.execute(f"INSERT INTO scan VALUES ({mark})", [text])
        connection.execute("COMMIT")


@pytest.mark.parametrize("database", ["sqlite", "pg15"], indirect=True)
def test_a_disk_that_is_too_small_is_told_before(small_disk):
    fill(small_disk, 30)
    result = small_disk.run("backup", check=1)
    assert "has 8.4 MB free, and the backup needs about" in result.stderr
    assert "python manage.py backups prune" in result.stderr
    assert names(small_disk.backups_dir) == []


@pytest.mark.parametrize("database", ["sqlite", "pg15"], indirect=True)
def test_a_disk_that_fills_up_meanwhile_keeps_the_older_backup(small_disk):
    """The second backup is expected to need as much as the first, and needs more."""
    first = small_disk.json("backup", check=0)["backup"]
    fill(small_disk, 12)
    result = small_disk.run("backup", check=1)
    assert "MB free, and the backup needs" in result.stderr, result
    assert "Older backups were not removed" in result.stderr
    assert "database was not changed" in result.stderr
    assert names(small_disk.backups_dir) == [first]
    assert small_disk.json("backups", "list", check=0)["backups"][0]["state"] == "complete"


def test_the_key_is_in_no_output_argument_or_traceback(sqlite_project, tmp_path):
    project = sqlite_project
    project.run("migrate", check=0)
    key = base64.b64encode(os.urandom(32)).decode()
    path = tmp_path / "backup.key"
    path.write_text(f"2026:{key}\n")
    path.chmod(0o600)
    project.env["DEPLOY_OPS_BACKUP_KEY_FILE"] = str(path)
    seen = [project.run("backup", "--traceback", check=0)]
    seen.append(project.run("backups", "show", "latest", "--format", "json", check=0))
    path.write_text(f"2026:{base64.b64encode(os.urandom(32)).decode()}\n")
    seen.append(project.run("backups", "--traceback", "verify", "latest", check=1))
    assert "this host has another key under that id" in seen[-1].stderr
    path.write_text(f"2026:{key[:-4]}\n")
    seen.append(project.run("backup", "--traceback", check=1))
    assert all(key[:-4] not in result.stdout + result.stderr for result in seen)
