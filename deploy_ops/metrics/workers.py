"""Where the workers of one server count, so that a scrape of any of them adds up all of them.

prometheus_client writes a file per process below PROMETHEUS_MULTIPROC_DIR and reads the variable
when it is imported, so the hooks of gunicorn's master call this before the application is loaded:

    on_starting  count_in_own_directory()
    child_exit   absorb(worker.pid)
    on_exit      remove_own_directory()
"""

import fcntl
import os
import shutil
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "deploy-ops-metrics-"
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
# The sums of all workers that are gone: <kind>_gone.db beside <kind>_<pid>.db.
GONE = "gone"
# Held by the master and, as a fork inherits it, by every worker: free when none of them is left.
IN_USE = "in_use"
STARTUP_SECONDS = 10


def count_in_own_directory() -> None:
    """Make this server's directory, empty and private, below TMPDIR; remove those of killed ones.

    A new one for each master: after SIGUSR2 two of them serve, and neither may clear the other's.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if _is_abandoned(left):
            shutil.rmtree(left, ignore_errors=True)
    os.environ[VARIABLE] = tempfile.mkdtemp(prefix=PREFIX)
    mark = os.open(Path(os.environ[VARIABLE], IN_USE), os.O_RDONLY | os.O_CREAT, 0o600)
    fcntl.flock(mark, fcntl.LOCK_SH)


def remove_own_directory() -> None:
    """Remove it, after the last worker has gone."""
    shutil.rmtree(os.environ.pop(VARIABLE), ignore_errors=True)


def absorb(pid: int) -> None:
    """Add the counts of a worker that is gone to those of its predecessors; remove its files.

    prometheus_client keeps them for ever, so that with `max_requests` every scrape would read more
    files. A file that the worker could not finish is set aside, as it would fail all scrapes.
    Raises OSError.
    """
    directory = Path(os.environ[VARIABLE])
    with _locked(directory, fcntl.LOCK_EX):
        for path in sorted(directory.glob(f"*_{pid}.db")):
            kind = path.stem.removesuffix(f"_{pid}")
            try:
                if not kind.startswith("gauge"):  # the last value of a gauge says nothing any more
                    _add(path, directory / f"{kind}_{GONE}.db")
            except (RuntimeError, ValueError, struct.error):
                path.rename(path.with_suffix(".unreadable"))
            path.unlink(missing_ok=True)


@contextmanager
def counting_files() -> Iterator[list[str]]:
    """Yield the files of all workers, while none is absorbed: its counts would be missed, or twice.

    Without the empty ones. A worker makes its file before it fills it, and where it was killed in
    between no scrape would ever succeed: https://github.com/prometheus/client_python/issues/1199
    """
    directory = Path(os.environ[VARIABLE])
    with _locked(directory, fcntl.LOCK_SH):
        yield [str(path) for path in sorted(directory.glob("*.db")) if path.stat().st_size]


def _is_abandoned(directory: Path) -> bool:
    try:
        if time.time() - directory.lstat().st_mtime < STARTUP_SECONDS:
            return False  # its server may be about to lock it
        with (directory / IN_USE).open("rb") as mark:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # in use, or somebody else's
        return False
    return True


def _add(path: Path, total: Path) -> None:
    # Late: the variable is not set yet when the master imports this module.
    from prometheus_client.mmap_dict import (  # pylint: disable=import-outside-toplevel
        MmapedDict,
    )

    # Read to its end first, so that an unreadable one adds nothing.
    counted = list(MmapedDict.read_all_values_from_file(str(path)))
    sums = MmapedDict(str(total))
    try:
        for key, value, _time, _position in counted:
            sums.write_value(key, sums.read_value(key)[0] + value, 0.0)
    finally:
        sums.close()


@contextmanager
def _locked(directory: Path, kind: int) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)
