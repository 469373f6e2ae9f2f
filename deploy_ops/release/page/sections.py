"""The sections of the page, in their order, and where each has its place."""

from datetime import timedelta

from django.utils.translation import gettext_lazy as _

from deploy_ops.release.page import (
    backfills,
    backups,
    changes,
    flags,
    health,
    kept,
    timeline,
    versions,
    work,
)
from deploy_ops.release.page.reading import Section

# Looking through all migrations, or into a storage that bills each look, is not done at each.
KEEP_LONGER = timedelta(seconds=10)

AT_WORK = Section("work", _("At work"), work.read)
STATE = (
    Section("versions", _("Versions"), versions.read),
    Section("health", _("Health"), health.read),
    Section("changes", _("Schema changes"), changes.read, keep=KEEP_LONGER),
)
SAFETY = (
    Section("backfills", _("Backfills"), backfills.read),
    Section("backups", _("Backups"), backups.read, keep=KEEP_LONGER),
    Section("flags", _("Flags in rollout"), flags.read),
    Section("kept", _("Kept databases"), kept.read),
)
PAST = Section("timeline", _("Releases"), timeline.read)
SECTIONS = (AT_WORK, *STATE, *SAFETY, PAST)
