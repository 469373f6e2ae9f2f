"""Uploads with names that a file system takes and others do not, there and back again."""

import os
import shutil

import pytest

NAMES = [
    b"Beleg-\xfc.pdf",  # latin-1
    b"\xff\xfe",
    b"n" * 255,
    b"\xc3\xbc" * 127 + b"x",
    b"back\\slash.pdf",
    b"..\\..\\up.pdf",
    b"new\nline \x1b[2J.pdf",
    b"--rsh=x",
    b"%FF.pdf",
    b"e\xcc\x81 and \xc3\xa9",
    b"dir-\xfc/inner-\xe9.txt",
]


@pytest.fixture
def uploads(sqlite_project):
    sqlite_project.run("migrate", check=0)
    root = os.fsencode(sqlite_project.media_root)
    for number, name in enumerate(NAMES):
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"%d" % number)
    return sqlite_project


def contents(root):
    found = {}
    for directory, _, names in os.walk(os.fsencode(root)):
        for name in names:
            with open(os.path.join(directory, name), "rb") as file:
                found[os.path.relpath(os.path.join(directory, name), os.fsencode(root))] = (
                    file.read()
                )
    return found


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("is_fetched", [False, True], ids=["from here", "from the storage"])
def test_come_back_under_their_names(uploads, is_encrypted, is_fetched):
    saved = contents(uploads.media_root)
    assert saved == {name: b"%d" % number for number, name in enumerate(NAMES)}
    if is_encrypted:
        path = uploads.directory / "backup.keys"
        path.write_text("2026:" + 43 * "A" + "=\n")
        path.chmod(0o600)
        uploads.env["DEPLOY_OPS_BACKUP_KEY_FILE"] = str(path)
    if is_fetched:
        storage = {"BACKEND": "django.core.files.storage.FileSystemStorage"}
        storage["OPTIONS"] = {"location": str(uploads.directory / "remote")}
        static = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
        files = {"BACKEND": "django.core.files.storage.FileSystemStorage"}
        uploads.settings(STORAGES={"default": files, "staticfiles": static, "backups": storage})
    backup = uploads.json("backup", "--media", check=0)["backup"]
    uploads.run("backups", "verify", "latest", check=0)
    if is_fetched:
        shutil.rmtree(uploads.backups_dir / backup)
    for path in uploads.media_root.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    uploads.run("restore", backup, "--noinput", "--confirm", uploads.database.name, check=0)
    assert contents(uploads.media_root) == saved
    uploads.run("backups", "list", check=0)


def test_a_damaged_one_is_named_on_any_terminal(uploads):
    backup = uploads.json("backup", "--media", check=0)["backup"]
    path = os.fsencode(uploads.backups_dir / backup / "media") + b"/Beleg-\xfc.pdf"
    with open(path, "wb") as file:
        file.write(b"x")
    result = uploads.run("backups", "verify", "latest", env={"PYTHONIOENCODING": "ascii"}, check=1)
    assert r"Beleg-\udcfc.pdf" in result.stdout + result.stderr
    assert "Traceback" not in result.stderr
