"""A project with a catalog of many backups; where it lies, and what is set, is in the environment."""

import json
import os
from pathlib import Path

DIRECTORY = Path(os.environ["CATALOG_DIRECTORY"])
SECRET_KEY = "only-for-benchmarks-" + "0123456789abcdef" * 3
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["deploy_ops", "django.contrib.contenttypes", "django.contrib.auth"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DIRECTORY / "db.sqlite3"}}
DEPLOY_OPS_STATE_DIR = DIRECTORY / "state"
DEPLOY_OPS_BACKUP_DIR = DIRECTORY / os.environ.get("CATALOG_BACKUPS", "backups")
globals().update(json.loads(os.environ.get("CATALOG_SETTINGS", "{}")))
