"""Chunked encryption of files: every way to change one is noticed."""

import base64
import io
import os

import pytest

from deploy_ops.backup import encryption
from deploy_ops.backup.encryption import CHUNK_BYTES, TAG_BYTES, Keyring, keyring
from deploy_ops.errors import BackupCorrupt, ConfigurationError
from deploy_ops.redact import Secret

HEADER_BYTES = len(encryption.MAGIC) + 1 + len("2026") + 32 + 7
SEALED_CHUNK = CHUNK_BYTES + TAG_BYTES


def random_key() -> Secret:
    return Secret(base64.b64encode(os.urandom(32)).decode())


@pytest.fixture
def keys():
    return Keyring({"2026": random_key()})


@pytest.fixture
def key_file(settings, tmp_path):
    path = tmp_path / "backup.key"
    path.write_text(f"2026:{random_key().reveal()}\n")
    path.chmod(0o600)
    settings.DEPLOY_OPS_BACKUP_KEY_FILE = path
    return path


def seal(keys, directory, content, name="id/database/dump"):
    plain, sealed = directory / "plain", directory / "sealed"
    plain.write_bytes(content)
    with sealed.open("wb") as file:
        keys.encrypt(plain, file, name)
    return sealed


def read(keys, sealed, name="id/database/dump"):
    return b"".join(keys.decrypt(sealed, name))


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3_000_000])
def test_a_file_of_any_size_comes_back(keys, tmp_path, size):
    content = os.urandom(size)
    sealed = seal(keys, tmp_path, content)
    assert read(keys, sealed) == content
    assert content[:64] not in sealed.read_bytes() or size == 0 or size == 1


def test_the_same_file_never_looks_the_same_twice(keys, tmp_path):
    assert (
        seal(keys, tmp_path, b"x" * 100).read_bytes()
        != seal(keys, tmp_path, b"x" * 100).read_bytes()
    )


def flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    {
        "magic": lambda b: flip(b, 0),
        "length of key id": lambda b: flip(b, len(encryption.MAGIC)),
        "salt": lambda b: flip(b, HEADER_BYTES - 20),
        "nonce prefix": lambda b: flip(b, HEADER_BYTES - 1),
        "first byte": lambda b: flip(b, HEADER_BYTES),
        "middle": lambda b: flip(b, len(b) // 2),
        "tag at the end": lambda b: flip(b, -1 + len(b)),
        "cut within the header": lambda b: b[:20],
        "cut after the header": lambda b: b[:HEADER_BYTES],
        "cut by a byte": lambda b: b[:-1],
        "cut at the border of a chunk": lambda b: b[: HEADER_BYTES + 2 * SEALED_CHUNK],
        "a byte more": lambda b: b + b"\0",
        "last chunk twice": lambda b: b + b[HEADER_BYTES + 2 * SEALED_CHUNK :],
        "first chunk twice": lambda b: b[: HEADER_BYTES + SEALED_CHUNK] + b[HEADER_BYTES:],
        "first chunk gone": lambda b: b[:HEADER_BYTES] + b[HEADER_BYTES + SEALED_CHUNK :],
        "two chunks swapped": lambda b: b[:HEADER_BYTES]
        + b[HEADER_BYTES + SEALED_CHUNK : HEADER_BYTES + 2 * SEALED_CHUNK]
        + b[HEADER_BYTES : HEADER_BYTES + SEALED_CHUNK]
        + b[HEADER_BYTES + 2 * SEALED_CHUNK :],
        "empty": lambda b: b"",
    }.items(),
    ids=lambda item: item[0],
)
def test_every_damage_is_noticed(keys, tmp_path, damage):
    sealed = seal(keys, tmp_path, os.urandom(2 * CHUNK_BYTES + 1000))
    sealed.write_bytes(damage[1](sealed.read_bytes()))
    with pytest.raises((BackupCorrupt, ConfigurationError)):
        read(keys, sealed)


def test_every_single_byte_of_a_small_file_is_protected(keys, tmp_path):
    sealed = seal(keys, tmp_path, b"small")
    whole = sealed.read_bytes()
    for at in range(len(whole)):
        sealed.write_bytes(flip(whole, at))
        with pytest.raises((BackupCorrupt, ConfigurationError)):
            read(keys, sealed)


def test_two_files_of_one_backup_cannot_be_swapped(keys, tmp_path):
    sealed = seal(keys, tmp_path, b"toc", "id/database/toc.dat")
    with pytest.raises(BackupCorrupt, match="swapped"):
        read(keys, sealed, "id/database/3021.dat.gz")


def test_old_keys_decrypt_and_the_first_one_encrypts(keys, tmp_path):
    sealed = seal(keys, tmp_path, b"old")
    rotated = Keyring({"2027": random_key(), **keys.keys})
    assert read(rotated, sealed) == b"old"
    assert b"2027" in seal(rotated, tmp_path, b"new").read_bytes()


def test_a_key_that_was_removed_is_named(keys, tmp_path):
    sealed = seal(keys, tmp_path, b"old")
    with pytest.raises(ConfigurationError, match="key '2026'.*it holds: 2027"):
        read(Keyring({"2027": random_key()}), sealed)


def test_another_key_under_the_same_id_is_told_from_nothing(keys, tmp_path):
    sealed = seal(keys, tmp_path, b"old")
    with pytest.raises(BackupCorrupt, match="another key under this id"):
        read(Keyring({"2026": random_key()}), sealed)


def test_the_chunks_are_decrypted_one_at_a_time(keys, tmp_path):
    sealed = seal(keys, tmp_path, bytes(3 * CHUNK_BYTES))
    assert [len(chunk) for chunk in keys.decrypt(sealed, "id/database/dump")] == 3 * [CHUNK_BYTES]


def test_no_key_file_no_encryption(settings):
    settings.DEPLOY_OPS_BACKUP_KEY_FILE = None
    assert keyring() is None


def test_a_key_file_is_read(key_file):
    assert keyring().current == "2026"


def test_comments_and_empty_lines_are_for_people(key_file):
    key_file.write_text("# made in January\n\n" + key_file.read_text())
    assert keyring().current == "2026"


def test_a_key_file_that_others_can_read_is_refused(key_file):
    key_file.chmod(0o640)
    with pytest.raises(ConfigurationError, match=r"mode 0640.*\n +chmod 600"):
        keyring()


@pytest.mark.parametrize(
    "content",
    ["", "# nothing\n", "2026:short\n", "2026:AAAA\n", "no key\n", "a/b:" + 43 * "A" + "=\n"],
)
def test_a_key_file_without_a_proper_key_is_refused_with_the_way_to_make_one(key_file, content):
    key_file.write_text(content)
    with pytest.raises(ConfigurationError, match="openssl rand -base64 32"):
        keyring()


def test_a_broken_line_is_named_by_number_and_never_shown(key_file):
    secret = random_key().reveal()[:-4]
    key_file.write_text(f"2026:{secret}\n")
    with pytest.raises(ConfigurationError, match="line 1") as caught:
        keyring()
    assert secret not in str(caught.value)


def test_a_key_id_given_twice_is_refused(key_file):
    key_file.write_text(2 * key_file.read_text())
    with pytest.raises(ConfigurationError, match="line 2 repeats key id '2026'"):
        keyring()


def test_a_missing_key_file_is_refused(key_file):
    key_file.unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        keyring()


@pytest.mark.parametrize("setting", ["DEPLOY_OPS_BACKUP_DIR", "MEDIA_ROOT"])
def test_a_key_beside_what_it_locks_is_refused(key_file, settings, setting):
    setattr(settings, setting, str(key_file.parent))
    with pytest.raises(ConfigurationError, match="lies inside"):
        keyring()


def test_keys_do_not_show_in_a_representation(key_file):
    secret = key_file.read_text().partition(":")[2].strip()
    assert secret not in repr(keyring())


def test_a_target_that_is_full_says_so(keys, tmp_path):
    class Full(io.BytesIO):
        def write(self, _content):
            raise OSError(28, "No space left on device")

    (tmp_path / "plain").write_bytes(b"x")
    with pytest.raises(OSError, match="No space"):
        keys.encrypt(tmp_path / "plain", Full(), "name")
