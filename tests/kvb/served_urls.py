"""Views that do what real ones do by accident."""

import logging
import os

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

logger = logging.getLogger("kvb.reisekosten")


def query(_request: HttpRequest) -> HttpResponse:
    """One query; says which worker it ran in."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return HttpResponse(str(os.getpid()))


def fail(request: HttpRequest) -> HttpResponse:
    """An exception that is full of secrets, logged on its way out as well."""
    database = settings.DATABASES["default"]
    url = f"postgresql://kvb:{database['PASSWORD']}@db/kvb"
    try:
        raise ValueError(
            f"{url} {settings.SECRET_KEY} {settings.PARTNER_API_TOKEN} password={'hunter' + '22'} "
            f"{request.META.get('HTTP_AUTHORIZATION')} {dict(request.POST)}"
        )
    except ValueError:
        logger.exception("The partner at %s does not answer", url)
        raise


def say(request: HttpRequest) -> HttpResponse:
    logger.info("said %s", request.GET["what"])
    return HttpResponse("said")


@csrf_exempt
def visit(request: HttpRequest) -> HttpResponse:
    """Read or write the one row, slowly enough to be in flight at any moment; say its name.

    With ?lock it waits for whoever has the advisory lock 1, with ?long for two minutes.
    """
    wait = "pg_sleep(120)" if "long" in request.GET else "pg_sleep(0.01)"
    wait = "pg_advisory_xact_lock_shared(1)" if "lock" in request.GET else wait
    statement = f"SELECT name FROM visited, {wait}"
    if request.method == "POST":
        statement = f"UPDATE visited SET name = name FROM {wait} RETURNING name"
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return HttpResponse(cursor.fetchone()[0])


urlpatterns = [
    path("visit/", visit),
    path("query/", query),
    path("fail/", fail),
    path("say/", say),
    path("", include("kvb.app.urls")),
]
