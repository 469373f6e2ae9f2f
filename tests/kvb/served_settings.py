"""Production settings with some more views, and without collected static files."""

import os

# pylint: disable=wildcard-import,unused-wildcard-import
from kvb.app.settings_prod import *
from kvb.app.settings_prod import DATABASES, STORAGES

ROOT_URLCONF = "tests.kvb.served_urls"
STORAGES = STORAGES | {
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
}
PARTNER_API_TOKEN = "partner-Vu7Wq2Ls9Kd4"
if os.environ.get("NO_HEALTH_CHECKS"):
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = False
