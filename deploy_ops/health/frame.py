"""The administration around a page, where the project has one."""

from typing import Any

from django.apps import apps
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse


def frame_of_admin(request: HttpRequest) -> dict[str, Any]:
    """What the templates of the administration want; nothing if there is none, or no way to it."""
    if not apps.is_installed("django.contrib.admin"):
        return {}
    from django.contrib import admin  # which needs apps that a project without it may lack

    try:
        reverse("admin:index")
    except NoReverseMatch:
        return {}
    return admin.site.each_context(request)
