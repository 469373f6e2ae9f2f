"""Registers the pages with Django's administration."""

from django.contrib import admin

from deploy_ops.flags.admin.pages import FlagPages
from deploy_ops.models import FlagState, Operations
from deploy_ops.release.page.pages import OperationsPage

admin.site.register(FlagState, FlagPages)
admin.site.register(Operations, OperationsPage)
