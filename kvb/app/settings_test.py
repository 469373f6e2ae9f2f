"""For pytest, mypy and pylint: no file of the developer's own data is touched."""

import os
from pathlib import Path
from tempfile import gettempdir

from kvb.app.databases import databases_from_url
from kvb.app.settings import *  # pylint: disable=wildcard-import,unused-wildcard-import

SECRET_KEY = "django-insecure-for-tests-only"
DATABASES = databases_from_url(os.environ.get("DATABASE_URL") or "sqlite://:memory:")
# A fast hash: the tests log in often and protect nobody.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Tests that write files set these to a directory of their own; the names exist for the checks.
MEDIA_ROOT = Path(gettempdir()) / "kvb-test-media"
DEPLOY_OPS_STATE_DIR = Path(gettempdir()) / "kvb-test-deploy-ops"
DEPLOY_OPS_BACKUP_DIR = DEPLOY_OPS_STATE_DIR / "backups"

DEMO_DATA_ALLOWED = True
