"""What benchmarks.health serves: a bare WSGI application, and Django with each kind of poll.

The database is that of DATABASE_URL. `django_app` has the middlewares that startproject gives.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any

import environ
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import path

CHECKS = "health_check.checks"
LOCAL = ("Cache", "Database", "Storage")
BODY = b'{"status": "ok", "version": "1.2.3"}'


def bare_app() -> Callable[..., Iterable[bytes]]:
    """The least that gunicorn can serve; its worker asks the settings whether there is a hold."""
    settings.configure()
    return _answer


def _answer(_environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))]
    start_response("200 OK", [*headers, ("Cache-Control", "no-store")])
    return [BODY]


def django_app() -> Callable[..., Iterable[bytes]]:
    """A project with the health middleware at the front and django-health-check's views."""
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"],
        DATABASES={"default": environ.Env.db_url_config(os.environ["DATABASE_URL"])},
        INSTALLED_APPS=["deploy_ops", "django.contrib.auth", "django.contrib.contenttypes"],
        SECRET_KEY="only-for-the-benchmark",
        ROOT_URLCONF=__name__,
        MIDDLEWARE=[
            "deploy_ops.health.middleware.HealthMiddleware",
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
        ],
    )
    application = get_wsgi_application()
    from health_check.views import HealthCheckView  # needs the settings

    urlpatterns.extend(
        [
            path("peer/nothing/", HealthCheckView.as_view(checks=[])),
            path("peer/db/", HealthCheckView.as_view(checks=[f"{CHECKS}.Database"])),
            # Its defaults but for DNS and Mail, which nothing on loopback can answer.
            path("peer/", HealthCheckView.as_view(checks=[f"{CHECKS}.{name}" for name in LOCAL])),
        ]
    )
    return application


urlpatterns: list[Any] = []
