"""Production settings with some more views, and without collected static files."""

import json
import os

# pylint: disable=wildcard-import,unused-wildcard-import
from kvb.app.settings_prod import *
from kvb.app.settings_prod import DATABASES, STORAGES

ROOT_URLCONF = "tests.kvb.served_urls"
STORAGES = STORAGES | {
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
}
PARTNER_API_TOKEN = "partner-Vu7Wq2Ls9Kd4"
DATABASES["default"].update(json.loads(os.environ.get("DATABASE_OVERRIDES", "{}")))
globals().update(json.loads(os.environ.get("SETTINGS_OVERRIDES", "{}")))
