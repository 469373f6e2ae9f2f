"""`manage.py backup`: one verified backup."""

from typing import Any

from django.core.management.base import CommandParser

from deploy_ops.audit import Kind
from deploy_ops.backup.create import take_backup
from deploy_ops.backup.restorable import found_at_backup
from deploy_ops.lock import deploy_lock
from deploy_ops.management.arguments import job_count
from deploy_ops.management.base import Json, OpsCommand
from deploy_ops.management.findings import as_json, describe
from deploy_ops.trail import watched


class Command(OpsCommand):
    help = "Take one verified backup of the database and print its id."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("--label", default="", help="a text to find the backup by")
        parser.add_argument(
            "--jobs", type=job_count, default=2, help="tables dumped at a time (default 2)"
        )
        parser.add_argument("--media", action="store_true", help="also save MEDIA_ROOT")

    def operate(self, options: dict[str, Any]) -> tuple[int, Json]:
        """Take the backup under the shared lock: backups may overlap, nothing else may."""
        alias = options["database"]
        lock_of = deploy_lock(alias, purpose="backup", shared=True)
        with watched(Kind.BACKUP, database=alias), lock_of as lock:
            backup = take_backup(
                alias,
                lock=lock,
                label=options["label"],
                jobs=options["jobs"],
                media=options["media"],
                progress=self.progress,
            )
        self.report(f"Backup {backup.id}: {backup.size_bytes / 1e6:.1f} MB in {backup.directory}")
        saved = backup.manifest.media
        if saved and saved.left_out:
            self.tell(
                "Links and other entries of MEDIA_ROOT that are no files were left out "
                f"({saved.left_out}). What links lead to is not in this backup."
            )
        unrestorable = found_at_backup(backup)
        for finding in unrestorable:
            self.tell(describe(finding))
        facts: Json = {"directory": str(backup.directory), "size_bytes": backup.size_bytes}
        seconds = backup.manifest.seconds
        facts["findings"] = [as_json(finding) for finding in unrestorable]
        return 0, {"status": "ok", "backup": backup.id, **facts, "seconds": seconds}
