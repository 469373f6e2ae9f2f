"""Who would have a flag with the rules in a form, saved or not."""

from typing import Any

from django.contrib.auth import get_permission_codename, get_user_model
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from deploy_ops.flags.admin.forms import WhoForm
from deploy_ops.flags.admin.questions import Question
from deploy_ops.flags.audience import Audience, answer_for, find_audience, state_with
from deploy_ops.flags.state import Evaluation

NAMES_SHOWN = 20


def preview(request: HttpRequest, name: str, question: Question) -> dict[str, Any]:
    """The context that shows it; nothing is asked for a reason, and nothing is saved."""
    question.form.fields["reason"].required = False
    who = WhoForm(request.POST)
    context: dict[str, Any] = {"who": who}
    if not (question.form.is_valid() and who.is_valid()):
        return context
    state = state_with(name, question.rules())
    audience = find_audience(state)
    context["included"] = _included(audience)
    if _may_see_users(request):
        context["included_names"] = ", ".join(audience.names[:NAMES_SHOWN])
        context["more_names"] = max(0, len(audience.names) - NAMES_SHOWN)
    if user := who.cleaned_data["user"]:
        context["of_user"] = _of_user(str(user.get_username()), answer_for(state, user))
    return context


def _included(audience: Audience) -> str:
    counts = {"included": len(audience.names), "users": audience.users}
    if audience.is_complete:
        text = ngettext(
            "%(included)d of %(users)d users is included.",
            "%(included)d of %(users)d users are included.",
            counts["included"],
        )
    else:
        text = _("%(included)d of %(looked_at)d users are included; %(users)d exist in all.")
    return text % (counts | {"looked_at": audience.looked_at})


def _of_user(name: str, answer: Evaluation) -> str:
    text = _("%(name)s is included") if answer.enabled else _("%(name)s is not included")
    return f"{text % {'name': name}} ({answer.reason})."


def _may_see_users(request: HttpRequest) -> bool:
    """Names of accounts are for those who may see accounts."""
    options = get_user_model()._meta
    codename = get_permission_codename("view", options)
    return bool(request.user.has_perm(f"{options.app_label}.{codename}"))
