"""The directories of releases: built once from a tag, never changed, and removed when they are old.

A virtualenv knows its own path, so a release is built where it stays, and is one only when
`release.json` is there, which is written last: what lacks it was cut off and is built anew.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy_ops.errors import ProgramError, ReleaseRefused
from deploy_ops.files import read_object
from deploy_ops.process import call, run
from deploy_ops.release.host.colours import in_use
from deploy_ops.release.host.config import Host
from deploy_ops.release.host.tags import FORM, Tag, parse

COMPLETE = "release.json"
ENVIRONMENT = "release.env"
LEAST_INODES = 10_000


@dataclass(frozen=True, slots=True)
class Release:
    """A directory with code and virtualenv of one commit."""

    tag: str
    commit: str


def directory_of(host: Host, tag: Tag) -> Path:
    """Where the release of a tag is."""
    return host.releases / tag.name


def find_release(host: Host, tag: Tag) -> Release | None:
    """The release that is there, None if none is or it was cut off."""
    return read_release(directory_of(host, tag))


def read_release(directory: Path) -> Release | None:
    """The release that a directory has, None if it has none or it was cut off."""
    try:
        content = read_object((directory / COMPLETE).read_bytes()) or {}
        return Release(str(content["tag"]), str(content["commit"]))
    except (OSError, KeyError):
        return None


def build(host: Host, tag: Tag, commit: str) -> None:
    """Make the release unless it is there; raises ReleaseRefused, and nothing else has changed."""
    there = find_release(host, tag)
    if there is not None:
        if there.commit != commit:
            raise ReleaseRefused(
                f"{tag.name} is built here from commit {there.commit[:12]}, and the tag is at "
                f"{commit[:12]} now: somebody has moved it. Nothing was changed. "
                "Tag the next version."
            )
        return
    _check_room(host)
    directory = directory_of(host, tag)
    shutil.rmtree(directory, ignore_errors=True)
    try:
        directory.mkdir(parents=True)
        _unpack(host, directory, commit)
        _install(host, directory)
        _write_environment(host, directory, tag)
        _complete(directory, Release(tag.name, commit))
    except (OSError, ProgramError) as error:
        raise ReleaseRefused(
            f"{tag.name} could not be built, and nothing else was begun. What there is of it in "
            f"{directory} is built again next time.\n{error}"
        ) from error


def _check_room(host: Host) -> None:
    host.releases.mkdir(exist_ok=True)
    disk = os.statvfs(host.releases)
    free = disk.f_bavail * disk.f_frsize
    if free < host.free_bytes:
        raise ReleaseRefused(
            f"{free / 1e9:.1f} GB are free on the disk of {host.releases}, and free_bytes asks for "
            f"{host.free_bytes / 1e9:.1f}. Nothing was changed. See what is large:\n"
            f"    du -sh {host.releases}/*"
        )
    if disk.f_files and disk.f_favail < LEAST_INODES:
        raise ReleaseRefused(
            f"{disk.f_favail} inodes are free on the disk of {host.releases}: a release has "
            f"thousands of files. Nothing was changed."
        )


def _unpack(host: Host, directory: Path, commit: str) -> None:
    archive = directory / ".release.tar"
    run(["git", "archive", "--format=tar", f"--output={archive}", commit], cwd=str(host.root))
    run(
        ["tar", "--extract", "--no-same-owner", f"--file={archive}"],
        cwd=str(directory),
        umask=0o022,
    )
    archive.unlink()


def _install(host: Host, directory: Path) -> None:
    # Without pip: nobody installs anything into a release later, and it takes 3 s less.
    environment = directory / ".venv"
    run([host.python, "-m", "venv", "--without-pip", str(environment)], umask=0o022)
    python, requirements = environment / "bin" / "python", directory / "requirements.txt"
    call(
        [sys.executable, "-m", "pip", f"--python={python}", "install", "--quiet"]
        + ["--disable-pip-version-check", "--require-hashes", f"--requirement={requirements}"],
        umask=0o022,
    )
    # Whoever serves may not write here, and would compile at each start. What cannot be compiled
    # is told by whoever imports it.
    with suppress(ProgramError):
        run(
            [str(python), "-m", "compileall", "-q", "-x", r"/\.venv/", "."],
            cwd=str(directory),
            umask=0o022,
        )


def _write_environment(host: Host, directory: Path, tag: Tag) -> None:
    lines = [f"APP_VERSION={tag.version}", f"STATIC_ROOT={host.root / 'static'}"]
    (directory / ENVIRONMENT).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _complete(directory: Path, release: Release) -> None:
    os.sync()  # thousands of files; a power cut must not leave a release that is complete by name
    path = directory / COMPLETE
    path.write_text(json.dumps(asdict(release)), encoding="utf-8")
    os.sync()


def releases(host: Host) -> Iterator[Tag]:
    """Tags of all directories, complete or not, the newest version first."""
    try:
        names = [path.name for path in host.releases.iterdir() if FORM.fullmatch(path.name)]
    except FileNotFoundError:
        return iter(())
    return iter(sorted(map(parse, names), reverse=True))


def prune(host: Host) -> list[str]:
    """Remove all but the newest `keep` releases and those a colour has; return the tags."""
    kept = set(in_use(host))
    others = [tag for tag in releases(host) if tag.name not in kept]
    removed = others[max(host.keep - len(kept), 0) :]
    for tag in removed:
        (directory_of(host, tag) / COMPLETE).unlink(missing_ok=True)  # no release from here on
        shutil.rmtree(directory_of(host, tag))
    return [tag.name for tag in removed]
