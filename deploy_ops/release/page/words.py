"""What the values of the page are called in the reader's language."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

WORDS: Mapping[str, Mapping[str, Any]] = {
    "stage": {
        "beginning": _("beginning"),
        "backup": _("taking the safety backup"),
        "rehearsal": _("rehearsing"),
        "applying": _("applying"),
        "finishing": _("finishing"),
        "failed": _("failed, finding the way back"),
        "restoring": _("restoring the safety backup"),
        "swapping": _("swapping the databases"),
    },
    "purpose": {
        "safe_migrate": _("migration"),
        "contract": _("contract phase"),
        "backup": _("backup"),
        "restore": _("restore"),
        "rollback": _("rollback"),
        "verify": _("verification of backups"),
        "prune": _("pruning of backups"),
        "": _("a command that has not said yet which"),
    },
    "kind": {
        "deployment": _("Deployment"),
        "rollback": _("Rollback"),
        "canary": _("Canary"),
        "contract": _("Contract phase"),
        "restore": _("Restore"),
        "flag": _("Flag"),
        "check": _("Confirmation"),
        "migration": _("Migration"),
    },
    "outcome": {
        "started": _("begun"),
        "done": _("done"),
        "refused": _("refused"),
        "failed": _("failed"),
        "recovered": _("recovered"),
        "resolved": _("resolved later"),
    },
    "outcome_tone": {
        "started": "busy",
        "done": "ok",
        "refused": "warn",
        "failed": "bad",
        "recovered": "warn",
        "resolved": "warn",
    },
    "backfill": {
        "waiting": _("not begun"),
        "unfinished": _("running"),
        "paused": _("paused"),
        "cancelled": _("cancelled"),
        "done": _("done"),
    },
    "row": {
        "waiting": _("waiting"),
        "failed": _("failed"),
        "skipped": _("left out"),
    },
    "level": {
        "manifest": _("manifest only"),
        "hash": _("hashes checked"),
        "read": _("read completely"),
        "restore": _("restored"),
    },
    "colour": {"blue": _("blue"), "green": _("green")},
    "beside": {
        "before_restore": _("replaced by a restore"),
        "restoring": _("being restored, or left by a restore"),
        "verify": _("made to verify a backup"),
        "failed": _("failed, and replaced"),
        "closed": _("closed by a swap"),
    },
}
