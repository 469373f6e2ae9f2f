"""A small application whose releases are deployed: no code of kvb, and every part can be broken."""

from pathlib import Path

MANAGE = """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
SETTINGS = """
import os
from pathlib import Path
from psycopg.conninfo import conninfo_to_dict

url = conninfo_to_dict(os.environ["DATABASE_URL"])
BASE_DIR = Path(__file__).parent
SECRET_KEY = os.environ["SECRET_KEY"]
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "site_urls"
USE_TZ = True
STATIC_ROOT = os.environ["STATIC_ROOT"]
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.contenttypes", "django.contrib.staticfiles", "django_prometheus",
    "deploy_ops", "shop",
]
MIDDLEWARE = [
    "deploy_ops.health.middleware.HealthMiddleware",
    "deploy_ops.metrics.page.MetricsMiddleware",
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]
DATABASES = {"default": {
    "ENGINE": "django.db.backends.postgresql", "HOST": url.get("host", ""),
    "PORT": url.get("port", ""), "USER": url["user"], "PASSWORD": url.get("password", ""),
    "NAME": url["dbname"], "CONN_MAX_AGE": 60,
}}
DEPLOY_OPS_TWO_PHASE = True
DEPLOY_OPS_CONTRACT_AFTER = 120
DEPLOY_OPS_STATE_DIR = os.environ["DEPLOY_OPS_STATE_DIR"]
DEPLOY_OPS_METRICS_TOKEN_FILE = os.environ["DEPLOY_OPS_METRICS_TOKEN_FILE"]
DEPLOY_OPS_READINESS_CHECKS = ["database", "migrations"]
DEPLOY_OPS_SMOKE_TESTS = ["shop.smoke.the_page"]
"""
URLS = """
from django.urls import include, path
from shop.views import page
urlpatterns = [path("", page), path("", include("deploy_ops.urls"))]
"""
VIEWS = """
import os
from django.http import HttpResponse
from shop.models import Visit

def page(request):
    if request.method == "POST":
        Visit.objects.create(note="v")
    return HttpResponse(f"{os.environ['APP_VERSION']} {Visit.objects.filter(pk=1).count()}")
"""
MODELS = """
from django.db import models

class Visit(models.Model):
    note = models.CharField(max_length=100)
"""
INITIAL = """
from django.db import migrations, models

class Migration(migrations.Migration):
    initial = True
    operations = [migrations.CreateModel("Visit", [
        ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")), ("note", models.CharField(max_length=100)),
    ])]
"""
FILES = {
    "manage.py": MANAGE,
    "site_settings.py": SETTINGS,
    "site_urls.py": URLS,
    "site_wsgi.py": """
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
""",
    "requirements.txt": "",
    "shop/__init__.py": "",
    "shop/smoke.py": """
def the_page(client):
    client.get("/")
    yield "the page"
""",
    "shop/models.py": MODELS,
    "shop/views.py": VIEWS,
    "shop/migrations/__init__.py": "",
    "shop/migrations/0001_initial.py": INITIAL,
    ".gitignore": "/releases/\n/colours/\n/current\n/static/\n/.venv/\n",
}


def write(root: Path, files: dict[str, str]) -> None:
    """Write files of the site, by their names in it."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.lstrip("\n"), encoding="utf-8")
