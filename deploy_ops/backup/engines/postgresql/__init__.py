"""The engine of PostgreSQL: pg_dump and pg_restore of the server's own major version."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from deploy_ops.backup.engines.base import Counts, Engine, Identity, Json, Snapshot, Writes
from deploy_ops.backup.engines.postgresql import (
    archive,
    checks,
    dump,
    in_place,
    load,
    names,
    swap,
    writes,
)
from deploy_ops.backup.manifest import Manifest
from deploy_ops.postgresql import Connection, Server, scalar, server_of, system_identifier
from deploy_ops.progress import Progress


class PostgresqlEngine(Engine):
    """One PostgreSQL database, reached directly (see deploy_ops.postgresql)."""

    vendor: ClassVar[str] = "postgresql"

    def __init__(self, alias: str) -> None:
        super().__init__(alias)
        self._witness: Connection | None = None

    @property
    def database_name(self) -> str:
        """Name of the live database."""
        return self._server.dbname

    @property
    def _server(self) -> Server:
        return server_of(self.alias)

    def identify(self) -> Identity:
        """Say which database this is; raises DatabaseUnavailable."""
        server = self._server
        with server.connect(application_name="deploy_ops/identify") as connection:
            query = "SELECT oid::bigint FROM pg_database WHERE datname = current_database()"
            return Identity(
                engine=self.vendor,
                name=server.dbname,
                host=server.host,
                port=server.port,
                system_identifier=system_identifier(connection),
                oid=scalar(connection, query),
                server_version=connection.info.server_version,
                size_bytes=scalar(connection, "SELECT pg_database_size(current_database())"),
            )

    def mark(self) -> Json:
        """Take the present position of writes."""
        with self._looking() as connection:
            return writes.take_mark(connection)

    def writes_since(self, mark: Json, *, own_rows: Counts | None = None) -> Writes:
        """Tell what others wrote since; proof only inside `before` of a swap (see writes.py)."""
        _report_counters(connections[self.alias])
        with self._looking() as connection:
            return writes.writes_since(connection, mark, own_rows)

    @contextmanager
    def _looking(self) -> Iterator[Connection]:
        """Yield a connection to the live database: during a swap, the one that is let stay."""
        if self._witness is not None:
            yield self._witness
            return
        with self._server.connect(application_name=f"deploy_ops/look/{os.getpid()}") as connection:
            yield connection

    def check_backup(self) -> list[str]:
        """Look for what would make `dump` fail."""
        with self._looking() as connection:
            return checks.check_backup(connection)

    def dump(self, directory: Path, *, jobs: int, progress: Progress) -> Snapshot:
        """Write the database into the empty directory; raises BackupFailed, ProgramError."""
        return dump.dump(self._server, directory, jobs=jobs, progress=progress)

    def read_through(self, directory: Path) -> None:
        """Read a dump to its last byte as a restore would; raises BackupCorrupt."""
        archive.read_through(directory)

    def check_restore(self, manifest: Manifest, *, into: str | None = None) -> list[str]:
        """Look for what would make the restore beside and the exchange fail."""
        return checks.check_restore(self._server, manifest, into=into)

    def restore_beside(
        self, directory: Path, manifest: Manifest, *, name: str, jobs: int, progress: Progress
    ) -> None:
        """Create database `name` from the dump; raises RestoreFailed, and then it is gone again."""
        load.restore_beside(
            self._server, directory, manifest, name=name, jobs=jobs, progress=progress
        )

    def count_rows(self, name: str) -> tuple[Counts, Counts]:
        """Count every table of database `name`, and read its sequences."""
        return load.count_rows(self._server, name)

    def name_beside(self, suffix: str) -> str:
        """Name a database beside the live one, within 63 bytes."""
        return names.name_beside(self._server.dbname, suffix)

    def swap(self, beside: str, kept: str, *, before: Callable[[], None]) -> None:
        """Exchange the two; `writes_since` called by `before` gives proof."""
        server = self._server
        connections[self.alias].close()
        with server.connect(application_name=f"deploy_ops/witness/{os.getpid()}") as witness:
            self._witness = witness

            def witnessed() -> None:
                before()
                witness.close()

            try:
                pid = witness.info.backend_pid
                swap.swap(server, beside, kept, before=witnessed, spare_pid=pid)
            finally:
                self._witness = None

    def repair_swap(self, beside: str, kept: str) -> str:
        """Finish or undo a swap that was killed; say in one sentence what was found and done."""
        return swap.repair(self._server, beside, kept)

    def drop(self, name: str) -> None:
        """Drop a database beside the live one; raises RestoreRefused for the live one."""
        with self._server.maintenance(application_name="deploy_ops/drop") as connection:
            names.drop(connection, self._server.dbname, name)

    def databases_beside(self) -> list[str]:
        """Names of the databases that restores left or made, oldest first."""
        with self._server.maintenance(application_name="deploy_ops/list") as connection:
            return names.databases_beside(connection, self._server.dbname)

    def check_in_place(self, manifest: Manifest) -> list[str]:
        """Look for what would make the restore in place fail."""
        return checks.check_in_place(self._server, manifest)

    def restore_in_place(self, directory: Path, manifest: Manifest, *, progress: Progress) -> None:
        """Replace the contents of the live database in one transaction; raises RestoreFailed."""
        connections[self.alias].close()
        in_place.restore_in_place(self._server, directory, progress=progress)


def _report_counters(connection: BaseDatabaseWrapper) -> None:
    """Let Django's own session report now what callers pass as `own_rows`."""
    if connection.connection is not None and not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_force_next_flush()")
