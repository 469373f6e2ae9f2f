"""Backfills: by an expression, by Python, and detached."""

from django.db import models


class Trip(models.Model):
    id = models.BigAutoField(primary_key=True)
    purpose = models.CharField(max_length=200)
    km = models.PositiveIntegerField()
    n = models.IntegerField(db_default=0)
    m = models.IntegerField(db_default=0)
    refund = models.DecimalField(max_digits=8, decimal_places=2, null=True)
