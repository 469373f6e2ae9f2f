from django.db import models


class Trip(models.Model):
    """A trip."""

    id = models.BigAutoField(primary_key=True)
    km = models.PositiveIntegerField()
