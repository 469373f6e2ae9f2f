"""Somebody who can write where backups lie and has no key: nothing of theirs is used as ours."""

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from deploy_ops.backup.authenticity import Trust, host_keys
from deploy_ops.backup.catalog import (
    complete_backups,
    find_backup,
    find_entry,
    list_entries,
    usable,
)
from deploy_ops.backup.encryption import keyring
from deploy_ops.backup.entry import Level, State
from deploy_ops.backup.manifest import Proof, describe_files, dump_manifest
from deploy_ops.backup.opening import opened
from deploy_ops.backup.verification import verify_backup
from deploy_ops.errors import (
    BackupCorrupt,
    BackupNotFound,
    BackupUntrusted,
    ConfigurationError,
    UsageError,
)
from deploy_ops.ids import new_id
from deploy_ops.lock import deploy_lock
from deploy_ops.restore import job as restore_job
from deploy_ops.restore import prepare_in_place, prepare_restore, restore_into
from tests.deploy_ops.backup.manifests import forged, some_manifest

sqlite_only = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
LEVELS = list(Level)


def openssl(*argv):
    subprocess.run(["openssl", *argv], check=True, capture_output=True)


class Keys:
    """The key files of one host, on and off."""

    def __init__(self, settings, directory):
        self._settings = settings
        self.ring = directory / "backup.keys"
        self.signing, self.verify = directory / "signing.pem", directory / "verify.pem"
        self.hold("2026")
        openssl("genpkey", "-algorithm", "ed25519", "-out", self.signing)
        openssl("pkey", "-in", self.signing, "-pubout", "-out", self.verify)
        self.signing.chmod(0o600)

    def hold(self, *names):
        """Write the key file anew: a key is made of its name."""
        self.ring.write_text("".join(f"{name}:{4 * name[-1] * 10}AAA=\n" for name in names))
        self.ring.chmod(0o600)

    def use(self, ring=None, signing=None, verify=None):
        self._settings.DEPLOY_OPS_BACKUP_KEY_FILE = ring
        self._settings.DEPLOY_OPS_BACKUP_SIGNING_KEY_FILE = signing
        self._settings.DEPLOY_OPS_BACKUP_VERIFY_KEY_FILE = verify


@pytest.fixture
def keys(settings, tmp_path):
    (tmp_path / "keys").mkdir()
    made = Keys(settings, tmp_path / "keys")
    made.use(ring=made.ring)
    return made


@pytest.fixture
def copies(settings, tmp_path):
    """STORAGES["backups"] as a directory."""
    options = {"location": str(tmp_path / "copies")}
    backend = "django.core.files.storage.FileSystemStorage"
    settings.STORAGES = settings.STORAGES | {"backups": {"BACKEND": backend, "OPTIONS": options}}
    return tmp_path / "copies"


@pytest.fixture
def plant(take, keys, backup_dir):
    """plant(**changes) -> id: a plain backup by somebody who knows all but the key."""

    def plant(place=None, **changes):
        keys.use()
        shown = take()
        shutil.rmtree(backup_dir / shown.id) if place else None
        backup_id = new_id(datetime.now(UTC) + timedelta(seconds=2))
        keys.use(ring=keys.ring)
        return _move(shown, (place or backup_dir), backup_id, changes)

    def _move(shown, place, backup_id, changes):
        source = shown.directory if shown.directory.exists() else place / shown.id
        shutil.move(source, place / backup_id)
        manifest = place / backup_id / "manifest.json"
        manifest.write_bytes(forged(manifest.read_bytes(), id=backup_id, **changes))
        return backup_id

    return plant


def edit(backup, **changes):
    path = backup.directory / "manifest.json"
    path.write_bytes(forged(path.read_bytes(), **changes))
    return find_entry(backup.id)


@contextmanager
def into(backup, **options):
    yield restore_into(backup, "elsewhere", **options)


def restored(backup, alias, prepare=prepare_restore):
    with deploy_lock(alias, purpose="restore") as lock:
        with prepare(backup, alias=alias, lock=lock) as prepared:
            return prepared.swap(unless_written_since=prepared.counted)


class TestAPlantedBackup:
    """Plain, complete, sound, and not ours."""

    @pytest.mark.parametrize("sequence", [None, 10**15])
    @sqlite_only
    def test_is_not_ours_and_never_latest(self, take, plant, django_alias, sequence):
        ours = take()
        planted = plant(**({"sequence": sequence} if sequence else {}))
        entry = find_entry(planted)
        assert entry.state is State.NOT_OURS and "carries no proof of origin" in entry.reason
        assert find_backup(django_alias, "latest").id == ours.id
        assert [backup.id for backup in complete_backups()] == [ours.id]
        assert take().sequence < 10

    @sqlite_only
    def test_alone_there_is_no_latest(self, plant, django_alias, caplog):
        planted = plant()
        with pytest.raises(BackupNotFound):
            find_backup(django_alias, "latest")
        assert f"Backup {planted} is passed over: It carries no proof" in caplog.text

    @sqlite_only
    def test_in_the_storage_is_refused_before_a_file_is_fetched(
        self, take, plant, copies, django_alias, backup_dir
    ):
        ours = take()
        planted = plant(place=copies)
        assert not (backup_dir / planted).exists()
        assert find_entry(planted).state is State.NOT_OURS
        assert find_backup(django_alias, "latest").id == ours.id
        for path in (copies / planted).rglob("*"):
            if path.is_file() and path.name != "manifest.json":
                path.unlink()  # had it been fetched, the error would be another
        with pytest.raises(BackupUntrusted, match="is not ours"):
            find_backup(django_alias, planted)

    def test_is_neither_read_nor_restored_at_any_door(self, plant, django_alias, database):
        """Its functions would run, as superuser with the rights of the server."""
        backup = find_entry(plant()).backup
        for level in LEVELS:
            with pytest.raises(BackupUntrusted, match="is not ours"):
                verify_backup(backup, level, alias=django_alias)
        for door in (prepare_restore, prepare_in_place, into):
            with pytest.raises(BackupUntrusted, match="runs with all rights"):
                restored(backup, django_alias, door)
        with pytest.raises(BackupUntrusted), opened(backup):
            pass
        assert len(database.databases()) == 1
        assert not (backup.directory / "verified.jsonl").exists()

    @sqlite_only
    def test_with_a_proof_by_a_key_that_nobody_has_is_not_latest(self, take, plant, django_alias):
        ours = take()
        planted = plant(mac={"key": "2099", "value": "00"})
        assert find_entry(planted).state is State.KEY_MISSING
        assert find_backup(django_alias, "latest").id == ours.id

    @pytest.mark.parametrize("value", ["", "00" * 32, "ü", "\U0001f511"])
    @sqlite_only
    def test_with_a_guessed_proof_is_not_ours(self, plant, value):
        planted = plant(mac={"key": "2026", "value": value})
        assert "Its MAC is not the one of key '2026'" in find_entry(planted).reason


class TestAGenuineBackup:
    """Ours, and then put to another use."""

    @pytest.mark.parametrize("level", LEVELS)
    def test_is_proven_and_passes(self, take, keys, django_alias, level):
        backup = take()
        assert backup.verdict.trust is Trust.PROVEN and backup.is_encrypted
        verify_backup(find_backup(django_alias, backup.id), level, alias=django_alias)

    @sqlite_only
    def test_under_another_id_is_corrupt(self, take, keys, backup_dir, django_alias):
        old, new = take(), take()
        again = new_id(datetime.now(UTC) + timedelta(days=1))
        shutil.copytree(old.directory, backup_dir / again)
        assert find_entry(again).state is State.CORRUPT
        manifest = backup_dir / again / "manifest.json"
        manifest.write_bytes(forged(manifest.read_bytes(), id=again, sequence=99))
        assert find_entry(again).state is State.NOT_OURS
        assert find_backup(django_alias, "latest").id == new.id

    @pytest.mark.parametrize("stripped", [{"mac": None}, {"mac": None, "encryption": None}])
    @sqlite_only
    def test_stripped_of_its_proof_is_not_ours(self, take, keys, stripped):
        entry = edit(take(), **stripped)
        assert entry.state is State.NOT_OURS
        with pytest.raises(BackupUntrusted):
            usable(entry)

    @sqlite_only
    def test_stripped_but_encrypted_is_not_restored_on_anybodys_word(self, take, keys):
        """An encrypted backup always had a proof, so somebody took it away."""
        with pytest.raises(BackupUntrusted, match="the proof was removed"):
            usable(edit(take(), mac=None), trust_unauthenticated=True)

    @pytest.mark.parametrize(
        "change",
        [
            {"sequence": 99},
            {"label": "x"},
            {"encryption": None},
            {"files": {}},
            {"started_at": "2026-01-31T02:00:00+00:00"},
            {"extra": {}},
            {"verified": {"level": "restore", "at": "2026-01-31T02:00:00+00:00"}},
        ],
        ids=lambda change: next(iter(change)),
    )
    @sqlite_only
    def test_with_one_field_changed_is_not_ours(self, take, keys, django_alias, change):
        backup = take()
        entry = edit(backup, **change)
        assert entry.state is State.NOT_OURS
        with pytest.raises(BackupUntrusted, match="is not the one of key '2026'"):
            usable(entry, trust_unauthenticated=True)

    @sqlite_only
    def test_with_the_files_of_another_is_found(self, take, keys, trips, django_alias):
        old = take()
        trips.execute("DELETE FROM trip")
        new = take()
        shutil.rmtree(new.directory / "database")
        shutil.copytree(old.directory / "database", new.directory / "database")
        with pytest.raises(BackupCorrupt, match="was changed"):
            restored(new, django_alias)
        assert trips.query("SELECT * FROM trip") == []

    @sqlite_only
    def test_swapped_in_the_storage_is_found_when_it_is_fetched(
        self, take, keys, copies, django_alias
    ):
        old, new = take(), take()
        shutil.rmtree(new.directory)
        shutil.copytree(
            copies / old.id / "database", copies / new.id / "database", dirs_exist_ok=True
        )
        for level in LEVELS[1:]:
            with pytest.raises(BackupCorrupt, match="changed|SHA-256"):
                verify_backup(find_backup(django_alias, new.id), level, alias=django_alias)

    def test_changed_between_backup_and_automatic_restore_is_compared_with_what_was_taken(
        self, take, plant, keys, django_alias, trips
    ):
        """safe_migrate restores the value that it took; the directory is only where files lie."""
        backup = take()
        trips.execute("DELETE FROM trip WHERE km > 100")
        planted = find_entry(plant()).backup
        shutil.rmtree(backup.directory)
        shutil.copytree(planted.directory, backup.directory)
        with pytest.raises(BackupCorrupt, match="is not what its manifest says"):
            restored(backup, django_alias)
        assert len(trips.query("SELECT * FROM trip")) == 1

    @sqlite_only
    def test_hidden_by_a_planted_directory_is_fetched_once_that_is_gone(
        self, take, keys, copies, django_alias
    ):
        backup = take()
        entry = edit(backup, mac=None)
        assert entry.state is State.NOT_OURS and "A copy is in the storage" in entry.reason
        shutil.rmtree(backup.directory)
        assert find_backup(django_alias, "latest").id == backup.id


class TestBeforeTheKey:
    """Plain backups that we made ourselves before a key was set."""

    @pytest.fixture
    def old(self, take, keys):
        keys.use()
        backup = take(label="before the key")
        keys.use(ring=keys.ring)
        return backup

    def test_is_restored_by_its_id_on_the_operators_word(self, old, django_alias, trips):
        trips.execute("DELETE FROM trip")
        with pytest.raises(BackupUntrusted, match=f"restore {old.id} --trust-unauthenticated --d"):
            find_backup(django_alias, old.id)
        backup = find_backup(django_alias, old.id, trust_unauthenticated=True)
        assert backup.verdict.trust is Trust.ACCEPTED
        restored(backup, django_alias)
        assert len(trips.query("SELECT * FROM trip")) == 3

    @sqlite_only
    def test_is_never_latest_on_anybodys_word(self, old, django_alias):
        with pytest.raises(UsageError, match="wants the id of one backup"):
            find_backup(django_alias, "latest", trust_unauthenticated=True)

    @sqlite_only
    def test_that_failed_a_verification_is_not_restored_on_anybodys_word(self, old, django_alias):
        old.record(Level.HASH, failed="a byte was changed")
        with pytest.raises(BackupCorrupt):
            find_backup(django_alias, old.id, trust_unauthenticated=True)

    @sqlite_only
    def test_the_memory_of_a_failed_check_is_not_all_it_needs(self, old, django_alias):
        os.truncate(next(old.directory.glob("database/*")), 10)
        backup = find_backup(django_alias, old.id, trust_unauthenticated=True)
        with pytest.raises(BackupCorrupt, match="has 10 bytes"):
            restored(backup, django_alias)


class TestRotation:
    @sqlite_only
    def test_every_key_proves_what_it_made(self, take, keys, django_alias):
        old = take()
        keys.hold("2027", "2026")
        new = take()
        assert (old.manifest.mac.key, new.manifest.mac.key) == ("2026", "2027")
        assert [backup.id for backup in complete_backups()] == [old.id, new.id]
        for backup in complete_backups():
            verify_backup(backup, Level.RESTORE, alias=django_alias)

    @sqlite_only
    def test_without_its_key_a_backup_is_neither_corrupt_nor_passed_over_in_silence(
        self, take, keys, django_alias, caplog
    ):
        mine = take()
        keys.hold("2027")
        other = take()
        keys.hold("2026")
        entry = find_entry(other.id)
        assert entry.state is State.KEY_MISSING
        assert "made with key '2027', which this host does not have (it has: 2026)" in entry.reason
        assert find_backup(django_alias, "latest").id == mine.id
        assert f"Backup {other.id} is passed over" in caplog.text
        with pytest.raises(ConfigurationError, match="made with key '2027'"):
            find_backup(django_alias, other.id)
        with pytest.raises(ConfigurationError, match="made with key '2027'"):
            verify_backup(entry.backup, Level.HASH, alias=django_alias)
        assert entry.backup.failure is None

    @sqlite_only
    def test_a_host_without_any_key_does_not_take_an_encrypted_one_for_usable(
        self, take, keys, django_alias
    ):
        backup = take()
        keys.use()
        assert find_entry(backup.id).state is State.KEY_MISSING
        with pytest.raises(ConfigurationError, match="BACKUP_KEY_FILE is not set"):
            find_backup(django_alias, backup.id)

    @sqlite_only
    def test_without_any_key_plain_backups_are_used_as_before(self, take, keys, django_alias):
        keys.use()
        backup = take()
        assert find_backup(django_alias, "latest").verdict.trust is Trust.NOT_ASKED
        assert backup.manifest.mac is None and backup.manifest.signature is None


class TestSigned:
    @pytest.fixture
    def signed(self, take, keys):
        keys.use(ring=keys.ring, signing=keys.signing)
        return take()

    @sqlite_only
    def test_the_public_key_checks_every_byte_and_opens_nothing(self, signed, keys, django_alias):
        keys.use(verify=keys.verify)
        backup = find_backup(django_alias, "latest")
        assert backup.id == signed.id and backup.verdict.trust is Trust.PROVEN
        verify_backup(backup, Level.HASH, alias=django_alias)
        with pytest.raises(ConfigurationError, match="BACKUP_KEY_FILE is not set"):
            verify_backup(backup, Level.READ, alias=django_alias)

    @sqlite_only
    def test_the_public_key_finds_what_was_changed(self, signed, keys, django_alias):
        keys.use(verify=keys.verify)
        entry = edit(signed, label="x")
        assert "Its signature is not the one of key" in entry.reason
        entry = edit(signed, label="", signature=None)
        assert entry.state is State.KEY_MISSING  # its MAC cannot be checked here

    @sqlite_only
    def test_a_mac_made_of_the_public_key_proves_nothing(self, signed, keys):
        """Algorithm confusion: what everybody knows is not a secret to check a MAC with."""
        public = keys.verify.read_text()
        keys.use(verify=keys.verify)
        for secret in (public, public.splitlines()[1]):
            known = replace(host_keys(), public={})
            body, content = signed.manifest.body(), dump_manifest(signed.manifest)
            import hmac  # pylint: disable=import-outside-toplevel

            value = hmac.new(secret.encode(), body, "sha256").hexdigest()
            for key in (signed.manifest.signature.key, signed.manifest.mac.key):
                proof = {"key": key, "value": value}
                assert edit(signed, mac=proof, signature=None).state is not State.COMPLETE
                assert edit(signed, mac=None, signature=proof).state is not State.COMPLETE
            assert known.judge(signed.manifest, content).trust is Trust.KEY_MISSING

    @sqlite_only
    def test_the_signature_does_not_stand_in_for_a_wrong_mac(self, signed, keys):
        keys.use(ring=keys.ring, verify=keys.verify)
        wrong = {"key": "2026", "value": "00" * 32}
        assert edit(signed, mac=wrong).state is State.NOT_OURS

    @sqlite_only
    def test_without_encryption_too_an_unsigned_one_is_not_ours(self, take, keys, plant):
        keys.use(signing=keys.signing)
        ours = take()
        assert not ours.is_encrypted
        planted = plant()
        keys.use(verify=keys.verify)
        assert [backup.id for backup in complete_backups()] == [ours.id]
        assert find_entry(planted).state is State.NOT_OURS

    @sqlite_only
    def test_a_host_with_public_keys_only_makes_no_backup(self, take, keys, backup_dir):
        keys.use(verify=keys.verify)
        with pytest.raises(ConfigurationError, match="has only public keys"):
            take()
        assert list_entries() == []

    @sqlite_only
    def test_after_rotation_old_signatures_are_checked_with_their_own_key(
        self, signed, take, keys, tmp_path
    ):
        old_public = keys.verify.read_text()
        later = Keys(keys._settings, _made(tmp_path / "later"))
        keys.use(ring=keys.ring, signing=later.signing)
        new = take()
        later.verify.write_text(later.verify.read_text() + old_public)
        keys.use(verify=later.verify)
        assert [backup.id for backup in complete_backups()] == [signed.id, new.id]


def _made(directory):
    directory.mkdir()
    return directory


class TestKeyFiles:
    def test_a_signing_key_that_others_can_read_is_refused(self, keys):
        keys.use(signing=keys.signing)
        keys.signing.chmod(0o640)
        with pytest.raises(ConfigurationError, match=r"mode 0640.*\n +chmod 600"):
            host_keys()

    def test_a_public_key_that_others_can_replace_is_refused(self, keys):
        keys.use(verify=keys.verify)
        keys.verify.chmod(0o646)
        with pytest.raises(ConfigurationError, match=r"can be changed by other users \(mode 0646"):
            host_keys()

    @pytest.mark.parametrize("which", ["signing", "verify"])
    @pytest.mark.parametrize("kind", ["rsa", "text", "other half", "missing"])
    def test_what_is_no_such_key_is_refused_with_the_way_to_make_one(self, keys, which, kind):
        path = getattr(keys, which)
        if kind == "rsa":
            openssl("genpkey", "-algorithm", "rsa", "-out", keys.signing)
            openssl("pkey", "-in", keys.signing, "-pubout", "-out", keys.verify)
        elif kind == "text":
            path.write_text("not a key\n")
        elif kind == "missing":
            path.unlink()
        else:
            text = {keys.signing: keys.verify.read_text(), keys.verify: keys.signing.read_text()}
            path.write_text(text[path])
        keys.use(**{which: path})
        with pytest.raises(ConfigurationError, match="openssl (genpkey|pkey)") as caught:
            host_keys()
        assert "PRIVATE KEY" not in str(caught.value)

    @pytest.mark.parametrize("which", ["signing", "verify"])
    def test_a_key_beside_what_it_protects_is_refused(self, keys, settings, which):
        path = getattr(keys, which)
        settings.DEPLOY_OPS_BACKUP_DIR = str(path.parent)
        keys.use(**{which: path})
        with pytest.raises(ConfigurationError, match="lies inside"):
            host_keys()

    def test_the_key_of_the_mac_is_not_the_one_that_encrypts(self, keys):
        """And a MAC under one name of key is none under another."""
        keys.hold("2027", "2026")
        ring, body = keyring(), some_manifest().body()
        assert ring.mac("2026", body) != ring.mac("2027", body)
        secret = keys.ring.read_text().split(":")[1].split()[0]
        import base64  # pylint: disable=import-outside-toplevel
        import hmac  # pylint: disable=import-outside-toplevel

        bare = hmac.new(base64.b64decode(secret), body, "sha256").hexdigest()
        assert ring.mac("2027", body) != bare

    def test_the_proof_is_one_that_anybody_with_the_key_can_compute(self, keys):
        """HKDF (RFC 5869) and HMAC (RFC 2104) by hand, so that no other form creeps in."""
        import base64  # pylint: disable=import-outside-toplevel
        import hmac  # pylint: disable=import-outside-toplevel

        manifest = host_keys().prove(some_manifest())
        secret = base64.b64decode(keys.ring.read_text().split(":")[1])
        extracted = hmac.new(bytes(32), secret, "sha256").digest()
        info = b"deploy_ops manifest HMAC-SHA256"
        derived = hmac.new(extracted, info + b"\x01", "sha256").digest()
        expected = hmac.new(derived, manifest.body(), "sha256").hexdigest()
        assert manifest.mac == Proof("2026", expected)
