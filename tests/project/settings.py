"""Settings of the project that the tests deploy; what varies comes from the environment."""

import environ

env = environ.Env()

SECRET_KEY = "only-for-tests-" + "0123456789abcdef" * 3
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "Europe/Berlin"  # not UTC, so that a local time in a name or a manifest shows up
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MEDIA_ROOT = env("MEDIA_ROOT")
DATABASES = {"default": env.db_url("DATABASE_URL")}

FAULTS = {"KILL_AT", "TERMINATE_AT", "RAISE_AT", "UNSYNCED_AT", "FULL_DISK_FOR"}
SAMPLE_APPS = [
    name if "." in name else f"tests.sample_apps.{name}"
    for name in env.list("SAMPLE_APPS", default=[])
]
INSTALLED_APPS = [
    "deploy_ops",
    "django.contrib.contenttypes",
    "django.contrib.auth",
    *SAMPLE_APPS,
    *(["tests.project"] if FAULTS & set(env.ENVIRON) else []),
]

globals().update(
    {name: value for name, value in env.ENVIRON.items() if name.startswith("DEPLOY_OPS_")}
)
globals().update(env.json("SETTINGS_OVERRIDES", default={}))
