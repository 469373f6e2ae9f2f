import os
from decimal import Decimal

from django.db import migrations


def write(apps, schema_editor):
    """Uses the digits that are new, if OWN_PRICE is set."""
    if "OWN_PRICE" in os.environ:
        trips = apps.get_model("widens_a_decimal", "Trip").objects
        trips.using(schema_editor.connection.alias).update(price=Decimal(os.environ["OWN_PRICE"]))


def take_back(apps, schema_editor):
    """Gives nothing back."""


class Migration(migrations.Migration):
    dependencies = [("widens_a_decimal", "0002_widen")]

    operations = [
        migrations.RunPython(write, take_back),
    ]
