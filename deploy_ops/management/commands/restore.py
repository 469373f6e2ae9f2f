"""`manage.py restore`: restore a backup into a new database, then swap it with the live one."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandParser

from deploy_ops.backup.authenticity import Trust
from deploy_ops.backup.catalog import find_backup
from deploy_ops.backup.entry import Backup
from deploy_ops.databases import database_for
from deploy_ops.lock import DeployLock, deploy_lock
from deploy_ops.management.arguments import job_count
from deploy_ops.management.base import Json, OpsCommand
from deploy_ops.management.confirmation import Confirmation
from deploy_ops.management.points import describe_put_back, known_clone, put_back
from deploy_ops.management.restores import describe_restored, restore_as_asked
from deploy_ops.management.table_restores import (
    describe_difference,
    describe_tables,
    restore_tables_as_asked,
    tables_as_json,
)
from deploy_ops.migrate.resume import resolve_restored
from deploy_ops.restore import Restored, compare_query, resume_interrupted
from deploy_ops.restore.job import contents_of
from deploy_ops.restore.point import contents_of_clone

if TYPE_CHECKING:
    from deploy_ops.backup.methods.clone import Clone
    from deploy_ops.management.moments import Wanted

ON_YOUR_WORD = (
    "No key of this host proves who made it, nor that it is unchanged. The code in it (SQL, "
    "functions, triggers) runs with all rights of the restoring role; a superuser's reach the "
    "server's files and programs."
)


def _facts(restored: Restored) -> Json:
    return {name: fact for name, fact in asdict(restored).items() if name != "loss"}


class Command(OpsCommand):
    help = "Restore a backup and keep the database before it; without ID, repair a killed restore."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("id", nargs="?", help="id of the backup or its time, or latest")
        parser.add_argument(
            "--to",
            metavar="TIME",
            help='instead of a backup: the database as it was right before "2026-11-26 08:15:03"',
        )
        parser.add_argument(
            "--to-point",
            metavar="NAME",
            help="as it was at this restore point, or put back the clone of this name",
        )
        parser.add_argument(
            "--before-run", metavar="RUN", help="as it was before this run of safe_migrate"
        )
        parser.add_argument(
            "--into", metavar="NAME", help="restore into this new database; swap nothing"
        )
        parser.add_argument(
            "--in-place",
            action="store_true",
            help="replace the contents of the live database, without creating a second one",
        )
        parser.add_argument(
            "--table",
            action="append",
            dest="tables",
            metavar="NAME",
            help="put only the rows of this table back; more than once for several together",
        )
        parser.add_argument(
            "--rows",
            metavar="SQL",
            help="only show what a query answers otherwise on the backup than on the live database",
        )
        parser.add_argument(
            "--jobs", type=job_count, default=2, help="tables restored at a time (default 2)"
        )
        parser.add_argument(
            "--end-requests",
            action="store_true",
            help="cut off requests that do not end within half of DEPLOY_OPS_HOLD_SECONDS",
        )
        parser.add_argument(
            "--confirm",
            metavar="NAME",
            help="name of the live database: with --noinput it confirms that this is replaced",
        )
        parser.add_argument(
            "--trust-unauthenticated",
            action="store_true",
            help="restore a backup that no key of this host proves, and run the code in it",
        )

    def operate(self, options: dict[str, Any]) -> tuple[int, Json]:
        """Refuse without consent, repair what was cut off, restore."""
        from deploy_ops.management.moments import wanted_moment  # slow to load

        alias, wanted = options["database"], wanted_moment(options)
        words = wanted.words if wanted else ()
        confirmation = Confirmation(self.tell, options, ("restore", *words) if wanted else ())
        confirmation.check_options()
        with deploy_lock(alias, purpose="restore") as lock:
            if repaired := resume_interrupted(alias):
                self.tell(repaired)
            if clone := known_clone(alias, options["to_point"]):
                return self._put_back(clone, lock, confirmation, options)
            if options["id"] is None and wanted is None:
                return self._repaired(repaired)
            backup = self._backup(wanted, lock, options)
            if backup.verdict.trust is Trust.ACCEPTED:
                self.tell(f"Backup {backup.id} is restored on your word. {ON_YOUR_WORD}")
            if options["rows"] is not None:
                return self._compare_rows(backup, lock, options)
            if options["tables"]:
                return self._restore_tables(backup, lock, confirmation, options)
            restored = restore_as_asked(backup, lock, confirmation, self.progress, options)
            for line in describe_restored(restored, backup, alias):
                self.tell(line)
            if options["into"] is None:
                resolve_restored(alias, contents_of(backup))
        return 0, {"status": "ok", "backup": backup.id, **_facts(restored)}

    def _put_back(
        self, clone: "Clone", lock: DeployLock, confirmation: Confirmation, options: dict[str, Any]
    ) -> tuple[int, Json]:
        alias = options["database"]
        restored = put_back(clone, lock, confirmation, self.progress, options)
        for line in describe_put_back(restored, clone, alias):
            self.tell(line)
        resolve_restored(alias, contents_of_clone(clone))
        return 0, {"status": "ok", "point": clone.database, **_facts(restored)}

    def _compare_rows(
        self, backup: Backup, lock: DeployLock, options: dict[str, Any]
    ) -> tuple[int, Json]:
        how = {"alias": options["database"], "lock": lock, "jobs": options["jobs"]}
        found = compare_query(backup, options["rows"], **how, progress=self.progress)
        for line in describe_difference(found):
            self.tell(line)
        return 0, {"status": "ok", "backup": backup.id, **asdict(found)}

    def _restore_tables(
        self, backup: Backup, lock: DeployLock, confirmation: Confirmation, options: dict[str, Any]
    ) -> tuple[int, Json]:
        restored = restore_tables_as_asked(backup, lock, confirmation, self.progress, options)
        for line in describe_tables(restored, backup):
            self.tell(line)
        status = "ok" if restored.kept else "nothing_to_do"
        return 0, {"status": status, "backup": backup.id, **tables_as_json(restored)}

    def _backup(self, wanted: "Wanted | None", lock: DeployLock, options: dict[str, Any]) -> Backup:
        """The one that is named, or one that is made now of the database at that moment."""
        alias = options["database"]
        if wanted is None:
            return self._find(alias, options)
        from deploy_ops.restore.point_in_time import backup_of  # needs psycopg

        made = backup_of(
            wanted.moment(alias),
            alias=alias,
            lock=lock,
            progress=self.progress,
            jobs=options["jobs"],
        )
        self.tell(f"Backup {made.id} has the database {made.label}.")
        return made

    def _find(self, alias: str, options: dict[str, Any]) -> Backup:
        """Find the backup; for `--into` it may be of another database, which is printed."""
        backup = find_backup(
            alias,
            options["id"],
            trust_unauthenticated=options["trust_unauthenticated"],
            from_elsewhere=options["into"] is not None,
        )
        if options["id"] == "latest" and backup.source != database_for(alias).key():
            self.tell(
                "There is no backup of this database. The newest one is "
                f"{backup.id}, of {backup.manifest.database.place}."
            )
        return backup

    def _repaired(self, repaired: str) -> tuple[int, Json]:
        if not repaired:
            self.report("No restore was cut off: there is nothing to repair.")
        return 0, {"status": "ok" if repaired else "nothing_to_do", "repaired": repaired}
