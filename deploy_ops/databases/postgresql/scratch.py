"""A scratch instance: a server of our own on copied files, recovered to a moment, gone afterwards.

The files of a base backup are the whole cluster. They are served from a private directory, to
nobody but who may enter its socket directory, and never reach anything outside: nothing is
archived, no subscription is followed, and no library is loaded that its configuration had named.

    <parent>/<process>-<random>/owner     locked while the process lives (lock_file.py)
                                data/     the data directory
                                socket    a link to the socket directory, whose path has to be short
                                log       what the server prints

What a killed command left, its server too, is recognised by the lock and removed by the next one.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from deploy_ops.databases.postgresql.programs import find_program
from deploy_ops.databases.postgresql.server import Server
from deploy_ops.errors import ConfigurationError, RestoreFailed
from deploy_ops.files import write_atomically
from deploy_ops.lock_file import OWNER, holder_of, scratch_directory_in
from deploy_ops.process import run, serving
from deploy_ops.redact import server_text

POLL_SECONDS = 0.1
END_SECONDS = 20
SOCKETS = "deploy_ops_"
LAST_LINES = 30
STATUS_LINE = 7  # of postmaster.pid, from 0
# As they are in the cluster's control file: prepared transactions and locks have to find as much
# room as they had.
AS_BEFORE = {
    "max_connections": "max_connections setting",
    "max_worker_processes": "max_worker_processes setting",
    "max_prepared_transactions": "max_prepared_xacts setting",
    "max_locks_per_transaction": "max_locks_per_xact setting",
}
ITS_OWN = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": "5432",
    "archive_mode": "off",
    "hot_standby": "off",
    "recovery_target_action": "promote",
    "recovery_target_timeline": "latest",
    "max_logical_replication_workers": "0",  # or it would consume what the live one subscribes to
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "log_destination": "stderr",
    "logging_collector": "off",
}
SETTINGS_OF_THE_SOURCE = ("postgresql.auto.conf", "pg_ident.conf", "standby.signal")


@dataclass(frozen=True, slots=True)
class Target:
    """Where recovery ends: before the first commit at or after `at`, or at the point `name`."""

    at: datetime | None = None
    name: str | None = None

    def settings(self) -> Mapping[str, str]:
        """As parameters of the server."""
        if self.name is not None:
            return {"recovery_target_name": self.name}
        assert self.at is not None
        at = self.at.astimezone(UTC).isoformat(sep=" ", timespec="microseconds")
        return {"recovery_target_time": at, "recovery_target_inclusive": "off"}


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs the server: us, or as root the owner of the directory that it lies in."""

    user: int
    group: int

    @property
    def prefix(self) -> tuple[str, ...]:
        """What stands before the server's program, for root."""
        if os.geteuid() != 0:
            return ()
        who = (f"--reuid={self.user}", f"--regid={self.group}", "--clear-groups")
        return ("setpriv", *who, "--pdeathsig=QUIT", "--")

    def give(self, path: Path) -> None:
        """Let the account have a file, or a directory with all that is in it; only root gives."""
        if os.geteuid() != 0:
            return
        for directory, _, files in os.walk(path):
            for name in ("", *files):
                os.chown(os.path.join(directory, name), *self._ids, follow_symlinks=False)

    @property
    def _ids(self) -> tuple[int, int]:
        return self.user, self.group


def account_for(directory: Path) -> Account:
    """Return who can run a server on files in a directory; raises ConfigurationError for root."""
    status = directory.stat()
    if status.st_uid == 0:
        raise ConfigurationError(
            f"A scratch instance of PostgreSQL is needed, whose server refuses to run as root, and "
            f"{directory} belongs to root. Nothing was changed. Give it to the user that "
            f"PostgreSQL is to run as:\n    chown -R postgres {directory}"
        )
    return Account(status.st_uid, status.st_gid)


@contextmanager
def scratch_instance(
    parent: Path,
    fill: Callable[[Path], None],
    *,
    major: int,
    target: Target,
    restore_command: str,
) -> Iterator[Callable[[Server], Server]]:
    """Recover what `fill` puts into a data directory to a target, and serve it for the block.

    Yields how to reach a database there instead of at the live server: with the same role, over a
    socket. Raises RestoreFailed with the server's last words if it does not get there.
    """
    account = account_for(parent.parent)
    parent.mkdir(mode=0o700, exist_ok=True)
    account.give(parent)
    end_orphans(parent)
    postgres = find_program("postgres", major).path
    with scratch_directory_in(parent) as directory, _socket_directory(directory) as sockets:
        data = directory / "data"
        data.mkdir(mode=0o700)
        fill(data)
        _configure(data, major, target, restore_command, sockets)
        account.give(directory)
        account.give(sockets)
        log, argv = directory / "log", [*account.prefix, postgres, "-D", str(data)]
        with serving(argv, log=log, stop=signal.SIGQUIT, cwd="/") as child:
            _wait_until_promoted(child, data, log)
            yield lambda server: _over(server, sockets)


def end_orphans(parent: Path) -> None:
    """End servers that killed commands have left, and remove their socket directories."""
    for left in parent.iterdir():
        if not left.is_dir() or holder_of(left / OWNER) is not None:
            continue
        _end_server(left / "data")
        link = left / "socket"
        if link.is_symlink() and link.readlink().name.startswith(SOCKETS):
            shutil.rmtree(link.readlink(), ignore_errors=True)


def _end_server(data: Path) -> None:
    """End the server on a data directory: the process that works in it and no other."""
    try:
        pid = int((data / "postmaster.pid").read_text(encoding="ascii").split("\n", 1)[0])
    except (OSError, ValueError):
        return
    deadline = time.monotonic() + END_SECONDS
    while _works_in(pid, data) and time.monotonic() < deadline:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)
        time.sleep(POLL_SECONDS)


def _works_in(pid: int, data: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").samefile(data)
    except OSError:
        return False


@contextmanager
def _socket_directory(scratch: Path) -> Iterator[Path]:
    """Make one whose path is short enough for a socket, and leave a link to it."""
    sockets = Path(tempfile.mkdtemp(prefix=SOCKETS, dir="/tmp"))
    try:
        (scratch / "socket").symlink_to(sockets)
        yield sockets
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


def _configure(data: Path, major: int, target: Target, restore_command: str, sockets: Path) -> None:
    """Write what the server reads; the source's own may name paths and libraries of its host."""
    for name in SETTINGS_OF_THE_SOURCE:
        (data / name).unlink(missing_ok=True)
    settings = {
        **ITS_OWN,
        **_as_before(data, major),
        **target.settings(),
        "restore_command": restore_command,
        "unix_socket_directories": str(sockets),
        "hba_file": str(data / "scratch_hba.conf"),
        "ident_file": str(data / "scratch_ident.conf"),
    }
    lines = [f"{name} = {_quoted(value)}\n" for name, value in settings.items()]
    write_atomically(data / "postgresql.conf", "".join(lines).encode())
    write_atomically(data / "scratch_hba.conf", b"local all all trust\n")
    write_atomically(data / "scratch_ident.conf", b"")
    write_atomically(data / "recovery.signal", b"")


def _as_before(data: Path, major: int) -> Mapping[str, str]:
    printed = run([find_program("pg_controldata", major).path, str(data)]).stdout
    facts = dict(line.split(":", 1) for line in printed.splitlines() if ":" in line)
    return {name: facts[label].strip() for name, label in AS_BEFORE.items()}


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _wait_until_promoted(child: subprocess.Popen[str], data: Path, log: Path) -> None:
    """Until then the server refuses connections; it ends where it cannot get there."""
    while not _is_ready(data):
        if child.poll() is not None:
            raise RestoreFailed(
                "The scratch instance did not get to that moment. Its last words:\n"
                f"{_last_words(log)}\nThe live database was not changed, and the scratch instance "
                "is removed."
            )
        time.sleep(POLL_SECONDS)


def _is_ready(data: Path) -> bool:
    """What it writes there for pg_ctl: while it recovers, `starting`."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    return len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == "ready"


def _last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return server_text("\n".join(lines[-LAST_LINES:]))


def _over(server: Server, sockets: Path) -> Server:
    """The same database and role, there."""
    kept = {name: server.parameters[name] for name in ("user", "options", "dbname")}
    parameters = {**kept, "host": str(sockets), "port": "5432"}
    return replace(server, parameters=parameters, secrets={}, is_elsewhere=True)
