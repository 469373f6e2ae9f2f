"""An app whose name sorts last, so that its migration comes after all others."""

from django.db import models


class Marker(models.Model):
    """Shows that the migration ran."""

    id = models.BigAutoField(primary_key=True)
