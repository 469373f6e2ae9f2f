"""Whether what is saved could be restored by the role that saves it, told as findings."""

from django.core.checks import CheckMessage, Warning as Caution

from deploy_ops.backup.entry import Backup
from deploy_ops.backup.methods import method_for


def check_restorable(alias: str) -> list[CheckMessage]:
    """B001 to B008: what the role of an alias could not restore; raises DatabaseUnavailable."""
    return method_for(alias).unrestorable()


def found_at_backup(backup: Backup) -> list[CheckMessage]:
    """The same as it was when the backup was taken."""
    found = backup.manifest.extra.get("unrestorable", [])
    return [
        Caution(each["message"], hint=each["cure"], id=f"deploy_ops.{each['id']}") for each in found
    ]
