"""The application that gunicorn serves in these tests; its settings are served_settings."""

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
asgi = get_asgi_application()
