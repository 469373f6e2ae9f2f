"""Proving a backup later: each level finds what it promises to find."""

import gzip
import os
import shutil
from dataclasses import replace

import pytest
from django.core.files.storage import FileSystemStorage

from deploy_ops.backup import verification
from deploy_ops.backup.catalog import find_entry
from deploy_ops.backup.encryption import Keyring
from deploy_ops.backup.entry import Level
from deploy_ops.backup.manifest import describe_files
from deploy_ops.backup.methods import method_for
from deploy_ops.backup.verification import verify_backup
from deploy_ops.errors import BackupCorrupt, ConfigurationError, RestoreRefused
from tests.deploy_ops.backup.manifests import rewrite

LEVELS = list(Level)


def biggest(backup):
    files = backup.manifest.files
    return backup.directory / max(files, key=lambda path: files[path].size)


@pytest.mark.parametrize("level", LEVELS)
def test_a_sound_backup_passes_every_level_and_remembers_it(take, django_alias, level, database):
    backup = take()
    assert verify_backup(backup, level, alias=django_alias).level is level
    assert backup.verifications[-1]["level"] == level
    assert backup.level is max(level, Level.READ, key=lambda each: each.rank)
    assert len(database.databases()) == 1


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 0x55
    path.write_bytes(content)


DAMAGE = {
    "file gone": (lambda b: biggest(b).unlink(), Level.MANIFEST, "is missing"),
    "file cut": (lambda b: os.truncate(biggest(b), 100), Level.MANIFEST, "has 100 bytes"),
    "file empty": (lambda b: os.truncate(biggest(b), 0), Level.MANIFEST, "has 0 bytes"),
    "file longer": (
        lambda b: biggest(b).write_bytes(biggest(b).read_bytes() + b"\0"),
        Level.MANIFEST,
        "recorded are",
    ),
    "file added": (
        lambda b: (b.directory / "database/extra").touch(),
        Level.MANIFEST,
        "database/extra is not in the manifest",
    ),
    "file added at the top": (
        lambda b: (b.directory / "evil.sh").touch(),
        Level.MANIFEST,
        "evil.sh is not in the manifest",
    ),
    "file replaced by a link": (
        lambda b: (biggest(b).rename(b.directory.parent / "x"), biggest(b).symlink_to("../../x")),
        Level.MANIFEST,
        "bytes",
    ),
    "first byte": (lambda b: flip(biggest(b), 0), Level.HASH, "was changed"),
    "middle byte": (
        lambda b: flip(biggest(b), biggest(b).stat().st_size // 2),
        Level.HASH,
        "was changed",
    ),
    "last byte": (lambda b: flip(biggest(b), -1), Level.HASH, "was changed"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("level", LEVELS[:3])
@pytest.mark.parametrize("database", ["sqlite", "pg15"], indirect=True)
def test_damage_is_found_from_its_level_on(take, django_alias, damage, level):
    backup = take()
    hurt, found_at, message = DAMAGE[damage]
    hurt(backup)
    if level.rank < found_at.rank:
        verify_backup(backup, level, alias=django_alias)
        return
    with pytest.raises(BackupCorrupt, match=message):
        verify_backup(backup, level, alias=django_alias)
    assert find_entry(backup.id).state == "corrupt"


@pytest.mark.parametrize("database", ["pg15"], indirect=True)
def test_reading_finds_damage_that_was_hashed(take, django_alias):
    """The dump was bad before it was hashed: only reading it as a restore does can tell."""
    backup = take()
    data = next(backup.directory.glob("database/*.gz"))
    content = gzip.decompress(data.read_bytes())
    data.write_bytes(gzip.compress(content)[:-6])
    backup = rewrite(backup, files=describe_files(backup.directory))
    verify_backup(backup, Level.HASH, alias=django_alias)
    with pytest.raises(BackupCorrupt):
        verify_backup(backup, Level.READ, alias=django_alias)


@pytest.mark.parametrize("change", ["counts", "migrations", "sequences"])
def test_restoring_finds_what_was_recorded_wrongly(take, django_alias, database, change):
    backup = take()
    counts = {name: 4 for name in backup.manifest.counts}
    wrong = {
        "counts": (counts, "rows of .*trip: 3 restored, 4 recorded"),
        "migrations": ((("app", "0001_initial"),), "migration app.0001_initial differs"),
        "sequences": ({"some_sequence": 7}, "some_sequence: None restored, 7 recorded"),
    }[change]
    backup = rewrite(backup, **{change: wrong[0]})
    verify_backup(backup, Level.READ, alias=django_alias)
    with pytest.raises(BackupCorrupt, match=wrong[1]):
        verify_backup(backup, Level.RESTORE, alias=django_alias)
    assert len(database.databases()) == 1


def test_migrations_that_the_backup_lacks_are_told(take, django_alias):
    pending = verify_backup(take(), Level.RESTORE, alias=django_alias).pending
    assert "contenttypes.0001_initial" in pending


def test_the_scratch_database_is_dropped_even_when_checking_fails(
    take, django_alias, database, monkeypatch
):
    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(verification, "_check_rows", fail)
    with pytest.raises(KeyboardInterrupt):
        verify_backup(take(), Level.RESTORE, alias=django_alias)
    assert len(database.databases()) == 1


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_cannot_be_tried_says_nothing_about_the_backup(take, django_alias, monkeypatch):
    backup = take()
    method = type(method_for(django_alias))
    monkeypatch.setattr(
        method, "check_restore", lambda *args, **kwargs: ["There is no free space."]
    )
    with pytest.raises(RestoreRefused, match="There is no free space"):
        verify_backup(backup, Level.RESTORE, alias=django_alias)
    assert backup.failure is None


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_backup_of_another_kind_of_database_is_not_read_with_this_one(take, django_alias):
    backup = take()
    backup = rewrite(backup, database=replace(backup.manifest.database, engine="postgresql"))
    with pytest.raises(RestoreRefused, match="--database ALIAS"):
        verify_backup(backup, Level.READ, alias=django_alias)


class TestEncrypted:
    @pytest.fixture(autouse=True)
    def key_file(self, settings, tmp_path):
        settings.DEPLOY_OPS_BACKUP_KEY_FILE = tmp_path / "key"
        (tmp_path / "key").write_text("2026:" + 43 * "A" + "=\n")
        (tmp_path / "key").chmod(0o600)
        return tmp_path / "key"

    @pytest.mark.parametrize("level", LEVELS)
    def test_every_level_passes_and_leaves_nothing_plain(
        self, take, django_alias, level, backup_dir
    ):
        backup = take()
        verify_backup(backup, level, alias=django_alias)
        assert [path.name for path in backup_dir.iterdir() if path.is_dir()] == [backup.id]

    @pytest.mark.parametrize("database", ["sqlite"], indirect=True)
    def test_after_rotation_old_backups_are_read_with_their_own_key(
        self, take, django_alias, key_file
    ):
        old = take()
        key_file.write_text("2027:" + 43 * "B" + "=\n" + key_file.read_text())
        new = take()
        assert [b.manifest.encryption.key for b in (old, new)] == ["2026", "2027"]
        for backup in (old, new):
            verify_backup(backup, Level.RESTORE, alias=django_alias)

    @pytest.mark.parametrize("database", ["sqlite"], indirect=True)
    def test_without_its_key_a_backup_is_not_called_corrupt(self, take, django_alias, settings):
        backup = take()
        settings.DEPLOY_OPS_BACKUP_KEY_FILE = None
        verify_backup(backup, Level.HASH, alias=django_alias)
        with pytest.raises(ConfigurationError, match="encrypted with key '2026'"):
            verify_backup(backup, Level.READ, alias=django_alias)
        assert backup.failure is None

    @pytest.mark.parametrize("database", ["sqlite"], indirect=True)
    def test_two_encrypted_files_swapped_and_hashed_anew_are_found(
        self, take, django_alias, settings, tmp_path
    ):
        settings.MEDIA_ROOT = str(tmp_path / "uploads")
        (tmp_path / "uploads").mkdir()
        (tmp_path / "uploads" / "a").write_bytes(b"a")
        (tmp_path / "uploads" / "b").write_bytes(b"b")
        backup = take(media=True)
        a, b = backup.directory / "media/a", backup.directory / "media/b"
        a.rename(tmp_path / "a"), b.rename(a), (tmp_path / "a").rename(b)
        backup = rewrite(backup, files=describe_files(backup.directory))
        verify_backup(backup, Level.HASH, alias=django_alias)
        with pytest.raises(BackupCorrupt, match="swapped"):
            verify_backup(backup, Level.READ, alias=django_alias)

    @pytest.mark.parametrize("is_here", [True, False], ids=["here", "only in the storage"])
    @pytest.mark.parametrize("database", ["sqlite"], indirect=True)
    def test_a_drill_fetches_and_decrypts_each_file_once(
        self, take, django_alias, settings, tmp_path, monkeypatch, is_here
    ):
        backend = "django.core.files.storage.FileSystemStorage"
        options = {"location": str(tmp_path / "copies")}
        copies = {"backups": {"BACKEND": backend, "OPTIONS": options}}
        settings.STORAGES = settings.STORAGES | copies
        backup = take()
        if not is_here:
            shutil.rmtree(backup.directory)
        done = []
        follow(monkeypatch, FileSystemStorage, "open", lambda name: ("fetch", name), done)
        follow(monkeypatch, Keyring, "decrypt", lambda path, name: ("decrypt", name), done)
        verify_backup(backup, Level.RESTORE, alias=django_alias)
        file = f"{backup.id}/database/database.sqlite3"
        assert done == [("fetch", file), ("decrypt", file)]


def follow(monkeypatch, kind, method, entry, done):
    """Note each call and let it happen."""
    real = getattr(kind, method)

    def noting(self, *args):
        done.append(entry(*args))
        return real(self, *args)

    monkeypatch.setattr(kind, method, noting)
