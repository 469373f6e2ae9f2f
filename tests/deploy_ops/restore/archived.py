"""A server with an archive, and a project beside another database of the same server."""

import os
import signal
import threading
from datetime import datetime
from pathlib import Path

from tests.clusters import STOP_SECONDS, PostgresCluster
from tests.project.databases import PostgresDatabase

SETTINGS = """
fsync = off
max_connections = 40
max_prepared_transactions = 5
shared_buffers = 32MB
wal_level = replica
track_commit_timestamp = on
"""
BY_COMMAND = """
archive_mode = on
archive_command = 'test ! -f "{wal}/%f" && cp "%p" "{wal}/.%f" && mv "{wal}/.%f" "{wal}/%f"'
"""
GRANT = "GRANT EXECUTE ON FUNCTION pg_create_restore_point(text), pg_switch_wal() TO app"
REVOKE = GRANT.replace("GRANT", "REVOKE").replace("TO app", "FROM app")


class ArchivedCluster(PostgresCluster):
    """Its archive lies beside its data, and belongs to whoever runs the server."""

    def __init__(self, major: int):
        super().__init__(major)
        self.settings = SETTINGS + ("summarize_wal = on\n" if major >= 17 else "")

    @property
    def archive(self) -> Path:
        """DEPLOY_OPS_ARCHIVE's directory."""
        return self.directory / "archive"

    @property
    def wal(self) -> Path:
        """Where segments go."""
        return self.archive / "wal"

    def _serve(self) -> None:
        for path in (self.archive, self.wal):
            path.mkdir(mode=0o700)
            if self._account:
                os.chown(path, self._account["user"], self._account["group"])
        with (self.directory / "data" / "postgresql.conf").open("a") as configuration:
            configuration.write(BY_COMMAND.format(wal=self.wal))
        super()._serve()

    def restart(self, settings: str = "", *files: str) -> None:
        """Stop it, and start it again with more settings."""
        self._postmaster.send_signal(signal.SIGINT)
        self._postmaster.wait(STOP_SECONDS)
        data = self.directory / "data"
        with (data / "postgresql.conf").open("a") as configuration:
            configuration.write(settings)
        for name in files:
            (data / name).touch()
        PostgresCluster._serve(self)

    def promote(self) -> None:
        """Go on under a new timeline, as a standby does that takes over."""
        self.restart("", "standby.signal")
        self.execute("SELECT pg_promote()")

    def configure(self, project) -> None:
        """Let a project use the archive, with the programs that the server has."""
        project.settings(
            DEPLOY_OPS_ARCHIVE={"engine": "basebackup", "directory": str(self.archive)},
            DEPLOY_OPS_PG_BIN={str(self.major): str(self.bindir)},
        )

    def start(self) -> "ArchivedCluster":
        """Let the application's role make base backups and restore points."""
        super().start()
        self.execute("ALTER ROLE app REPLICATION")
        self.execute(GRANT)
        return self


class Writer:
    """Writes a row every 10 ms; each knows when it was committed, by the server's clock."""

    def __init__(self, database: PostgresDatabase):
        self._database = database
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)
        database.execute("CREATE TABLE tick (id bigserial PRIMARY KEY)")

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_error) -> None:
        self._stop.set()
        self._thread.join()

    def _write(self) -> None:
        with self._database.connect() as connection:
            while not self._stop.wait(0.01):
                connection.execute("INSERT INTO tick DEFAULT VALUES")

    def committed(self) -> dict[int, datetime]:
        """When each row was."""
        rows = self._database.cluster.execute(
            "SELECT id, pg_xact_commit_timestamp(xmin) FROM tick", dbname=self._database.name
        )
        return dict(rows)
