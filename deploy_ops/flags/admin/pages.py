"""The pages: a list, a switch that asks why, the rules, the history."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _

from deploy_ops.conf import conf
from deploy_ops.csp import HEADER, new_nonce, policy
from deploy_ops.errors import FlagConflict
from deploy_ops.flags.admin.preview import preview
from deploy_ops.flags.admin.questions import (
    DECLARED,
    OFF,
    ON,
    FormBuilder,
    Question,
    ask_for_rules,
    ask_to_switch,
)
from deploy_ops.flags.admin.rows import (
    FlagRow,
    describe_past,
    read_flag_row,
    read_flag_rows,
    read_past,
)
from deploy_ops.flags.admin.search import search
from deploy_ops.flags.admin.undo import CHANGE, SWITCH, needed_to_undo, undo
from deploy_ops.flags.change import Source, change_flag, last_change, stored_rules
from deploy_ops.models import FlagChange

CHANGES_ON_A_PAGE = 50
CONFLICT = 409


@dataclass(frozen=True, slots=True)
class Action:
    """A link in a line of the list; a main one looks like a button."""

    text: str
    url: str
    is_main: bool = False


class FlagPages(admin.ModelAdmin):  # type: ignore[type-arg]
    """Pages for flags instead of rows: most flags have no row most of the time."""

    def get_urls(self) -> list[Any]:
        """A list, and pages for each flag; there is nothing to add or to delete."""
        wrap = self.admin_site.admin_view
        views: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "change": ("change/", self.change_view),
            "history": ("history/", self.history_view),
            "switch": ("switch/<str:to>/", self.switch_view),
            "undo": ("undo/<int:change>/", self.undo_view),
        }
        return [path("", wrap(self.changelist_view), name=_route("changelist"))] + [
            path(f"<str:object_id>/{end}", wrap(view), name=_route(name))
            for name, (end, view) in views.items()
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Flags are declared in the settings."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A row goes by the way back to the declaration, which the history records."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may do something may look."""
        return super().has_view_permission(request, obj) or self.has_toggle_permission(request)

    def has_toggle_permission(self, request: HttpRequest) -> bool:
        """May the person switch flags on and off for everyone?"""
        return bool(request.user.has_perm("deploy_ops.toggle_flag"))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """All flags with their state."""
        _require(self.has_view_permission(request))
        found = search(read_flag_rows(), request.GET)
        rows = [(row, self._actions(request, row)) for row in found.rows]
        context = {
            "found": found,
            "rows": [row for row in rows if row[0].flag.declaration],
            "undeclared": [row for row in rows if row[0].flag.is_undeclared],
            "seconds": conf.flags_poll_seconds,
        }
        return self._render(request, "list", _("Feature flags"), context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The rules of a flag; only to be read where they can't be changed."""
        _require(self.has_view_permission(request))
        row = _row_or_404(object_id)
        if row.forced_by or row.flag.is_undeclared or not self.has_change_permission(request):
            return self._show_fixed(request, row)
        build_form = ask_for_rules(row.flag.name, may_switch=self.has_toggle_permission(request))
        if "preview" in request.POST:
            question = build_form(request.POST, *stored_rules(row.flag.name))
            context = preview(request, row.flag.name, question)
            return self._show_question(request, row, replace(question, context=context))
        return self._ask(request, row, build_form)

    def switch_view(self, request: HttpRequest, object_id: str, to: str) -> HttpResponse:
        """Ask for a reason, then switch `on` or `off` for everyone, or back to `declared`."""
        if to not in (ON, OFF, DECLARED):
            raise Http404(f"a flag can't be switched {to}")
        _require(self.has_view_permission(request))
        row = _row_or_404(object_id)
        _require(self._may_switch(request, row, to))
        if row.forced_by or (row.flag.is_undeclared and to != DECLARED):
            return self._show_fixed(request, row)
        return self._ask(
            request,
            row,
            ask_to_switch(row.flag.name, to, is_declared=not row.flag.is_undeclared),
        )

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        """Every change of a flag, also of one that is neither declared nor stored any more."""
        _require(self.has_view_permission(request))
        past = read_past(object_id)
        if not past.exists() and read_flag_row(object_id) is None:
            raise Http404(f"there is no flag {object_id}")
        page = Paginator(past, CHANGES_ON_A_PAGE).get_page(request.GET.get("page"))
        context: dict[str, Any] = {"name": object_id, "page": page, "changes": describe_past(page)}
        last = last_change(object_id)
        if last and self._may_undo(request, last):
            context |= {"undoable": last.version, "undo_url": _address("undo", object_id, last.pk)}
        return self._render(request, "history", _("History of %s") % object_id, context)

    def undo_view(self, request: HttpRequest, object_id: str, change: int) -> HttpResponse:
        """Give a flag the rules from before its last change, with one click in the history."""
        _require(request.method == "POST" and self.has_view_permission(request))
        found = read_past(object_id).filter(pk=change).first()
        if found is None:
            raise Http404(f"there is no change {change} of {object_id}")
        _require(self._may_undo(request, found))
        undo(request, found)
        return HttpResponseRedirect(_address("history", object_id))

    def _may_undo(self, request: HttpRequest, change: FlagChange) -> bool:
        """May the person do again what the change did, the other way round?"""
        row = read_flag_row(change.flag)
        if row is None or row.forced_by or (row.flag.is_undeclared and change.old is not None):
            return False
        may = {SWITCH: self.has_toggle_permission, CHANGE: self.has_change_permission}
        return all(may[permission](request) for permission in needed_to_undo(change))

    def _may_switch(self, request: HttpRequest, row: FlagRow, to: str) -> bool:
        """Is it allowed? Back to the declaration is a switch, too, where all are on or off now."""
        if to != DECLARED:
            return self.has_toggle_permission(request)
        rules = None if row.flag.is_undeclared else row.flag.rules
        may_undo = rules is None or rules.everyone is None or self.has_toggle_permission(request)
        return self.has_change_permission(request) and may_undo

    def _ask(self, request: HttpRequest, row: FlagRow, build_form: FormBuilder) -> HttpResponse:
        """Ask, do what the answer says, or show what somebody else did in between."""
        data = request.POST if request.method == "POST" else None
        question = build_form(data, *stored_rules(row.flag.name))
        if data is None or not question.form.is_valid():
            return self._show_question(request, row, question)
        try:
            self._change(request, row.flag.name, question)
        except FlagConflict:
            stored, revision = stored_rules(row.flag.name)
            # The answer stays on the page, and now belongs to what the person sees there.
            question = build_form(_with_revision(data, revision), stored, revision)
            return self._show_question(request, _row_or_404(row.flag.name), question, CONFLICT)
        return HttpResponseRedirect(_address("changelist"))

    def _change(self, request: HttpRequest, name: str, question: Question) -> None:
        given = question.form.cleaned_data
        done = change_flag(
            name,
            question.rules(),
            expected_revision=given["revision"],
            by=request.user.get_username(),
            source=Source.ADMIN,
            reason=given["reason"],
        )
        if done:
            messages.success(request, _("The flag %s was changed.") % name)
        else:
            messages.info(
                request, _("The flag %s has these rules already; nothing was changed.") % name
            )

    def _show_question(
        self, request: HttpRequest, row: FlagRow, question: Question, status: int = 200
    ) -> HttpResponse:
        context = {
            "form": question.form,
            "row": row,
            "is_conflict": status == CONFLICT,
        }
        if row.flag.rules and self._may_switch(request, row, DECLARED):
            context["clear_url"] = _address("switch", row.flag.name, DECLARED)
        context |= question.context
        return self._render(request, question.template, question.title, context, status)

    def _show_fixed(self, request: HttpRequest, row: FlagRow) -> HttpResponse:
        status = 403 if request.method == "POST" else 200
        return self._render(request, "fixed", row.flag.name, {"row": row}, status)

    def _render(
        self,
        request: HttpRequest,
        page: str,
        title: str,
        context: dict[str, Any],
        status: int = 200,
    ) -> HttpResponse:
        row = context.get("row")
        name = context.get("name") or (row.flag.name if row else "")
        shared = self.admin_site.each_context(request) | {
            "opts": self.opts,
            "app_title": self.opts.app_config.verbose_name,
            "title": title,
            "name": name,
            "list_url": _address("changelist"),
            "history_url": _address("history", name) if name else "",
        }
        template, nonce = f"deploy_ops/flags/{page}.html", new_nonce()
        context |= {"nonce": nonce}
        response = TemplateResponse(request, template, shared | context, status=status)
        response[HEADER] = policy(request, nonce)
        return response

    def _actions(self, request: HttpRequest, row: FlagRow) -> list[Action]:
        """What the person may do with a flag; the first is what is done most."""
        may_change = self.has_change_permission(request)
        past = Action(_("History"), _address("history", row.flag.name))
        if row.forced_by:
            return [past]
        if row.flag.is_undeclared:
            remove = Action(
                _("Remove the row"), _address("switch", row.flag.name, DECLARED), is_main=True
            )
            return [remove, past] if may_change else [past]
        found = _switches(row) if self.has_toggle_permission(request) else []
        if may_change:
            found.append(Action(_("Rules"), _address("change", row.flag.name)))
        return [*found, past]


def _switches(row: FlagRow) -> list[Action]:
    texts = {ON: _("Turn on"), OFF: _("Turn off")}
    return [
        Action(text, _address("switch", row.flag.name, to), is_main=True)
        for to, text in texts.items()
        if row.state != to
    ]


def _with_revision(data: QueryDict, revision: int) -> QueryDict:
    changed = data.copy()
    changed["revision"] = str(revision)
    return changed


def _route(page: str) -> str:
    return f"deploy_ops_flagstate_{page}"


def _address(page: str, *args: str | int) -> str:
    return reverse(f"admin:{_route(page)}", args=args)


def _row_or_404(name: str) -> FlagRow:
    row = read_flag_row(name)
    if row is None:
        raise Http404(f"there is no flag {name}")
    return row


def _require(is_allowed: bool) -> None:
    if not is_allowed:
        raise PermissionDenied
