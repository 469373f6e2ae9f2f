"""Uploads: copied as they are, or not at all."""

import os
import socket
from contextlib import closing

import pytest

from deploy_ops.backup import media
from deploy_ops.backup.manifest import SavedMedia
from deploy_ops.backup.media import copy_media, media_bytes
from deploy_ops.errors import BackupFailed, ConfigurationError
from deploy_ops.progress import Silent


@pytest.fixture
def uploads(settings, tmp_path):
    root = tmp_path / "uploads"
    root.mkdir()
    settings.MEDIA_ROOT = str(root)
    return root


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "copy"
    path.mkdir(mode=0o700)
    return path


def copied(target):
    return {
        path.relative_to(target).as_posix(): path.read_bytes()
        for path in target.rglob("*")
        if path.is_file()
    }


def test_files_are_copied_private_and_with_their_times(uploads, target):
    (uploads / "2026" / "03").mkdir(parents=True)
    (uploads / "2026" / "03" / "Beleg größer.pdf").write_bytes(b"receipt")
    os.utime(uploads / "2026" / "03" / "Beleg größer.pdf", (1_000_000, 1_000_000))
    (uploads / "empty").touch(mode=0o666)
    assert copy_media(target, Silent(), alias="default") == SavedMedia(2, 7, left_out=0)
    assert copied(target) == {"2026/03/Beleg größer.pdf": b"receipt", "empty": b""}
    modes = {path.stat().st_mode & 0o777 for path in target.rglob("*")}
    assert modes == {0o700, 0o600}
    assert (target / "2026/03/Beleg größer.pdf").stat().st_mtime == 1_000_000


def test_links_and_sockets_are_left_out_and_counted(uploads, target, tmp_path):
    (tmp_path / "secret").write_text("not an upload")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").touch()
    (uploads / "link").symlink_to(tmp_path / "secret")
    (uploads / "directory").symlink_to(tmp_path / "elsewhere")
    (uploads / "dangling").symlink_to("nowhere")
    os.mkfifo(uploads / "pipe")
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(uploads / "s"))
    assert copy_media(target, Silent(), alias="default").left_out == 5
    assert copied(target) == {}


def test_the_root_itself_may_be_a_link_as_release_directories_have_it(uploads, target, settings):
    (uploads / "a").write_bytes(b"a")
    link = uploads.with_name("current")
    link.symlink_to(uploads)
    settings.MEDIA_ROOT = str(link)
    assert copy_media(target, Silent(), alias="default").files == 1


def test_a_file_that_changes_while_it_is_copied_is_copied_again(uploads, target, monkeypatch):
    (uploads / "a").write_bytes(b"first")
    copy, tries = media.shutil.copyfileobj, []

    def slow_copy(*args):
        copy(*args)
        if not tries:
            (uploads / "a").write_bytes(b"second, longer")
        tries.append(True)

    monkeypatch.setattr(media.shutil, "copyfileobj", slow_copy)
    assert copy_media(target, Silent(), alias="default").bytes == len(b"second, longer")
    assert copied(target) == {"a": b"second, longer"} and len(tries) == 2


def test_a_file_that_never_holds_still_is_no_backup(uploads, target, monkeypatch):
    (uploads / "log").write_bytes(b"")
    copy = media.shutil.copyfileobj

    def always_growing(*args):
        copy(*args)
        with (uploads / "log").open("ab") as file:
            file.write(b"line")

    monkeypatch.setattr(media.shutil, "copyfileobj", always_growing)
    with pytest.raises(BackupFailed, match="log changed each of the 3 times"):
        copy_media(target, Silent(), alias="default")


def test_a_file_that_is_deleted_meanwhile_is_as_if_it_had_been_before(uploads, target, monkeypatch):
    for name in "ab":
        (uploads / name).write_bytes(b"x")
    copy = media.shutil.copyfileobj

    def deleting(*args):
        copy(*args)
        (uploads / "b").unlink(missing_ok=True)

    monkeypatch.setattr(media.shutil, "copyfileobj", deleting)
    assert copy_media(target, Silent(), alias="default").files == 1
    assert copied(target) == {"a": b"x"}


def test_a_directory_that_cannot_be_read_is_not_skipped(uploads, target, monkeypatch):
    (uploads / "closed").mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        copy_media(target, Silent(), alias="default")


@pytest.mark.parametrize("root", ["", "/no/such/directory"])
def test_no_media_root_is_told(settings, root):
    settings.MEDIA_ROOT = root
    with pytest.raises(ConfigurationError, match="is not a directory"):
        media_bytes()
