"""What a page asks before it changes a flag, and what the answer leads to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from deploy_ops.flags.accounts import names_of_users
from deploy_ops.flags.admin import texts
from deploy_ops.flags.admin.forms import ReasonForm, RulesForm, WhoForm
from deploy_ops.flags.rules import Rules

ON, OFF, DECLARED = "on", "off", "declared"


@dataclass(frozen=True, slots=True)
class Question:
    """A form, and the rules that its answer stands for; `context` is for its template."""

    template: str
    title: str
    form: ReasonForm
    rules: Callable[[], Rules | None]
    context: dict[str, Any]


# Builds the form for the data that was sent (or None), the stored rules and their revision.
FormBuilder = Callable[[Any, Rules | None, int], Question]


def ask_for_rules(name: str, *, may_switch: bool) -> FormBuilder:
    """All rules of a flag."""

    def build_form(data: Any, stored: Rules | None, revision: int) -> Question:
        rules = stored or Rules()
        form = RulesForm(data, rules=rules, revision=revision, may_switch=may_switch)
        title = _("Rules of %s") % name
        return Question("rules", title, form, lambda: form.rules, {"who": WhoForm()})

    return build_form


def ask_to_switch(name: str, to: str, *, is_declared: bool) -> FormBuilder:
    """Only a reason: what is to happen was chosen in the list."""

    def build_form(data: Any, stored: Rules | None, revision: int) -> Question:
        title, button = _words(name, to, is_declared)
        rules = None if to == DECLARED else (stored or Rules()).switched(to == ON)
        form = ReasonForm(data, initial={"revision": revision})
        form.fields["reason"].widget.attrs["autofocus"] = True
        context = {
            "button": button,
            "is_end": to == OFF or not is_declared,
            "afterwards": _afterwards(rules, is_declared),
        }
        return Question("switch", title, form, lambda: rules, context)

    return build_form


def _words(name: str, to: str, is_declared: bool) -> tuple[str, str]:
    if not is_declared:
        return _("Remove the row of %s") % name, _("Remove the row")
    match to:
        case "on":
            return _("Turn %s on for everyone") % name, _("Turn on for everyone")
        case "off":
            return _("Turn %s off for everyone") % name, _("Turn off for everyone")
    return _("Set %s back to its declaration") % name, _("Back to the declaration")


def _afterwards(rules: Rules | None, is_declared: bool) -> str:
    if rules is None and not is_declared:
        return _("no row; the history stays")
    return texts.rules_text(rules, names_of_users([rules] if rules else []))
