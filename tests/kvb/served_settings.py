"""Production settings with three more views, and without collected static files."""

# pylint: disable=wildcard-import,unused-wildcard-import
from kvb.app.settings_prod import *
from kvb.app.settings_prod import STORAGES

ROOT_URLCONF = "tests.kvb.served_urls"
STORAGES = STORAGES | {
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
}
PARTNER_API_TOKEN = "partner-Vu7Wq2Ls9Kd4"
