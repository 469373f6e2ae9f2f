"""For the developer's machine: works without any configuration, everything it writes is in var/."""

import os

from kvb.app.databases import databases_from_url
from kvb.app.settings import *  # pylint: disable=wildcard-import,unused-wildcard-import
from kvb.app.settings import VAR_DIR

DEBUG = True
# Known to everybody, so settings_prod refuses it.
SECRET_KEY = "django-insecure-known-to-everybody-who-reads-the-source"
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

DATABASES = databases_from_url(
    os.environ.get("DATABASE_URL") or f"sqlite:///{VAR_DIR / 'kvb.sqlite3'}"
)
MEDIA_ROOT = VAR_DIR / "media"
STATIC_ROOT = VAR_DIR / "static"
DEPLOY_OPS_STATE_DIR = VAR_DIR / "deploy_ops"
DEPLOY_OPS_BACKUP_DIR = DEPLOY_OPS_STATE_DIR / "backups"

DEMO_DATA_ALLOWED = True
# Whoever is on this machine: curl http://127.0.0.1:8000/metrics
DEPLOY_OPS_METRICS_ALLOWED_NETWORKS = ["127.0.0.0/8", "::1/128"]

# Nobody else on this machine may read the database, the receipts or the backups.
for private in (VAR_DIR, MEDIA_ROOT, DEPLOY_OPS_STATE_DIR, DEPLOY_OPS_BACKUP_DIR):
    private.mkdir(mode=0o700, exist_ok=True)
