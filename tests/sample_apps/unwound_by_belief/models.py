from django.db import models


class Trip(models.Model):
    """A trip."""

    id = models.BigAutoField(primary_key=True)
    purpose = models.CharField(max_length=200)
    km = models.PositiveIntegerField()
