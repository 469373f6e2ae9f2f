"""The manifest's file: sealed, opened, and the ids that are never paths."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from deploy_ops.backup.manifest import (
    REQUIRED,
    describe_files,
    is_id,
    new_id,
    open_sealed,
    parse_id,
    paths_in,
    seal,
    total_bytes,
)
from deploy_ops.errors import BackupCorrupt, UsageError

DATABASE = dict.fromkeys(("engine", "name", "host", "system_identifier", "size_bytes"), "")
SHAPE = {"format": 1, "files": {}, "started_at": "2026-01-31T02:00:00+00:00", "sequence": 1}


def fields(**changes):
    any_fields = dict.fromkeys(REQUIRED - {"checksum"}, 0)
    return any_fields | SHAPE | {"database": DATABASE, "verified": {"level": "read"}} | changes


@pytest.mark.parametrize(
    "odd",
    [
        {"files": []},
        {"files": {"database/a": 7}},
        {"files": {"database/a": {"sha256": ""}}},
        {"started_at": "yesterday"},
        {"started_at": "2026-01-31T02:00:00"},
        {"started_at": None},
        {"sequence": "7"},
        {"database": {"name": "x"}},
        {"database": None},
        {"verified": "read"},
    ],
    ids=str,
)
def test_fields_of_another_kind_are_corrupt_whatever_the_checksum_says(odd):
    with pytest.raises(BackupCorrupt, match="field of another kind"):
        open_sealed(seal(fields(**odd)))


def test_what_was_sealed_is_opened():
    opened = open_sealed(seal(fields(label="größer\n\u2028")))
    assert opened.pop("checksum") and opened == fields(label="größer\n\u2028")


def test_anybody_can_recompute_the_checksum():
    body = json.loads(seal(fields()))
    checksum = body.pop("checksum")
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(canonical.encode()).hexdigest() == checksum


def test_every_changed_byte_is_noticed():
    content = seal(fields(label="x"))
    for at in range(len(content) - 1):
        changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        with pytest.raises(BackupCorrupt):
            open_sealed(changed)


def test_every_cut_is_noticed():
    content = seal(fields(label="x")).rstrip()
    for length in range(len(content)):
        with pytest.raises(BackupCorrupt):
            open_sealed(content[:length])


@pytest.mark.parametrize("content", [b"\xff\xfe", b"null", b"[1]", b'"text"', b"{}", b"[" * 10_000])
def test_what_was_never_a_manifest_is_corrupt(content):
    with pytest.raises(BackupCorrupt):
        open_sealed(content)


@pytest.mark.parametrize("missing", sorted(REQUIRED - {"format", "checksum"}))
def test_every_field_is_required(missing):
    incomplete = fields()
    del incomplete[missing]
    with pytest.raises(BackupCorrupt, match=f"lacks {missing}"):
        open_sealed(seal(incomplete))


def test_ids_are_utc_and_differ_within_a_second():
    moment = datetime(2026, 3, 29, 3, 30, tzinfo=timezone(timedelta(hours=2)))
    first, second = new_id(moment), new_id(moment)
    assert first.startswith("20260329T013000Z-") and first != second
    assert parse_id(first) == first and first < new_id(datetime.now(UTC))


@pytest.mark.parametrize(
    "text", ["..", "a/b", "20260131T020000Z-0123abcd/", "", "٢٠٢٦0131T020000Z-0123abcd"]
)
def test_what_is_no_id_is_refused(text):
    assert not is_id(text)
    with pytest.raises(UsageError):
        parse_id(text)


def test_only_files_of_a_backup_are_described(tmp_path):
    for path in ("database/toc.dat", "media/2026/a", "manifest.json", "other/x"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(path.encode())
    (tmp_path / "media/link").symlink_to("/etc/passwd")
    assert list(paths_in(tmp_path)) == ["database/toc.dat", "media/2026/a", "media/link"]
    (tmp_path / "media/link").unlink()
    files = describe_files(tmp_path)
    assert files["media/2026/a"] == {
        "size": 12,
        "sha256": hashlib.sha256(b"media/2026/a").hexdigest(),
    }
    assert total_bytes(files) == 28 and total_bytes(files, "media/") == 12
