"""The catalog: what is listed as what, and what can be used."""

import json
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from deploy_ops.backup.catalog import find_backup, find_entry, list_entries
from deploy_ops.backup.entry import Level, State
from deploy_ops.backup.opening import opened
from deploy_ops.backup.upkeep import delete_backup, pin, unpin
from deploy_ops.errors import BackupCorrupt, BackupNotFound, BackupUnreadable, UsageError
from deploy_ops.ids import new_id
from deploy_ops.metrics import collectors
from tests.deploy_ops.backup.manifests import forged, rewrite

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def states():
    return [(entry.state, entry.reason) for entry in list_entries()]


def test_latest_is_the_newest_by_sequence_not_by_clock(take, django_alias):
    first, second = take(), take()
    rewrite(first, started_at=datetime.now(UTC) + timedelta(days=2))
    assert find_backup(django_alias, "latest").id == second.id
    assert [entry.is_future(datetime.now(UTC)) for entry in list_entries()] == [True, False]


def test_latest_is_of_this_database_only(take, django_alias):
    mine, other = take(), take()
    rewrite(other, database=replace(other.manifest.database, name="/srv/other.sqlite3"))
    assert find_backup(django_alias, "latest").id == mine.id
    assert find_backup(django_alias, other.id).database == "/srv/other.sqlite3"


def test_on_a_new_server_latest_may_be_of_the_only_database_there_are_backups_of(
    take, django_alias
):
    older, newer = take(), take()
    for backup in (older, newer):
        rewrite(backup, database=replace(backup.manifest.database, name="/srv/other.sqlite3"))

    with pytest.raises(BackupNotFound):
        find_backup(django_alias, "latest")
    assert find_backup(django_alias, "latest", from_elsewhere=True).id == newer.id

    third = take()
    assert find_backup(django_alias, "latest", from_elsewhere=True).id == third.id
    rewrite(third, database=replace(third.manifest.database, name="/srv/third.sqlite3"))
    with pytest.raises(UsageError, match=f"(?s)from several.*{newer.id}  /srv/other.*{third.id}  "):
        find_backup(django_alias, "latest", from_elsewhere=True)


def test_without_backups_latest_says_how_to_make_one(backup_dir, trips, django_alias):
    with pytest.raises(BackupNotFound, match=f"manage.py backup --database {django_alias}"):
        find_backup(django_alias, "latest")


@pytest.mark.parametrize(
    "text",
    [
        "../../etc",
        "20260131T020000Z-0123abcd/..",
        "/etc/passwd",
        "",
        "20260131T020000Z-0123ABCD",
        "20260131T020000Z-0123abcd\n",
        "Latest",
    ],
)
def test_what_is_not_an_id_is_never_a_path(backup_dir, trips, django_alias, text):
    with pytest.raises(UsageError, match="is not a backup id"):
        find_backup(django_alias, text)


def test_an_unknown_id_is_not_found(backup_dir, trips, django_alias):
    with pytest.raises(BackupNotFound, match="backups list"):
        find_backup(django_alias, new_id(datetime.now(UTC)))


def test_a_directory_without_a_manifest_is_incomplete(take, django_alias):
    backup = take()
    (backup.directory / "manifest.json").unlink()
    assert states() == [
        (State.INCOMPLETE, "Its manifest cannot be read: No such file or directory.")
    ]
    with pytest.raises(BackupCorrupt, match="is incomplete and cannot be used"):
        find_backup(django_alias, backup.id)
    with pytest.raises(BackupNotFound):
        find_backup(django_alias, "latest")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda text: text.replace('"label":"', '"label":"forged '), "does not match its checksum"),
        (lambda text: text.replace('"size":', '"size":1'), "does not match its checksum"),
        (lambda text: text[: len(text) // 2], "is not JSON"),
        (lambda text: "", "is not JSON"),
        (lambda text: "[]", "not of formats 3 and 4"),
        (lambda text: text.replace('"format":4', '"format":5'), "not of formats 3 and 4"),
        (lambda text: '{"format":4}', "lacks"),
    ],
    ids=["label edited", "size edited", "cut", "empty", "a list", "newer format", "nothing in it"],
)
def test_an_edited_manifest_is_corrupt(take, django_alias, content, reason):
    backup = take()
    path = backup.directory / "manifest.json"
    path.write_text(content(path.read_text()))
    [(state, why)] = states()
    assert state is State.CORRUPT and reason in why
    with pytest.raises(BackupCorrupt, match="is corrupt and cannot be used"):
        find_backup(django_alias, backup.id)


def test_a_sound_manifest_of_another_format_is_not_called_corrupt(take, django_alias, caplog):
    older, newer = take(), take()
    manifest = newer.directory / "manifest.json"
    manifest.write_bytes(forged(manifest.read_bytes(), format=2))

    assert find_entry(newer.id).state is State.OTHER_VERSION
    with pytest.raises(
        BackupUnreadable, match="of format 2, and this version .* reads formats 3 and 4"
    ):
        find_backup(django_alias, newer.id)
    assert find_backup(django_alias, "latest").id == older.id
    assert f"Backup {newer.id} is passed over" in caplog.text


@pytest.mark.parametrize(
    "path",
    [
        "../../../etc/cron.d/x",
        "/etc/passwd",
        "database/../../x",
        "x",
        "other/x",
        "database",
        "media//x",
    ],
)
def test_a_manifest_that_names_a_file_elsewhere_is_corrupt(take, path):
    backup = take()
    manifest = backup.directory / "manifest.json"
    manifest.write_bytes(forged(manifest.read_bytes(), files={path: {"size": 1, "sha256": ""}}))
    [(state, why)] = states()
    assert state is State.CORRUPT and "not a file of a backup" in why


def test_a_manifest_under_another_id_is_corrupt(take):
    backup = take()
    copy = backup.directory.with_name(new_id(datetime.now(UTC)))
    shutil.copytree(backup.directory, copy)
    assert find_entry(copy.name).state is State.CORRUPT


def test_other_directories_are_shown_and_never_used(take, backup_dir):
    (backup_dir / "lost+found").mkdir(mode=0o700)
    backup = take()
    assert {entry.id: entry.state for entry in list_entries()} == {
        "lost+found": State.INCOMPLETE,
        backup.id: State.COMPLETE,
    }


def test_a_pin_is_a_file_that_comes_and_goes(take):
    backup = take()
    pin(backup)
    assert backup.is_pinned and (backup.directory / "pinned").read_bytes() == b""
    pin(backup)
    unpin(backup)
    unpin(backup)
    assert not backup.is_pinned


def test_a_plain_backup_is_opened_where_it_lies(take):
    backup = take()
    with opened(backup) as directory:
        assert directory == backup.directory


def test_an_encrypted_backup_is_opened_in_a_private_place_that_goes_again(
    take, settings, tmp_path, backup_dir
):
    settings.DEPLOY_OPS_BACKUP_KEY_FILE = tmp_path / "key"
    (tmp_path / "key").write_text("2026:" + 43 * "A" + "=")
    (tmp_path / "key").chmod(0o600)
    backup = take()
    with opened(backup) as directory:
        assert directory.parent == backup_dir and directory.stat().st_mode & 0o777 == 0o700
        assert (directory / "database/database.sqlite3").read_bytes()[:6] == b"SQLite"
        assert (directory / "database/database.sqlite3").stat().st_mode & 0o777 == 0o600
        assert [entry.id for entry in list_entries()] == [backup.id]
    assert not directory.exists()


def test_a_failed_verification_takes_a_backup_out_of_use(take, django_alias):
    good, bad = take(), take()
    bad.record(Level.HASH, failed="database.sqlite3 was changed")
    assert find_backup(django_alias, "latest").id == good.id
    with pytest.raises(BackupCorrupt, match="database.sqlite3 was changed"):
        find_backup(django_alias, bad.id)


def test_a_later_success_brings_it_back_with_its_level(take, django_alias):
    backup = take()
    backup.record(Level.HASH, failed="the disk was away")
    backup.record(Level.RESTORE)
    assert find_backup(django_alias, "latest").level is Level.RESTORE
    lines = (backup.directory / "verified.jsonl").read_text().splitlines()
    assert [json.loads(line).keys() for line in lines] == [
        {"level", "at", "failed"},
        {"level", "at"},
    ]


def test_metrics_do_not_count_a_failed_verification_as_one(take):
    backup = take()
    backup.record(Level.HASH, failed="the disk was away")
    backup.record(Level.RESTORE)
    metrics = {metric.name: metric.samples for metric in collectors.backups()}
    verified = metrics["deploy_ops_backup_verified_timestamp_seconds"]
    assert {sample.labels["level"] for sample in verified} == {"read", "restore"}


def test_a_verification_line_cut_off_by_a_crash_is_ignored(take):
    backup = take()
    backup.record(Level.RESTORE)
    with (backup.directory / "verified.jsonl").open("a") as file:
        file.write('{"level": "ha')
    assert backup.level is Level.RESTORE


def test_deleting_leaves_no_half_backup_when_killed(take, backup_dir, monkeypatch):
    backup = take()
    monkeypatch.setattr(shutil, "rmtree", lambda *args, **kwargs: os._exit)
    delete_backup(backup)
    monkeypatch.undo()
    assert [path.name for path in backup_dir.iterdir() if backup.id in path.name] == [
        f".deleted-{backup.id}"
    ]
    assert list_entries() == []
    take()
    assert not (backup_dir / f".deleted-{backup.id}").exists()


def test_a_link_to_a_backup_is_listed_and_not_followed(take, backup_dir, django_alias, tmp_path):
    backup = take()
    shutil.move(backup.directory, tmp_path / "elsewhere")
    (backup_dir / backup.id).symlink_to(tmp_path / "elsewhere")
    [entry] = list_entries()
    assert entry.state is State.INCOMPLETE and "symbolic link" in entry.reason
    with pytest.raises(BackupNotFound):
        find_backup(django_alias, "latest")


def test_verifications_that_cannot_be_read_hide_neither_the_backup_nor_the_others(take, caplog):
    backup = take()
    path = backup.directory / "verified.jsonl"
    path.write_bytes(
        b'{"level": "hash", "at": "2026-01-31T02:00:00+00:00"}\n\xff\n{"level": "nix"}\n'
        b'{"level": "restore", "at": "yesterday"}\n'
    )
    [entry] = list_entries()
    assert entry.state is State.COMPLETE
    assert [each["level"] for each in entry.backup.verifications] == ["read", "hash"]
    assert f"{path} has lines that cannot be read: 2" in caplog.text


@pytest.mark.parametrize("content", [b"", b"drei", b"-1", b"\0\0", b"9" * 5000])
def test_a_counter_that_cannot_be_read_is_counted_on_from_the_backups(take, backup_dir, content):
    first = take()
    (backup_dir / ".sequence").write_bytes(content)
    assert take().sequence == first.sequence + 1
    assert len(list(backup_dir.glob(".sequence.damaged-*"))) == 1
