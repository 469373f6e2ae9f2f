"""The archive that needs nothing but PostgreSQL: pg_basebackup, and the log by pg_receivewal.

    DIRECTORY/base/<id>/      one base backup: `data` as pg_basebackup wrote it, and `manifest.json`
    DIRECTORY/wal/            segments of the log, by pg_receivewal or by archive_command
    DIRECTORY/scratch/        data directories of scratch instances, while they run

All of it belongs to one user that is not root, since PostgreSQL's server has to read it and refuses
root.
"""

import json
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from deploy_ops.backup.archives.base import Archive, Base
from deploy_ops.backup.manifest import NAME
from deploy_ops.databases.postgresql.programs import find_program
from deploy_ops.databases.postgresql.scratch import account_for
from deploy_ops.databases.postgresql.segments import Segment, missing, segment_named
from deploy_ops.databases.postgresql.server import Server, server_at, server_of
from deploy_ops.errors import ArchiveFailed, BackupCorrupt, ConfigurationError, ProgramError
from deploy_ops.files import read_object, read_private
from deploy_ops.ids import is_id
from deploy_ops.lock_file import LockFile
from deploy_ops.process import run
from deploy_ops.progress import Progress
from deploy_ops.redact import Secret
from deploy_ops.times import moment

URL = "The url of DEPLOY_OPS_ARCHIVE"
PARTIAL = ".partial"  # of pg_receivewal, the segment that is being written


@dataclass(frozen=True, slots=True)
class BaseBackups(Archive):
    """Base backups and log in one directory of this host; `url` logs in for replication."""

    directory: Path
    url: Secret | None = None

    @property
    def base_dir(self) -> Path:
        """Where base backups are."""
        return self.directory / "base"

    @property
    def wal_dir(self) -> Path:
        """Where segments are."""
        return self.directory / "wal"

    def check(self) -> None:
        """Raise ConfigurationError unless the directory is there, ours, and closed to others."""
        path = shlex.quote(str(self.directory))
        try:
            status = self.directory.lstat()
        except OSError as error:
            raise ConfigurationError(
                f"The archive's directory {self.directory} cannot be read: {error.strerror}. "
                f"Nothing was changed. As root, for the user that runs this:\n"
                f"    install -d -m 700 -o {os.geteuid() or 'kvb'} {path} {path}/base {path}/wal"
            ) from error
        if not self.directory.is_dir() or self.directory.is_symlink():
            raise ConfigurationError(
                f"{self.directory} is no directory itself, so the archive cannot lie there. "
                "Nothing was changed. Name another one in DEPLOY_OPS_ARCHIVE."
            )
        if status.st_mode & 0o027:
            raise ConfigurationError(
                f"The archive's directory {self.directory} is open to others (mode "
                f"{status.st_mode & 0o777:04o}); it holds whole clusters. Nothing was changed. "
                f"Close it:\n    chmod 750 {path}"
            )
        if os.geteuid() not in (0, status.st_uid):
            raise ConfigurationError(
                f"The archive's directory {self.directory} belongs to another user (uid "
                f"{status.st_uid}). Nothing was changed. Run this as that user, or take it over:\n"
                f"    chown -R {os.geteuid()} {path}"
            )

    def server(self, alias: str) -> Server:
        """Log in by `url`, else as the deployment does."""
        return server_at(alias, self.url, URL) if self.url else server_of(alias)

    def bases(self) -> list[Base]:
        """All that have a manifest that can be read, oldest first."""
        paths = sorted(self.base_dir.glob(f"*/{NAME}"))
        found = [_read_base(path) for path in paths if is_id(path.parent.name)]
        return [base for base in found if base is not None]

    def data_of(self, base_id: str) -> Path:
        """The files of a base backup."""
        return self.base_dir / base_id / "data"

    def has(self, segment: str) -> bool:
        """Whether it has its last name; pg_receivewal and archive_command give it at the end."""
        return (self.wal_dir / segment).is_file()

    def segments(self, segment_bytes: int) -> list[Segment]:
        """All complete ones, in order."""
        names = os.listdir(self.wal_dir) if self.wal_dir.is_dir() else []
        found = (segment_named(name, segment_bytes) for name in names)
        return sorted(segment for segment in found if segment is not None)

    def missing(self, base: Base) -> list[str]:
        """Gaps since the segment in which a base begins."""
        first = Segment(base.start_lsn // base.segment_bytes, base.timeline)
        gaps = missing(self.segments(base.segment_bytes), first)
        return [segment.name(base.segment_bytes) for segment in gaps]

    def newest_write(self) -> datetime | None:
        """When a file of the log was last written."""
        written = [path.stat().st_mtime for path in self.wal_dir.glob("*") if path.is_file()]
        return datetime.fromtimestamp(max(written), UTC) if written else None

    def fetch(self, base: Base, directory: Path, progress: Progress) -> None:
        """Verify the base and those it needs, then copy it, or put it together from them."""
        # What commands of root have received, a server that is not root's has to read.
        account_for(self.directory).give(self.wal_dir)
        chain = self.chain_of(base)
        for each in chain:
            progress.say(f"Verifying base backup {each.id}")
            self.verify(each)
        progress.say(f"Copying base backup {base.id}")
        if len(chain) == 1:
            source = f"{self.data_of(base.id)}/."
            run(["cp", "--archive", "--reflink=auto", source, str(directory)])
            return
        program = find_program("pg_combinebackup", base.major).path
        parts = [str(self.data_of(each.id)) for each in chain]
        run([program, "--no-sync", f"--output={directory}", *parts])

    def chain_of(self, base: Base) -> list[Base]:
        """The full base and the incremental ones up to this; raises BackupCorrupt."""
        known = {each.id: each for each in self.bases()}
        chain = [base]
        while parent := chain[0].parent:
            if parent not in known:
                raise BackupCorrupt(
                    f"Base backup {base.id} needs {parent}, which is not in {self.base_dir}. "
                    "Nothing was changed."
                )
            chain.insert(0, known[parent])
        return chain

    def verify(self, base: Base) -> None:
        """Compare every file with its checksum, and read the log in it; raises BackupCorrupt."""
        verify_data(self.data_of(base.id), self.wal_dir, base.major)

    def scratch_directory(self) -> Path:
        """On the disk of the base backups, which is large enough for one more."""
        return self.directory / "scratch"

    @contextmanager
    def in_use(self, *, alone: bool = False) -> Iterator[None]:
        """Keep base backups and segments; with `alone`, nobody else does, and some may go."""
        lock = LockFile(self.directory / ".lock", "archive", shared=not alone)
        if holder := lock.try_acquire():
            raise ArchiveFailed(
                f"The archive is in use by {holder}. Nothing was changed. Wait until that has "
                "ended, then run the command again."
            )
        try:
            yield
        finally:
            lock.release()

    def restore_command(self) -> str:
        """Copy a segment, or what pg_receivewal has of the last one."""
        place = shlex.quote(str(self.wal_dir)).replace("%", "%%")
        return f'f={place}/%f; [ -f "$f" ] || f="$f{PARTIAL}"; [ -f "$f" ] && cp -- "$f" "%p"'


def verify_data(data: Path, wal: Path, major: int) -> None:
    """Prove the files of a base backup by its own manifest, and read the log that it needs.

    Raises BackupCorrupt.
    """
    program = find_program("pg_verifybackup", major)
    try:
        run([program.path, "--exit-on-error", "--quiet", f"--wal-directory={wal}", str(data)])
    except ProgramError as error:
        raise BackupCorrupt(
            f"The base backup in {data} is damaged: {error}\nNothing was changed. Moments from the "
            "next base backup on can still be had."
        ) from error


def write_base(base: Base) -> bytes:
    """As the file that makes a directory a base backup."""
    return json.dumps(asdict(base), default=_text, indent=2).encode() + b"\n"


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _read_base(path: Path) -> Base | None:
    try:
        facts = read_object(read_private(path)) or {}
        facts |= {name: moment(facts.get(name)) for name in ("started_at", "finished_at")}
        base = Base(**{field.name: facts[field.name] for field in fields(Base)})
    except (OSError, KeyError):
        return None
    numbers = (base.timeline, base.start_lsn, base.end_lsn, base.server_version)
    is_whole = base.finished_at and all(isinstance(each, int) for each in numbers)
    return base if is_whole and base.id == path.parent.name and base.segment_bytes else None
