"""The manifest's file: written, read, and the ids that are never paths."""

import hashlib
import json

import pytest

from deploy_ops.backup.manifest import (
    PROOFS,
    REQUIRED,
    Proof,
    SavedFile,
    body_of,
    describe_files,
    dump_manifest,
    load_manifest,
    parse_id,
    paths_in,
    total_bytes,
)
from deploy_ops.errors import BackupCorrupt, UsageError
from tests.deploy_ops.backup.manifests import THEN, canonical, forged, some_manifest, with_checksum

DATABASE = {"engine": "sqlite", "name": "x"}
VERIFIED = {"level": "read", "at": "2026-01-31T02:00:00+00:00"}
FILE = {"size": 1, "sha256": ""}


@pytest.mark.parametrize(
    "odd",
    [
        {"files": []},
        {"files": {"database/a": 7}},
        {"files": {"database/a": {"sha256": ""}}},
        {"files": {"database/a": FILE | {"mode": 7}}},
        {"files": {"database/a": FILE | {"size": -1}}},
        {"files": {"database/a": FILE | {"size": True}}},
        {"files": {"database/a": FILE | {"size": 1.0}}},
        {"files": {"database/\x1b[2J": 7}},
        {"started_at": "yesterday"},
        {"started_at": "2026-01-31T02:00:00"},
        {"started_at": None},
        {"sequence": "7"},
        {"sequence": 0},
        {"sequence": 2**63},
        {"id": "../x"},
        {"database": DATABASE},
        {"database": None},
        {"verified": "read"},
        {"verified": VERIFIED | {"level": "believed"}},
        {"migrations": [["app"]]},
        {"counts": {"trip": None}},
        {"write_position": []},
        {"mac": "00"},
        {"mac": {"key": "a\x1b[2J", "value": "00"}},
        {"encryption": {"algorithm": "x", "key": "a/b"}},
        {"more": 1},
    ],
    ids=str,
)
def test_fields_of_another_kind_are_corrupt_whatever_the_checksum_says(odd):
    with pytest.raises(BackupCorrupt, match="field of another kind") as caught:
        load_manifest(forged(dump_manifest(some_manifest()), **odd))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "foreign",
    [b'{"format":3,"x":"\\ud800"}', b'{"format":3,"x":1e999}', b'{"format":3,"x":' + b"9" * 5000],
    ids=["half a surrogate", "infinity", "too many digits"],
)
def test_json_that_python_cannot_write_again_is_corrupt(foreign):
    with pytest.raises(BackupCorrupt):
        load_manifest(foreign)


@pytest.mark.parametrize(
    "respell",
    [
        lambda content: content.replace(b'"label"', b'"label":"first","label"', 1),
        lambda content: content.replace(b",", b", ", 1),
        lambda content: content.rstrip(),
        lambda content: content + b"\n",
        lambda content: content.replace(b"trips", b"\\u0074rips", 1),
    ],
    ids=["a field twice", "a space", "no end", "an end too many", "an escape"],
)
def test_what_says_the_same_in_another_form_is_corrupt(respell):
    """Else what was proven and what was read could be made to differ."""
    content = dump_manifest(some_manifest())
    assert respell(content) != content
    with pytest.raises(BackupCorrupt, match="not in canonical form"):
        load_manifest(respell(content))


def test_what_was_written_is_read():
    manifest = some_manifest(label="größer\n\u2028", files={"media/ä": SavedFile(7, "00")})
    content = dump_manifest(manifest)
    read = load_manifest(content)
    assert read.checksum and read.body() == manifest.body()
    assert dump_manifest(read) == content and read.started_at == manifest.started_at


def test_anybody_can_recompute_the_checksum():
    body = json.loads(dump_manifest(some_manifest()))
    checksum = body.pop("checksum")
    assert hashlib.sha256(canonical(body)).hexdigest() == checksum


def test_the_proofs_are_about_every_other_field():
    assert set(json.loads(some_manifest().body())) == REQUIRED - set(PROOFS)


@pytest.mark.parametrize("extra", [{}, {"a": 1, "mac": None, "media": None}, {"x": ',"mac":null'}])
def test_the_body_that_is_cut_out_is_the_one_that_is_proven(extra):
    proven = some_manifest(extra=extra, mac=Proof("first", "00"), signature=Proof("second", "11"))
    content = dump_manifest(proven)
    assert body_of(content, load_manifest(content)) == proven.body()


def test_every_changed_byte_is_noticed():
    content = dump_manifest(some_manifest())
    for at in range(len(content)):
        changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        with pytest.raises(BackupCorrupt):
            load_manifest(changed)


def test_every_cut_is_noticed():
    content = dump_manifest(some_manifest())
    for length in range(len(content)):
        with pytest.raises(BackupCorrupt):
            load_manifest(content[:length])


@pytest.mark.parametrize("content", [b"\xff\xfe", b"null", b"[1]", b'"text"', b"{}", b"[" * 10_000])
def test_what_was_never_a_manifest_is_corrupt(content):
    with pytest.raises(BackupCorrupt):
        load_manifest(content)


@pytest.mark.parametrize("missing", sorted(REQUIRED - {"format", "checksum"}))
def test_every_field_is_required(missing):
    incomplete = json.loads(dump_manifest(some_manifest()))
    del incomplete[missing]
    with pytest.raises(BackupCorrupt, match=f"lacks {missing}"):
        load_manifest(with_checksum(incomplete))


def test_a_manifest_from_when_times_had_whole_seconds_is_read():
    written = dump_manifest(some_manifest(format=3))
    assert b'"started_at":"2026-01-31T02:00:00+00:00"' in written
    assert load_manifest(written).started_at == THEN


def test_times_are_kept_to_the_microsecond():
    then = THEN.replace(microsecond=1)
    assert load_manifest(dump_manifest(some_manifest(started_at=then))).started_at == then


@pytest.mark.parametrize(
    "text", ["..", "a/b", "20260131T020000Z-0123abcd/", "", "٢٠٢٦0131T020000Z-0123abcd"]
)
def test_what_is_no_id_is_refused(text):
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
    digest = hashlib.sha256(b"media/2026/a").hexdigest()
    assert files["media/2026/a"] == SavedFile(12, digest)
    assert total_bytes(files) == 28 and total_bytes(files, "media/") == 12
