"""The same application for an ASGI server."""

import os

from django.core.asgi import get_asgi_application

# Production unless said otherwise: forgetting the variable must never serve DEBUG pages.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kvb.app.settings_prod")

application = get_asgi_application()
