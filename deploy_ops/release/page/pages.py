"""The page in Django's administration: for staff with the permission, and only to be read."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import render
from django.urls import path
from django.utils import timezone
from django.utils.translation import gettext as _

from deploy_ops.csp import HEADER, new_nonce, policy
from deploy_ops.release.page.reading import read_all
from deploy_ops.release.page.sections import AT_WORK, PAST, SAFETY, SECTIONS, STATE

METHODS = ("GET", "HEAD")
# In the address, for the script: the sections without the page around them.
SECTIONS_ONLY = "sections"
REFRESH_SECONDS = 5


class OperationsPage(admin.ModelAdmin):  # type: ignore[type-arg]
    """One page instead of a list of rows."""

    def get_urls(self) -> list[Any]:
        """The page, where a list would be."""
        view = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name="deploy_ops_operations_changelist")]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """There is nothing to add."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """It is only to be read."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """There is nothing to delete."""
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The page, or only its sections."""
        if request.method not in METHODS:
            return HttpResponseNotAllowed(METHODS)
        if not self.has_view_permission(request):
            raise PermissionDenied
        nonce = new_nonce()
        context = _sections() | {"nonce": nonce, "seconds": REFRESH_SECONDS}
        if SECTIONS_ONLY in request.GET:
            response = render(request, "deploy_ops/operations/sections.html", context)
        else:
            context |= self.admin_site.each_context(request) | {
                "opts": self.opts,
                "app_title": self.opts.app_config.verbose_name,
                "title": _("Operations"),
                "sections_url": f"{request.path}?{SECTIONS_ONLY}",
            }
            response = render(request, "deploy_ops/operations/page.html", context)
        response[HEADER] = policy(request, nonce)
        return response


def _sections() -> dict[str, Any]:
    found = read_all(SECTIONS)
    return {
        "work": found[AT_WORK.name],
        "columns": [[found[each.name] for each in column] for column in (STATE, SAFETY)],
        "timeline": found[PAST.name],
        "now": timezone.now(),
    }
