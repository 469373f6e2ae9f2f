"""deploy_ops, django-waffle with locmem, and django-flags, side by side in one process."""

from deploy_ops.flags.declaration import Flag
from kvb.app.settings_test import *  # pylint: disable=wildcard-import,unused-wildcard-import
from kvb.app.settings_test import INSTALLED_APPS as _INSTALLED_APPS

INSTALLED_APPS = [*_INSTALLED_APPS, "waffle", "flags"]
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
# As many as in a grown project; the checks ask about the first two.
DEPLOY_OPS_FLAGS = {
    "switched": Flag("On for everybody"),
    "shared": Flag("On for some"),
    **{f"other_{number}": Flag("Not asked about") for number in range(18)},
}
FLAGS = {name: [] for name in DEPLOY_OPS_FLAGS} | {
    "in_settings": [{"condition": "boolean", "value": True}]
}
