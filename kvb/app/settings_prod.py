"""For production: every secret comes from the environment, and a missing one stops the start.

Required are SECRET_KEY, DATABASE_URL and ALLOWED_HOSTS; each may instead come from a file that
SECRET_KEY_FILE and so on names. The optional ones stand where they are read.
"""

import os
from pathlib import Path
from typing import Any

from kvb.app import logging
from kvb.app.databases import databases_from_url
from kvb.app.environment import (
    read_database_url,
    read_directory,
    read_list,
    read_optional_list,
    read_secret,
    serves_http,
)
from kvb.app.settings import *  # pylint: disable=wildcard-import,unused-wildcard-import
from kvb.app.settings import VAR_DIR

DEBUG = False
# Django's security.W009 asks for 50 characters; token_urlsafe(48) has 64.
SECRET_KEY = read_secret("SECRET_KEY", least_characters=50)
DATABASES = databases_from_url(read_database_url())
ALLOWED_HOSTS = read_list("ALLOWED_HOSTS")
# Only needed when a form is sent from another origin than the one nginx serves.
CSRF_TRUSTED_ORIGINS = read_optional_list("CSRF_TRUSTED_ORIGINS")

DATA_DIR = Path(os.environ.get("KVB_DATA_DIR") or VAR_DIR)
MEDIA_ROOT = DATA_DIR / "media"
DEPLOY_OPS_STATE_DIR = Path(os.environ.get("DEPLOY_OPS_STATE_DIR") or DATA_DIR / "deploy_ops")
DEPLOY_OPS_BACKUP_DIR = Path(
    os.environ.get("DEPLOY_OPS_BACKUP_DIR") or DEPLOY_OPS_STATE_DIR / "backups"
)
# Where several instances share the state, as pods do, each needs a drain file of its own.
DEPLOY_OPS_DRAIN_FILE = Path(
    os.environ.get("DEPLOY_OPS_DRAIN_FILE") or DEPLOY_OPS_STATE_DIR / "drain"
)
# Beside the drain file: a restore holds requests while it swaps.
DEPLOY_OPS_HOLD_FILE = DEPLOY_OPS_STATE_DIR / "hold"
DEPLOY_OPS_PGBOUNCER_URL = os.environ.get("DEPLOY_OPS_PGBOUNCER_URL") or None
# Receipts are private; nginx never serves them, so nobody but this user needs to read them.
FILE_UPLOAD_PERMISSIONS = 0o600
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o700

# A connection past a pooler, the keys that encrypt backups, and those that sign and check them.
DEPLOY_OPS_TWO_PHASE = True
DEPLOY_OPS_DIRECT_DATABASE_URL = os.environ.get("DEPLOY_OPS_DIRECT_DATABASE_URL") or None
DEPLOY_OPS_BACKUP_KEY_FILE = os.environ.get("DEPLOY_OPS_BACKUP_KEY_FILE") or None
DEPLOY_OPS_BACKUP_SIGNING_KEY_FILE = os.environ.get("DEPLOY_OPS_BACKUP_SIGNING_KEY_FILE") or None
DEPLOY_OPS_BACKUP_VERIFY_KEY_FILE = os.environ.get("DEPLOY_OPS_BACKUP_VERIFY_KEY_FILE") or None

STATIC_ROOT = Path(os.environ.get("STATIC_ROOT") or DATA_DIR / "static")
STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    # File names with a hash: nginx may let browsers keep them for ever.
    "staticfiles": {
        "BACKEND": "deploy_ops.release.static.ReleaseStaticFilesStorage",
        # They are public, and nginx reads them as another user.
        "OPTIONS": {"file_permissions_mode": 0o644, "directory_permissions_mode": 0o755},
    },
}
if bucket := os.environ.get("BACKUP_S3_BUCKET"):
    # A second copy of every backup. boto3 reads the credentials from AWS_ACCESS_KEY_ID and
    # AWS_SECRET_ACCESS_KEY itself; the endpoint is for S3 that is not Amazon's.
    endpoint = os.environ.get("BACKUP_S3_ENDPOINT_URL") or None
    STORAGES["backups"] = {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": bucket,
            "endpoint_url": endpoint,
            "file_overwrite": False,
            "max_memory_size": 8 * 1024 * 1024,  # past that a file read back goes to disk
        },
    }

# Who may read /metrics: Prometheus from these networks, or whoever brings the token.
DEPLOY_OPS_METRICS_ALLOWED_NETWORKS = read_optional_list("DEPLOY_OPS_METRICS_ALLOWED_NETWORKS")
DEPLOY_OPS_METRICS_TOKEN_FILE = os.environ.get("DEPLOY_OPS_METRICS_TOKEN_FILE") or None

if not serves_http():
    LOGGING = logging.to_stream("stderr")
elif log_directory := read_directory("KVB_LOG_DIR"):
    LOGGING = logging.to_files(log_directory)
else:
    LOGGING = logging.to_stream("stdout")

# nginx ends TLS and sets this header itself, whatever the client sent.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60
# Whether all other hosts of the domain speak TLS, for ever, is not this application's to promise:
# W005 wants includeSubDomains, W021 wants preload.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
