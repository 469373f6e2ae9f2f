"""What gunicorn serves: `gunicorn kvb.app.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

# Production unless said otherwise: forgetting the variable must never serve DEBUG pages.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kvb.app.settings_prod")

application = get_wsgi_application()
