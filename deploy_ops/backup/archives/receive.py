"""The log into the archive while it is written: pg_receivewal, as a service runs it."""

import os

from deploy_ops.backup.archives.basebackup import BaseBackups
from deploy_ops.databases.postgresql.programs import find_program
from deploy_ops.databases.postgresql.server import server_of
from deploy_ops.process import call, run
from deploy_ops.progress import Progress, Silent

SLOT = "deploy_ops_archive"  # the server keeps the log until it has been received


def receive(archive: BaseBackups, alias: str, progress: Progress = Silent()) -> None:
    """Receive the log until told to end, or until the connection is lost, which is ProgramError."""
    archive.check()
    archive.wal_dir.mkdir(mode=0o700, exist_ok=True)
    with server_of(alias).connect(application_name=f"deploy_ops/receive/{os.getpid()}") as live:
        major = live.info.server_version // 10000
    program = find_program("pg_receivewal", major).path
    slot = ["--no-password", f"--slot={SLOT}"]
    with archive.server(alias).environment() as env:
        run([program, *slot, "--create-slot", "--if-not-exists"], env=env)
        progress.say(f"Receiving the write-ahead log into {archive.wal_dir}")
        call([program, *slot, f"--directory={archive.wal_dir}", "--no-loop"], env=env)
