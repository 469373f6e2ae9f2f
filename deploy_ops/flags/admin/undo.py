"""One click that gives a flag the rules from before its last change."""

from dataclasses import replace

from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import gettext as _

from deploy_ops.errors import FlagConflict, InvalidRules, UnknownFlag
from deploy_ops.flags.change import Source, undo_change
from deploy_ops.flags.rules import Rules
from deploy_ops.models import FlagChange

SWITCH, CHANGE = "switch", "change"


def undo(request: HttpRequest, change: FlagChange) -> None:
    """Undo it, or say why it cannot be undone."""
    reason = _("Undoes change %(version)d, by %(by)s.") % vars(change)
    try:
        undo_change(change, by=request.user.get_username(), source=Source.ADMIN, reason=reason)
        messages.success(request, _("The change of %s was undone.") % change.flag)
    except FlagConflict:
        messages.error(request, _("Somebody changed the flag since. Nothing was undone."))
    except (InvalidRules, UnknownFlag):
        messages.error(request, _("The earlier rules are not valid now. Nothing was undone."))


def needed_to_undo(change: FlagChange) -> set[str]:
    """The permissions that the change itself took: SWITCH, CHANGE or both."""
    if change.old is None or change.new is None:
        switched = Rules.of(change.old or change.new or {}).everyone is not None
        return {CHANGE, SWITCH} if switched else {CHANGE}
    old, new = Rules.of(change.old), Rules.of(change.new)
    needed = {SWITCH} if old.everyone != new.everyone else set()
    return needed if replace(old, everyone=new.everyone) == new else needed | {CHANGE}
