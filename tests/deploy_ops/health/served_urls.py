"""A view that needs a connection of the application's own."""

from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path


def connect(_request: HttpRequest) -> HttpResponse:
    connection.ensure_connection()
    return HttpResponse("connected")


urlpatterns = [path("connect/", connect)]
