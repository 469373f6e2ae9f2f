"""Views that need a connection of the application's own."""

from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path


def connect(_request: HttpRequest) -> HttpResponse:
    connection.ensure_connection()
    return HttpResponse("connected")


def hold(_request: HttpRequest) -> HttpResponse:
    """Keep the connection busy for a while."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(4)")
    return HttpResponse("held")


urlpatterns = [path("connect/", connect), path("hold/", hold)]
