"""Taking a base backup: pg_basebackup, verified, named last."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deploy_ops.advice import manage
from deploy_ops.backup.archives import proof
from deploy_ops.backup.archives.base import Base
from deploy_ops.backup.archives.basebackup import BaseBackups, verify_data, write_base
from deploy_ops.backup.manifest import NAME
from deploy_ops.backup.workspace import PARTIAL, open_workspace
from deploy_ops.databases.postgresql.programs import find_program
from deploy_ops.databases.postgresql.scratch import account_for
from deploy_ops.databases.postgresql.segments import lsn_number
from deploy_ops.databases.postgresql.server import (
    Connection,
    Server,
    scalar,
    server_of,
    system_identifier,
)
from deploy_ops.errors import ArchiveFailed, BackupCorrupt, Interrupted, ProgramError
from deploy_ops.files import write_atomically
from deploy_ops.ids import new_id
from deploy_ops.process import run
from deploy_ops.progress import Progress, Silent

INCREMENTAL = 170000
NOTHING = "No base backup was made, and the server was not changed."
TABLESPACES = """
    SELECT string_agg(spcname, ', ') FROM pg_tablespace
    WHERE spcname NOT IN ('pg_default', 'pg_global')
"""
SIZE = """
    SELECT sum(pg_database_size(oid))::bigint FROM pg_database
    WHERE has_database_privilege(oid, 'CONNECT')
"""
_DONE = re.compile(r"\s*(\d+)/\d+ kB")


@dataclass(frozen=True, slots=True)
class _Source:
    """What is known of the server before."""

    identifier: str
    version: int
    segment_bytes: int
    size_bytes: int
    started_at: datetime
    parent: Base | None


def take_base(
    archive: BaseBackups, alias: str, *, incremental: bool = False, progress: Progress = Silent()
) -> Base:
    """Take a base backup of the server of an alias, with `incremental` of what changed since the
    last one.

    Nothing is left of one that fails; of one that is killed the next one removes what is left.
    Raises ArchiveFailed, ConfigurationError, DatabaseUnavailable, Interrupted.
    """
    archive.check()
    with archive.in_use(), _translated_errors(archive):
        with server_of(alias).connect(application_name=f"deploy_ops/base/{os.getpid()}") as live:
            source = _look(archive, live, alias, incremental)
            base_id = new_id(source.started_at)
            archive.base_dir.mkdir(mode=0o700, exist_ok=True)
            with open_workspace(archive.base_dir, PARTIAL + base_id) as workspace:
                data = workspace.path / "data"
                _run(archive.server(alias), archive, source, data, progress)
                finished_at = scalar(live, "SELECT clock_timestamp()").astimezone(UTC)
                base = _describe(base_id, source, data, finished_at)
                progress.say("Verifying the base backup, and its log in the archive")
                proof.wait_for_log(archive, base, live)
                verify_data(data, archive.wal_dir, base.major)
                write_atomically(workspace.path / NAME, write_base(base))
                account_for(archive.directory).give(archive.base_dir)
                workspace.rename(archive.base_dir / base_id)
                workspace.keep()
    return base


def _look(archive: BaseBackups, live: Connection, alias: str, incremental: bool) -> _Source:
    """Refuse what would fail later."""
    if spaces := scalar(live, TABLESPACES):
        raise ArchiveFailed(
            f"The server has tablespaces ({spaces}), whose files lie elsewhere, and an archive of "
            f"this kind has none. {NOTHING} Use an archive program that knows them, such as "
            "pgBackRest."
        )
    size, free = scalar(live, SIZE), shutil.disk_usage(archive.directory).free
    if free < size and not incremental:
        raise ArchiveFailed(
            f"{archive.directory} has {free / 1e6:.1f} MB free, and the server's databases have "
            f"{size / 1e6:.1f} MB. {NOTHING} See what may go:\n"
            + manage("archive", "prune", alias=alias)
        )
    identifier = system_identifier(live)
    query = "SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size'"
    return _Source(
        identifier=identifier,
        version=live.info.server_version,
        segment_bytes=scalar(live, query),
        size_bytes=size,
        started_at=scalar(live, "SELECT clock_timestamp()").astimezone(UTC),
        parent=_parent(archive, live, identifier) if incremental else None,
    )


def _parent(archive: BaseBackups, live: Connection, identifier: str) -> Base:
    if live.info.server_version < INCREMENTAL:
        raise ArchiveFailed(
            "Incremental base backups need PostgreSQL 17, and the server is "
            f"{live.info.server_version // 10000}. {NOTHING} Leave --incremental out."
        )
    if scalar(live, "SELECT current_setting('summarize_wal')") != "on":
        raise ArchiveFailed(
            f"Incremental base backups need summarize_wal, which is off. {NOTHING} Leave "
            "--incremental out, or as a superuser:\n    ALTER SYSTEM SET summarize_wal = on;\n"
            "    SELECT pg_reload_conf();"
        )
    own = [base for base in archive.bases() if base.system_identifier == identifier]
    if not own:
        raise ArchiveFailed(
            "There is no base backup of this server that an incremental one could build on. "
            f"{NOTHING} Leave --incremental out."
        )
    return own[-1]


def _run(
    server: Server, archive: BaseBackups, source: _Source, data: Path, progress: Progress
) -> None:
    program = find_program("pg_basebackup", source.version // 10000).path
    argv = [program, f"--pgdata={data}", "--format=plain", "--checkpoint=fast", "--no-password"]
    # Not `stream`: of a killed pg_basebackup its second process lives on, with the connection of
    # the first one, and on the server every DROP DATABASE waits for the two.
    argv += ["--wal-method=none", "--manifest-checksums=SHA256", "--progress"]
    if source.parent:
        argv.append(f"--incremental={archive.data_of(source.parent.id) / 'backup_manifest'}")
    with progress.track("Base backup", source.size_bytes) as report, server.environment() as env:
        run(argv, env=env, on_line=_reporter(report))


def _reporter(report: Callable[[int], None]) -> Callable[[str], None]:
    def on_line(line: str) -> None:
        if found := _DONE.match(line):
            report(int(found[1]) * 1024)

    return on_line


def _describe(base_id: str, source: _Source, data: Path, finished_at: datetime) -> Base:
    """What pg_basebackup says in its own manifest, and what only the server could say."""
    manifest = json.loads((data / "backup_manifest").read_bytes())
    ranges = manifest["WAL-Ranges"]
    return Base(
        id=base_id,
        started_at=source.started_at,
        finished_at=finished_at,
        timeline=int(ranges[-1]["Timeline"]),
        start_lsn=min(lsn_number(each["Start-LSN"]) for each in ranges),
        end_lsn=max(lsn_number(each["End-LSN"]) for each in ranges),
        system_identifier=source.identifier,
        server_version=source.version,
        segment_bytes=source.segment_bytes,
        size_bytes=sum(file["Size"] for file in manifest["Files"]),
        parent=source.parent.id if source.parent else None,
    )


@contextmanager
def _translated_errors(archive: BaseBackups) -> Iterator[None]:
    try:
        yield
    except BackupCorrupt as error:
        raise ArchiveFailed(
            f"The base backup was read again and is not what the server sent, so it was removed. "
            f"{error}"
        ) from error
    except (OSError, ProgramError) as error:
        free = shutil.disk_usage(archive.directory).free
        raise ArchiveFailed(
            f"The base backup failed: {error}\n{NOTHING} {archive.directory} has "
            f"{free / 1e6:.1f} MB free."
        ) from error
    except KeyboardInterrupt as error:
        raise Interrupted(f"The base backup was stopped by the operator. {NOTHING}") from error
