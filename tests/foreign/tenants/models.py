from django.db import models


class Invoice(models.Model):
    """Each tenant has its own."""

    note = models.TextField(default="")
