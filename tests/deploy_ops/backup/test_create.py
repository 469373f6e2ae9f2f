"""Taking a backup: what lies on disk afterwards, and what does not when it fails."""

import json
import os
import shutil
import stat
import subprocess
from datetime import UTC, datetime

import pytest

from deploy_ops.backup import create, disk_space
from deploy_ops.backup.catalog import find_backup, list_entries
from deploy_ops.backup.create import take_backup
from deploy_ops.backup.entry import Level
from deploy_ops.backup.manifest import SavedMedia, load_manifest
from deploy_ops.backup.methods import method_for
from deploy_ops.databases import database_for
from deploy_ops.errors import (
    BackupFailed,
    ConfigurationError,
    DatabaseUnavailable,
    Interrupted,
    LockLost,
    ProgramError,
)
from deploy_ops.lock import deploy_lock

sqlite_only = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def names_in(backup_dir):
    """Everything in the directory but its own small files."""
    return sorted(
        path.name for path in backup_dir.iterdir() if path.name not in (".lock", ".sequence")
    )


def modes(directory):
    return {stat.S_IMODE(path.stat().st_mode) for path in directory.rglob("*") if path.is_dir()}, {
        stat.S_IMODE(path.stat().st_mode) for path in directory.rglob("*") if path.is_file()
    }


def test_a_backup_is_a_private_directory_with_a_manifest(take, backup_dir):
    backup = take(label="before the move")
    assert names_in(backup_dir) == [backup.id]
    assert modes(backup_dir) == ({0o700}, {0o600})
    manifest = load_manifest((backup.directory / "manifest.json").read_bytes())
    assert manifest == backup.manifest
    assert manifest.label == "before the move"
    assert sum(rows for table, rows in manifest.counts.items() if "trip" in table) == 3
    assert manifest.verified.level == "read"
    assert {"dump", "verify", "hash", "upload"} <= manifest.seconds.keys()
    assert not (backup.directory / "owner").exists()


def test_times_are_utc_and_the_id_begins_with_them(take):
    backup = take()
    age = datetime.now(UTC) - backup.created_at
    assert 0 <= age.total_seconds() < 60
    assert backup.id.startswith(f"{backup.created_at:%Y%m%dT%H%M%SZ}-")


def test_the_backup_remembers_which_database_it_is_of(take, django_alias):
    backup = take()
    assert backup.belongs_to(database_for(django_alias).identify())
    assert backup.manifest.database.alias == django_alias


@sqlite_only
def test_sequences_grow_whatever_the_clock_does(take):
    assert [take().sequence for _ in range(3)] == [1, 2, 3]


@sqlite_only
def test_a_sequence_is_not_used_again_after_its_backup_is_gone(take):
    take()
    shutil.rmtree(take().directory)
    assert take().sequence == 3


@sqlite_only
def test_uploads_are_saved_in_the_same_manifest(take, settings, tmp_path):
    settings.MEDIA_ROOT = str(tmp_path / "uploads")
    (tmp_path / "uploads" / "2026").mkdir(parents=True)
    (tmp_path / "uploads" / "2026" / "Beleg größer.pdf").write_bytes(b"receipt")
    backup = take(media=True)
    assert (backup.directory / "media/2026/Beleg größer.pdf").read_bytes() == b"receipt"
    assert backup.manifest.files["media/2026/Beleg größer.pdf"].size == 7
    assert backup.manifest.media == SavedMedia(files=1, bytes=7, left_out=0)


@sqlite_only
def test_a_directory_that_others_can_read_is_refused(take, backup_dir):
    backup_dir.chmod(0o755)
    with pytest.raises(ConfigurationError, match="mode 0755.*\n +chmod 700"):
        take()
    assert names_in(backup_dir) == []


@sqlite_only
def test_too_little_free_space_is_told_before_anything_is_written(take, backup_dir, monkeypatch):
    usage = shutil.disk_usage(backup_dir)._replace(free=1_000)
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(BackupFailed, match=r"has 0.0 MB free, and the backup needs about 0.\d MB"):
        take()
    assert names_in(backup_dir) == []


@sqlite_only
def test_the_second_backup_needs_what_the_first_one_took(take, django_alias):
    first = take()
    needed = disk_space.expected_bytes(database_for(django_alias).identify())
    assert needed == int(1.2 * first.size_bytes)


def failing(error):
    def fail(*args, **kwargs):
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (
            ProgramError("pg_dump\nwas killed by signal 9:\n(no error output)"),
            BackupFailed,
            "signal 9",
        ),
        (OSError(5, "Input/output error"), BackupFailed, "Input/output error"),
        (OSError(28, "No space left on device"), BackupFailed, "MB free, and the backup needs"),
        (KeyboardInterrupt(), Interrupted, "stopped by the operator"),
        (BackupFailed("The copy stalled."), BackupFailed, "The copy stalled"),
    ],
    ids=["child killed", "I/O error", "disk full", "Ctrl-C", "method gave up"],
)
@pytest.mark.parametrize("step", ["dump", "read_through"])
@sqlite_only
def test_a_failure_leaves_nothing_behind(
    take, backup_dir, django_alias, monkeypatch, step, error, raised, message
):
    monkeypatch.setattr(type(method_for(django_alias)), step, failing(error))
    with pytest.raises(raised, match=message):
        take()
    assert names_in(backup_dir) == []


@sqlite_only
def test_a_lock_that_went_away_means_no_backup(backup_dir, trips, django_alias):
    class Lost:
        def check(self):
            raise LockLost()

    with deploy_lock(django_alias, purpose="backup", shared=True) as lock:
        lost = type(lock)(django_alias, True, (Lost(),))
        with pytest.raises(LockLost):
            take_backup(django_alias, lock=lost)
    assert names_in(backup_dir) == []


@sqlite_only
def test_a_damaged_database_gives_no_backup(take, backup_dir, trips):
    for number in range(2000):
        trips.execute("INSERT INTO trip (purpose, km) VALUES (%s, %s)", ("x" * 50, number))
    with trips.path.open("r+b") as file:
        file.seek(trips.path.stat().st_size // 2)
        file.write(os.urandom(8000))
    with pytest.raises(BackupFailed, match="damaged"):
        take()
    assert names_in(backup_dir) == []


@sqlite_only
def test_a_database_that_is_not_there_is_not_created(backup_dir, database, django_alias):
    with pytest.raises(DatabaseUnavailable, match="cannot be opened"):
        with deploy_lock(django_alias, purpose="backup", shared=True) as lock:
            take_backup(django_alias, lock=lock)
    assert not database.path.exists()


class TestEncrypted:
    @pytest.fixture(autouse=True)
    def key_file(self, settings, tmp_path):
        path = tmp_path / "backup.key"
        key = subprocess.check_output(["openssl", "rand", "-base64", "32"], text=True)
        path.write_text(f"2026:{key}")
        path.chmod(0o600)
        settings.DEPLOY_OPS_BACKUP_KEY_FILE = path
        return path

    def test_nothing_of_the_database_is_readable(self, take):
        backup = take()
        for path in backup.manifest.files:
            content = (backup.directory / path).read_bytes()
            assert b"Hamburg" not in content and b"SQLite" not in content
        assert backup.manifest.encryption.key == "2026"
        assert list(backup.directory.rglob("*.sealed")) == []
        assert modes(backup.directory)[1] == {0o600}

    def test_the_key_is_nowhere_in_the_vault(self, take, backup_dir, key_file):
        take()
        key = key_file.read_text().partition(":")[2].strip().encode()
        assert all(key not in path.read_bytes() for path in backup_dir.rglob("*") if path.is_file())

    @sqlite_only
    def test_encrypting_that_cannot_be_undone_is_no_backup(self, take, backup_dir, monkeypatch):
        monkeypatch.setattr(create.Keyring, "decrypt", lambda *args: iter([b"else"]))
        with pytest.raises(BackupFailed, match="failed the encryption round trip"):
            take()
        assert names_in(backup_dir) == []


def test_the_command_prints_one_json_object(project):
    project.run("migrate", check=0)
    result = project.json("backup", "--label", "nightly", check=0)
    assert result["status"] == "ok"
    assert (project.backups_dir / result["backup"] / "manifest.json").exists()
    assert result["seconds"]["dump"] >= 0
    [entry] = project.json("backups", "list", check=0)["backups"]
    assert (entry["id"], entry["label"], entry["level"]) == (result["backup"], "nightly", "read")


def test_three_at_once_make_three_backups(project):
    project.run("migrate", check=0)
    running = [project.start("backup", "--format", "json") for _ in range(3)]
    results = [project.finish(process) for process in running]
    assert [result.code for result in results] == [0, 0, 0], results
    entries = project.json("backups", "list", check=0)["backups"]
    assert {entry["id"] for entry in entries} == {each.json()["backup"] for each in results}
    assert {entry["state"] for entry in entries} == {"complete"}
    manifests = [
        json.loads(path.read_text()) for path in project.backups_dir.glob("*/manifest.json")
    ]
    assert sorted(manifest["sequence"] for manifest in manifests) == [1, 2, 3]


def test_a_backup_of_an_empty_database_is_one(take, database, trips, django_alias, backup_dir):
    trips.execute("DROP TABLE trip")
    assert take().level is Level.READ
    assert find_backup(django_alias, "latest").manifest.counts == {}
    assert len(list_entries()) == 1
