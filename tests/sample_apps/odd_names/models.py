from django.db import models


class Trip(models.Model):
    """A trip."""

    id = models.BigAutoField(primary_key=True)
    purpose = models.CharField(max_length=200)
    km = models.PositiveIntegerField()
    note = models.CharField(max_length=40, null=True, db_column="Über die Fahrt")

    class Meta:
        db_table = "Größe der Fahrt's Liste"
        indexes = [models.Index(fields=["km"], name="Reise km")]


class Receipt(models.Model):
    """A receipt."""

    id = models.BigAutoField(primary_key=True)
    cents = models.PositiveIntegerField(db_column="Betrag in Cent")

    class Meta:
        db_table = "Reise Belege"
