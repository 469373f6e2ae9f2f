"""The same application for an ASGI server."""

import os

from django.core.asgi import get_asgi_application

from kvb.app.environment import SERVES_HTTP

# Production unless said otherwise: forgetting the variable must never serve DEBUG pages.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kvb.app.settings_prod")
# Settings differ for what serves: where logs go, and that queries are counted.
os.environ[SERVES_HTTP] = "1"

application = get_asgi_application()
