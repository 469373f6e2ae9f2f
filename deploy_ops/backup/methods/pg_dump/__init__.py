"""PostgreSQL by pg_dump and pg_restore of the server's own major version."""

import os
from pathlib import Path

from django.core.checks import CheckMessage
from django.db import connections

from deploy_ops.backup.manifest import Manifest
from deploy_ops.backup.methods.base import Method, Snapshot, Unchanged
from deploy_ops.backup.methods.pg_dump import archive, checks, dump, in_place, load, restorable
from deploy_ops.databases.postgresql.server import Server, server_of
from deploy_ops.progress import Progress


class PgDump(Method):
    """An archive of one PostgreSQL database, which is reached directly.

    With `server` it is made of a copy of that database, wherever that is.
    """

    def __init__(self, alias: str, server: Server | None = None) -> None:
        super().__init__(alias)
        self._copy = server

    @property
    def _server(self) -> Server:
        return self._copy or server_of(self.alias)

    def check_backup(self) -> list[str]:
        """Look for what would make `dump` fail."""
        name = f"deploy_ops/look/{os.getpid()}"
        with self._server.connect(application_name=name) as connection:
            is_copy = self._copy is not None
            return checks.check_backup(self.alias, self._server, connection, is_copy=is_copy)

    def unrestorable(self) -> list[CheckMessage]:
        """Look for what the role could save and could not restore."""
        name = f"deploy_ops/look/{os.getpid()}"
        with self._server.connect(application_name=name) as connection:
            found = restorable.unrestorable(connection, self.alias)
            return [each.as_finding() for each in found]

    def dump(self, directory: Path, *, jobs: int, progress: Progress) -> Snapshot:
        """Write the database into the empty directory; raises BackupFailed, ProgramError."""
        return dump.dump(self._server, directory, jobs=jobs, progress=progress)

    def read_through(self, directory: Path) -> None:
        """Read a dump to its last byte as a restore would; raises BackupCorrupt."""
        archive.read_through(directory)

    def check_restore(self, manifest: Manifest, *, into: str | None = None) -> list[str]:
        """Look for what would make the restore beside and the swap fail."""
        return checks.check_restore(self.alias, self._server, manifest, into=into)

    def restore_beside(
        self, directory: Path, manifest: Manifest, *, name: str, jobs: int, progress: Progress
    ) -> None:
        """Create database `name` from the dump; raises RestoreFailed, and then it is gone again."""
        load.restore_beside(
            self._server, directory, manifest, name=name, jobs=jobs, progress=progress
        )

    def check_in_place(self, manifest: Manifest) -> list[str]:
        """Look for what would make the restore in place fail."""
        return checks.check_in_place(self.alias, self._server, manifest)

    def restore_in_place(
        self,
        directory: Path,
        manifest: Manifest,
        *,
        unless_changed: Unchanged | None = None,
        progress: Progress,
    ) -> None:
        """Replace the contents of the live database in one transaction; raises RestoreFailed."""
        connections[self.alias].close()
        in_place.restore_in_place(
            self._server, directory, manifest, unless_changed=unless_changed, progress=progress
        )
