"""A catalog of many: each manifest read once, decoded once, and never believed for its kept head."""

import json
import os
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from deploy_ops.backup import judge
from deploy_ops.backup.authenticity import host_keys
from deploy_ops.backup.catalog import find_entry, list_entries
from deploy_ops.backup.entry import State
from deploy_ops.backup.manifest import dump_manifest, load_manifest
from deploy_ops.errors import BackupCorrupt, BackupError
from deploy_ops.ids import new_id
from tests.deploy_ops.backup.manifests import THEN, forged, rewrite

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
MANY = 5


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A file of heads is worth it for a few."""
    monkeypatch.setattr(judge, "WORTH_WRITING", 1)


@pytest.fixture(params=["without keys", "with a key"])
def keys(request, settings, tmp_path):
    """A file with a key, which may be set."""
    path = tmp_path / "key"
    path.write_text("first:" + "A" * 43 + "=\n")
    path.chmod(0o600)
    if request.param == "with a key":
        settings.DEPLOY_OPS_BACKUP_KEY_FILE = str(path)
    return path


@pytest.fixture
def many(keys, take, backup_dir):
    """A backup that was taken, and some that came before it."""
    backup = take()
    for number in range(1, MANY):
        backup_id = new_id(THEN + timedelta(hours=number))
        (backup_dir / backup_id).mkdir(mode=0o700)
        copy = host_keys().prove(replace(backup.manifest, id=backup_id, sequence=number))
        (backup_dir / backup_id / "manifest.json").write_bytes(dump_manifest(copy))
    return backup


@pytest.fixture
def work(monkeypatch):
    """Counts the manifests that are opened and that are loaded."""
    done = Counter()

    def load(content):
        done["loaded"] += 1
        return load_manifest(content)

    def opened(path, *args):
        done["opened"] += str(path).endswith("manifest.json")
        return real(path, *args)

    real = os.open
    monkeypatch.setattr(judge, "load_manifest", load)
    monkeypatch.setattr(os, "open", opened)
    return done


def heads(backup_dir):
    return backup_dir / judge.NAME


def states():
    return Counter(entry.state for entry in list_entries())


def test_the_second_list_opens_each_manifest_once_and_loads_none(many, work, backup_dir):
    first = list_entries()
    assert work == {"opened": MANY, "loaded": MANY}
    assert heads(backup_dir).stat().st_mode & 0o777 == 0o600
    work.clear()
    second = list_entries()
    assert work == {"opened": MANY}
    assert second == first and [each.state for each in first] == [State.COMPLETE] * MANY
    listed = {entry.id: entry.backup for entry in second}
    assert listed[many.id].known is None and listed[many.id].manifest == many.manifest


def test_few_are_judged_without_a_file(take, backup_dir, monkeypatch):
    monkeypatch.undo()
    take()
    list_entries()
    assert not heads(backup_dir).exists()


def test_a_manifest_that_changes_is_judged_anew_though_its_times_and_size_are_the_same(many):
    """Whoever can change a manifest can set its times too."""
    list_entries()
    path, content = many.directory / "manifest.json", dump_manifest(many.manifest)
    before = path.stat()
    path.write_bytes(content.replace(b"sha256", b"sha257", 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size and path.stat().st_ino == before.st_ino
    assert states() == {State.COMPLETE: MANY - 1, State.CORRUPT: 1}


def test_a_manifest_with_a_right_checksum_and_a_wrong_mac_is_not_ours(many, keys, settings):
    settings.DEPLOY_OPS_BACKUP_KEY_FILE = str(keys)
    list_entries()
    content = dump_manifest(many.manifest)
    (many.directory / "manifest.json").write_bytes(forged(content, label="planted"))
    assert {entry.id: entry.state for entry in list_entries()}[many.id] is State.NOT_OURS


def test_heads_of_other_keys_count_for_nothing(many, keys, settings, work):
    list_entries()
    work.clear()
    other = keys.with_name("other")
    other.write_text("first:" + "B" * 42 + "A=\n")
    other.chmod(0o600)
    settings.DEPLOY_OPS_BACKUP_KEY_FILE = str(other)
    assert State.COMPLETE not in states()
    assert work["loaded"] == MANY


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content.replace(b"not asked", b"accepted_").replace(b"proven", b"PROVEN"),
        lambda content: b"\0" * len(content),
        lambda content: b"0" * 64 + b"\n[[]]",
    ],
    ids=["empty", "cut off", "edited", "zeros", "not an object"],
)
def test_a_damaged_file_of_heads_is_made_anew(many, work, backup_dir, damage):
    before = list_entries()
    content = heads(backup_dir).read_bytes()
    heads(backup_dir).write_bytes(damage(content))
    work.clear()
    assert list_entries() == before and work["loaded"] == MANY
    assert sorted(heads(backup_dir).read_bytes()) == sorted(content)


def test_rows_of_another_version_are_passed_over(many, work, backup_dir):
    before = list_entries()
    found = judge.JudgeOfMany(host_keys(), backup_dir)
    rows = json.loads(heads(backup_dir).read_bytes().partition(b"\n")[2])
    for row in rows.values():
        row["head"]["colour"] = "red"
    content = json.dumps(rows).encode()
    # pylint: disable-next=protected-access  # as a version with the same keys would prove it
    heads(backup_dir).write_bytes(found._proof(content).encode() + b"\n" + content)
    work.clear()
    assert list_entries() == before and work["loaded"] == MANY


def test_a_file_that_cannot_be_written_stops_no_list(many, backup_dir):
    heads(backup_dir).mkdir()
    assert states() == {State.COMPLETE: MANY}


def test_what_changes_or_vanishes_after_the_list_is_not_used(many):
    changed, gone = (entry.backup for entry in list_entries()[-2:])
    rewrite(find_entry(changed.id).backup, label="another")
    with pytest.raises(BackupCorrupt, match="was changed after it was listed"):
        assert changed.manifest
    (gone.directory / "manifest.json").unlink()
    with pytest.raises(BackupError, match="cannot be read any more"):
        assert gone.manifest
    assert states() == {State.COMPLETE: MANY - 1, State.INCOMPLETE: 1}
