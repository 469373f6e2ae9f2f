"""Whether a backup may be used: whoever reads or restores one asks here first."""

from dataclasses import replace

from django.db import DEFAULT_DB_ALIAS

from deploy_ops.advice import manage
from deploy_ops.backup.authenticity import Trust, Verdict
from deploy_ops.backup.entry import Backup
from deploy_ops.errors import BackupUntrusted, ConfigurationError


def require_usable(backup: Backup, alias: str = DEFAULT_DB_ALIAS, reason: str = "") -> None:
    """Raise unless the backup is proven to be ours, or nobody asks, or an operator answers for it.

    Raises ConfigurationError where a key is missing, else BackupUntrusted.
    """
    if backup.verdict.is_usable:
        return
    reason = reason or backup.verdict.reason
    if backup.verdict.trust is Trust.KEY_MISSING:
        raise ConfigurationError(
            f"Backup {backup.id} cannot be used here: {reason} Nothing was changed."
        )
    raise BackupUntrusted(
        f"Backup {backup.id} is not ours: {reason} A backup holds code that runs with all rights "
        f"of the role that restores it. Nothing was changed.{_way_out(backup, alias)}"
    )


def accepted(backup: Backup) -> Backup:
    """Return the backup as one that an operator answers for, or as it is where nobody can."""
    return replace(backup, verdict=Verdict(Trust.ACCEPTED)) if _may_be_accepted(backup) else backup


def _may_be_accepted(backup: Backup) -> bool:
    """An operator can answer for what nothing proves, never for what a key disproves."""
    is_open = backup.verdict.trust in (Trust.UNPROVEN, Trust.KEY_MISSING)
    return is_open and not backup.is_encrypted


def _way_out(backup: Backup, alias: str) -> str:
    if not _may_be_accepted(backup):
        return " See the others:\n    python manage.py backups list"
    restore = manage("restore", backup.id, "--trust-unauthenticated", alias=alias)
    return f" If you know where it comes from:\n{restore}"
