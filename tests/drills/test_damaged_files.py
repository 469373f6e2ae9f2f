"""Every file that deploy_ops reads back, damaged: named, kept, and no other command stops for it."""

import json
import os
import random
import shutil

import pytest

RUN = "20260131T020000Z-0123abcd"
GARBAGE = {
    "empty": b"",
    "newline": b"\n",
    "nul": b"\0" * 4096 + b"\n",
    "latin-1": b'{"step": "f\xfcr"}\n',
    "cut off": b'{"step": "started", "key',
    "list": b"[]\n",
    "number": b"3\n",
    "other shape": b'{"step": 3, "level": [], "at": {}, "key": 5, "alias": null, "media": 7}\n',
    "deep": b"[" * 200_000 + b"\n",
    "large number": b'{"step": ' + b"9" * 10_000 + b"}\n",
    "surrogate": b'{"step": "\\ud800", "level": "\\udfff"}\n',
}


def put(content):
    def make(path):
        path.write_bytes(content)

    return make


def be_a_directory(path):
    path.mkdir()
    (path / "inside").touch()


def be_a_link(path):
    path.symlink_to("/etc/hostname")


def be_a_dangling_link(path):
    path.symlink_to("/nowhere/at/all")


def be_huge(path):
    path.touch()
    os.truncate(path, 2**40)


KINDS = {name: put(content) for name, content in GARBAGE.items()} | {
    "directory": be_a_directory,
    "fifo": os.mkfifo,
    "link": be_a_link,
    "dangling link": be_a_dangling_link,
    "huge": be_huge,
}


@pytest.fixture
def project(sqlite_project):
    sqlite_project.run("migrate", check=0)
    sqlite_project.run("backup", check=0)
    return sqlite_project


def files_of(project):
    """One of each kind, by a name for the message."""
    [backup] = [path for path in project.backups_dir.iterdir() if (path / "manifest.json").exists()]
    for name in ("restores", "runs", "locks"):
        (project.ops_dir / name).mkdir(mode=0o700, exist_ok=True)
    [lock] = (project.ops_dir / "locks").glob("*.lock")
    return {
        "counter": project.backups_dir / ".sequence",
        "guard": project.backups_dir / ".lock",
        "verified": backup / "verified.jsonl",
        "owner": backup / "owner",
        "restore": project.ops_dir / "restores" / f"{RUN}.0a1b2c3d.json",
        "releases": project.ops_dir / "releases.jsonl",
        "lock": lock,
        "manifest": project.backups_dir / "20250131T020000Z-0123abcd" / "manifest.json",
    }


def replace(path, make):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    make(path)


def run_everything(project):
    """Each command once; what none of them may do is stop with a traceback, or for ever."""
    name = project.database.name
    results = [
        project.run(*argv, timeout=30)
        for argv in (
            ["backups", "list"],
            ["backups", "show", "latest"],
            ["restore"],
            ["backups", "verify", "latest"],
            ["backups", "pin", "latest"],
            ["backup"],
            ["backups", "prune", "--delete"],
            ["restore", "latest", "--noinput", "--confirm", name],
            ["backups", "prune", "--previous-databases"],
            ["safe_migrate"],
        )
    ]
    for result in results:
        assert "Traceback" not in result.stderr and result.code == 0, result
    return results


@pytest.mark.parametrize("kind", KINDS)
def test_each_file_damaged(project, kind):
    files = files_of(project)
    for path in files.values():
        replace(path, KINDS[kind])
    results = run_everything(project)
    report = "".join(result.stdout + result.stderr for result in results)
    if kind not in ("empty",):
        assert ".sequence cannot be used" in report
    assert str(files["restore"]) in report
    assert list(files["restore"].parent.glob("*.damaged-*"))
    assert not list(files["restore"].parent.glob("*.json"))


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes(project, seed):
    print(f"seed {seed}")
    chance = random.Random(seed)
    for path in files_of(project).values():
        replace(path, put(chance.randbytes(chance.randrange(400))))
    run_everything(project)


@pytest.mark.parametrize("seed", range(5))
def test_random_damage_to_what_was_sound(project, seed):
    """Bytes of sound files are changed: what is read is of the form, or set aside."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    key = f"sqlite:{project.database.name}"
    facts = {"key": key, "backup": RUN, "beside": "a", "previous": "b", "media": None}
    sound = {
        "restore": json.dumps({**facts, "stage": "swapping"}),
        "verified": json.dumps({"level": "hash", "at": "2026-01-31T02:00:00+00:00"}) + "\n",
        "counter": "17",
    }
    files = files_of(project)
    for name, text in sound.items():
        content = bytearray(text.encode())
        for _ in range(chance.randrange(1, 4)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        replace(files[name], put(bytes(content)))
    run_everything(project)


@pytest.mark.parametrize("kind", KINDS)
def test_a_journal_that_cannot_be_read_is_never_taken_for_one_that_ended(project, kind):
    path = project.ops_dir / "runs" / f"{RUN}.jsonl"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    replace(path, KINDS[kind])
    result = project.run("safe_migrate", timeout=30)
    assert "Traceback" not in result.stderr, result
    if kind in ("empty", "cut off"):  # what a crash leaves of a run that had not begun
        assert result.code == 0 and f"Run {RUN} did not end" in result.stdout
        return
    assert result.code == 1 and str(path) in result.stderr
    assert "what it did last is not known" in result.stderr
    for argv in (["backup"], ["backups", "prune", "--delete"], ["backups", "list"]):
        assert project.run(*argv, timeout=30).code == 0
    # The way out that it names.
    command = result.stderr.split("\n")
    [move] = [line.strip() for line in command if line.strip().startswith("mv ")]
    assert os.system(move) == 0
    assert project.run("safe_migrate").code == 0
