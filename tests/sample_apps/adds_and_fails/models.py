from django.db import models


class Trip(models.Model):
    """A trip."""

    id = models.BigAutoField(primary_key=True)
    purpose = models.CharField(max_length=200)
    km = models.PositiveIntegerField()
    note = models.CharField(max_length=40, null=True)


class Receipt(models.Model):
    """A receipt of a trip."""

    id = models.BigAutoField(primary_key=True)
    cents = models.PositiveIntegerField()
    trip = models.ForeignKey(Trip, on_delete=models.CASCADE)
