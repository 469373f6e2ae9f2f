"""A project as an operator would have it behind a load balancer: one host name, https only."""

# pylint: disable=wildcard-import,unused-wildcard-import
from tests.project.settings import *
from tests.project.settings import INSTALLED_APPS, env

ALLOWED_HOSTS = ["kvb.example.org"]
SECURE_SSL_REDIRECT = True
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
ROOT_URLCONF = "tests.deploy_ops.health.served_urls"
INSTALLED_APPS = [*INSTALLED_APPS, "django.contrib.sessions"]
MIDDLEWARE = [
    "deploy_ops.health.middleware.HealthMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
globals().update(env.json("SETTINGS_OVERRIDES", default={}))
