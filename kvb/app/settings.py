"""What all environments share; settings_dev, settings_prod and settings_test add their own."""

from pathlib import Path

from django.urls import reverse_lazy

from kvb.reisekosten.flags import FLAGS

BASE_DIR = Path(__file__).resolve().parents[2]
VAR_DIR = BASE_DIR / "var"

INSTALLED_APPS = [
    "kvb.reisekosten",
    "deploy_ops",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_prometheus",
]

MIDDLEWARE = [
    "deploy_ops.health.middleware.HealthMiddleware",
    # What stands above the next but one is not counted: neither polls nor scrapes are visitors.
    "deploy_ops.metrics.page.MetricsMiddleware",
    "kvb.app.request_id.RequestIdMiddleware",
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "kvb.app.csp.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "deploy_ops.flags.middleware.FlagsMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

ROOT_URLCONF = "kvb.app.urls"
WSGI_APPLICATION = "kvb.app.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = reverse_lazy("anmelden")
LOGIN_REDIRECT_URL = reverse_lazy("reisekosten:heute")
LOGOUT_REDIRECT_URL = LOGIN_URL

# The people who use this are German; the texts in the code are English (locale/de).
LANGUAGE_CODE = "de"
LANGUAGES = [("de", "Deutsch")]
TIME_ZONE = "Europe/Berlin"
USE_TZ = True

STATIC_URL = "/static/"
# There is no MEDIA_URL: receipts are private and leave only through a view that checks who asks.

DEPLOY_OPS_FLAGS = FLAGS
DEPLOY_OPS_SMOKE_TESTS = ["kvb.app.smoke.reisekosten"]

# Demo people have a published password; only an environment made for trying allows them.
DEMO_DATA_ALLOWED = False
