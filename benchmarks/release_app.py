"""The application whose releases `benchmarks.release` changes: it says what `version` beside it says."""

from pathlib import Path

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

VERSION = Path("version").read_text(encoding="ascii")


@csrf_exempt
def page(_request: HttpRequest) -> HttpResponse:
    """Answer everything."""
    return HttpResponse(VERSION)


urlpatterns = [path("", page)]
settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="k" * 50)
application = get_wsgi_application()
